import FleetConfiguration
import FleetHTTP
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
            address: address, token: try bearerToken(), amqp: try amqp(name), database: try database(name), name: name)
        configuration.payloadBytesMax = payloadBytesMax
        configuration.bodyBytesMax = httpBodyBytesMax
        configuration.connectionsMax = httpConnectionsMax
        configuration.waitsMax = httpWaitsMax
        configuration.waitMax = httpWaitMax
        return configuration
    }

    /// Serves what `registry` holds; nil when no address is given.
    func metrics(_ registry: MetricsRegistry) throws -> MetricsService? {
        registry.collect(ProcessMetrics.read)
        return try address("metrics.listen", metricsListen).map { MetricsService($0, registry, logger: logger) }
    }

    private func address(_ key: String, _ text: String?) throws(ConfigurationError) -> HTTPAddress? {
        guard let text else { return nil }
        do { return try HTTPAddress(parsing: text) } catch {
            throw ConfigurationError("\(key) (\(Setting.variable(of: key))): \(error)")
        }
    }

    private func bearerToken() throws -> BearerToken {
        switch (httpToken, httpTokenFile) {
        case (.some, .some):
            throw ConfigurationError(
                "http.token (GAIA_HTTP_TOKEN) and http.token_file (GAIA_HTTP_TOKEN_FILE) are both set; leave one out")
        case (nil, nil):
            throw ConfigurationError(
                "http.listen is set and no token is: set http.token (GAIA_HTTP_TOKEN) to at least "
                    + "\(BearerToken.bytesMin) characters, or name a file with http.token_file")
        case (let token?, nil): return try Self.token(token, from: "http.token (GAIA_HTTP_TOKEN)")
        case (nil, let path?):
            return try Self.token(
                try Self.secret("http.token_file", in: path), from: "http.token_file (GAIA_HTTP_TOKEN_FILE)")
        }
    }

    private static func token(_ text: String, from place: String) throws(ConfigurationError) -> BearerToken {
        do { return try BearerToken(text) } catch {
            throw ConfigurationError("\(place) cannot be the token: \(error)")
        }
    }
}

/// Tells a service when another has become ready.
struct Readiness: Sendable {
    private let channel = AsyncStream.makeStream(of: Never.self)

    var isReached: AsyncStream<Never> { channel.stream }

    func reach() { channel.continuation.finish() }
}
