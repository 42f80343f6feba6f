import AMQPClient
import FleetModel
import Logging

/// The broker cannot be used. The text says what to do.
public struct BrokerNotReady: Error, Sendable, CustomStringConvertible {
    public let description: String
}

extension FleetBroker {
    /// Waits until the broker answers and the topology is there: declared now, or, where the user may not declare,
    /// before.
    ///
    /// - Parameter limit: how long to wait for a broker that does not answer, or for a topology that is missing. What waiting cannot mend, such as refused
    ///   credentials, ends it at once.
    public static func awaitReady(
        _ configuration: AMQPConfiguration, _ topology: AMQPTopology, limit: Duration, logger: Logger
    ) async throws {
        do {
            try await Patience(initial: .milliseconds(200), limit: limit)(
                isHopeless: { ($0 as? AMQPError)?.isPermanent ?? true },
                onFailure: { error, count, _ in
                    if count == 1 || count % 10 == 0 {
                        logger.warning("waiting for the broker, at most \(limit): \(error)")
                    }
                },
                {
                    try await AMQPSession.withConnection(configuration) { session in
                        try await session.provide(topology)
                    }
                })
        } catch let error as AMQPError where error.kind == .topologyMissing {
            throw BrokerNotReady(
                description: "the broker is not set up: \(error) Run 'gaia topology apply' as a user with the right to "
                    + "configure, or import the definitions")
        } catch let error as AMQPError {
            throw BrokerNotReady(
                description: "the broker cannot be used: \(error); check that it runs, and amqp.url (GAIA_AMQP_URL)")
        }
    }
}
