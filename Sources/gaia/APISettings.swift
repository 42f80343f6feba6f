import APISubsystem
import AddressPolicy
import FleetConfiguration

extension FleetConfiguration {
    /// What the settings `api.…` say to the subsystem.
    ///
    /// - Throws: `ConfigurationError` for an allowed address that is none.
    func apiSettings() throws -> APISettings {
        var settings = APISettings()
        settings.connections = api.connectionsMax
        settings.connectionsPerHost = api.connectionsPerHostMax
        settings.responseBytesMax = api.responseBytesMax
        settings.fileBytesMax = api.fileBytesMax
        settings.batchBytesMax = api.batchBytesMax
        do { settings.addresses = try AddressPolicy(allowing: api.allow) } catch {
            throw ConfigurationError("api.allow (\(Setting.variable(of: "api.allow"))): \(error.description)")
        }
        settings.caFile = api.caFile
        settings.verifiesTLS = api.verifiesTLS
        settings.breaker.failurePercent = api.breakerPercent
        settings.breaker.callsMin = api.breakerCallsMin
        settings.breaker.window = api.breakerWindow
        settings.breaker.coolDown = api.breakerCoolDown
        settings.breaker.probes = api.breakerProbes
        return settings
    }
}
