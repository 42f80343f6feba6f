import AddressPolicy
import FleetConfiguration
import NetworkClient
import NetworkSubsystem

extension FleetConfiguration {
    /// What the settings `network.…` say to the subsystem.
    ///
    /// - Throws: `ConfigurationError` for a name server or an allowed address that is none.
    func networkSettings() throws -> NetworkSettings {
        var settings = NetworkSettings()
        settings.nameservers = try network.nameservers.map { text in
            guard let server = Nameservers.parse(server: text) else {
                throw ConfigurationError(
                    "network.nameservers has '\(text)'; write an address, as 192.0.2.1, 192.0.2.1:53 or [2001:db8::1]:53"
                )
            }
            return server
        }
        do {
            settings.addresses = try AddressPolicy(allowing: network.allow)
        } catch {
            throw ConfigurationError("network.allow: \(error.description)")
        }
        settings.nameTryTimeout = network.nameTryTimeout
        settings.nameTries = network.nameTries
        settings.cachedAnswers = network.cachedAnswersMax
        settings.cachedBytes = network.cachedBytesMax
        settings.ttlMin = network.ttlMin
        settings.ttlMax = network.ttlMax
        settings.negativeTTLMax = network.negativeTTLMax
        settings.connections = network.connectionsMax
        settings.waitingMax = network.waitingMax
        settings.limitWait = network.limitWait
        settings.caFile = network.caFile
        settings.downloadBytesMax = Int64(network.downloadBytesMax)
        settings.idleTimeout = network.idleTimeout
        settings.fruitlessTriesMax = network.fruitlessTriesMax
        settings.partialsKeptFor = network.partialsKeptFor
        return settings
    }
}
