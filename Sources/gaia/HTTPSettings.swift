import FleetConfiguration
import FleetHTTP
import FleetModel
import FleetObservability
import FleetService
import FleetStore
import Foundation
import Logging
import ServiceLifecycle

extension FleetConfiguration {
    /// What is served over HTTP; nil when no address is given.
    ///
    /// - Parameter name: the dispatcher's, beside which it is served.
    func http(_ name: String) throws -> HTTPConfiguration? {
        guard let address = try address("http.listen", httpListen) else { return nil }
        var configuration = HTTPConfiguration(
            address: address, token: try httpBearerToken(), amqp: try amqp(name), database: try database(name),
            name: name)
        configuration.payloadBytesMax = payloadBytesMax
        configuration.bodyBytesMax = httpBodyBytesMax
        configuration.connectionsMax = httpConnectionsMax
        configuration.waitsMax = httpWaitsMax
        configuration.waitMax = httpWaitMax
        return configuration
    }

    /// Serves health and metrics; nil when no address is given.
    ///
    /// - Parameters:
    ///   - kind: what the process is, such as `worker`.
    ///   - name: its own, as it is called in tables and logs.
    func admin(
        _ kind: String, _ name: String, _ registry: MetricsRegistry, _ board: HealthBoard, pages: [AdminPage]
    ) throws -> AdminService? {
        registry.collect(ProcessMetrics.read)
        for (name, help) in MetricCatalogue.help { registry.describe(name, help) }
        // A port alone is one of this machine's own.
        let text = adminListen.map { UInt16($0) == nil ? $0 : "127.0.0.1:\($0)" }
        guard let address = try address("admin.listen", text) else { return nil }
        let token = try bearerToken("admin", adminToken, adminTokenFile)
        guard token != nil || address.isLoopback else {
            throw ConfigurationError(
                "admin.listen (GAIA_ADMIN_LISTEN) is reached from beyond this machine and no token is set: set admin.token_file "
                    + "(GAIA_ADMIN_TOKEN_FILE), or listen on a port of this machine alone, such as 9464")
        }
        return AdminService(
            .init(address: address, token: token, name: name, kind: kind, version: FleetModel.version), registry, board,
            pages: pages, logger: logger)
    }

    private func address(_ key: String, _ text: String?) throws(ConfigurationError) -> HTTPAddress? {
        guard let text else { return nil }
        do { return try HTTPAddress(parsing: text) } catch {
            throw ConfigurationError("\(key) (\(Setting.variable(of: key))): \(error)")
        }
    }

    private func httpBearerToken() throws(ConfigurationError) -> BearerToken {
        if let token = try bearerToken("http", httpToken, httpTokenFile) { return token }
        throw ConfigurationError(
            "http.listen is set and no token is: set http.token (GAIA_HTTP_TOKEN) to at least "
                + "\(BearerToken.bytesMin) characters, or name a file with http.token_file")
    }

    /// The token of a listener; nil when none is given.
    private func bearerToken(
        _ listener: String, _ token: String?, _ file: String?
    ) throws(ConfigurationError) -> BearerToken? {
        guard let text = try secret(listener, token, file) else { return nil }
        do { return try BearerToken(text) } catch {
            let key = "\(listener).\(token == nil ? "token_file" : "token")"
            throw ConfigurationError("\(key) (\(Setting.variable(of: key))) cannot be the token: \(error)")
        }
    }

    /// A token, from the one place that gives it: the setting itself or a file; nil when none does.
    ///
    /// - Parameter group: of the settings, such as `http`.
    func secret(_ group: String, _ token: String?, _ file: String?) throws(ConfigurationError) -> String? {
        func named(_ key: String) -> String { "\(group).\(key) (\(Setting.variable(of: "\(group).\(key)")))" }
        switch (token, file) {
        case (.some, .some):
            throw ConfigurationError("\(named("token")) and \(named("token_file")) are both set; leave one out")
        case (let token, nil): return token
        case (nil, let path?): return try Self.secret("\(group).token_file", in: path)
        }
    }
}

/// Tells a service when another has become ready.
struct Readiness: Sendable {
    private let channel = AsyncStream.makeStream(of: Never.self)

    var isReached: AsyncStream<Never> { channel.stream }

    func reach() { channel.continuation.finish() }
}
