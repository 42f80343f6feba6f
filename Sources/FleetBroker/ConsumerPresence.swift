import AMQPClient
import FleetObservability
import Synchronization

/// Whether the broker knows of the consumers that this process believes to have. A link that is up proves nothing: a broker
/// can lose a consumer and not say so, and then jobs wait though every process looks well.
public final class ConsumerPresence: Sendable {
    private struct State {
        var asked: ContinuousClock.Instant?
        var absent: [String] = []
        var isAsking = false
    }

    private let configuration: AMQPConfiguration
    private let interval: Duration
    private let state = Mutex(State())

    /// How often the broker is asked at most, each time over a connection of its own.
    public static let interval: Duration = .seconds(10)

    public init(_ configuration: AMQPConfiguration, interval: Duration = ConsumerPresence.interval) {
        var configuration = configuration
        configuration.connectionName += ", looking"
        self.configuration = configuration
        self.interval = interval
    }

    /// Those of the queues that have no consumer at all, by what the broker said last.
    ///
    /// - Parameter queues: which ought to have one of ours, and have had time to get it.
    /// - Throws: when the broker could not be asked.
    public func absent(from queues: [String]) async throws -> [String] {
        let mayAsk = state.withLock { state in
            let isDue = state.asked.map { .now - $0 >= interval } ?? true
            guard isDue, !state.isAsking else { return false }
            state.isAsking = true
            return true
        }
        if mayAsk {
            defer { state.withLock { $0.isAsking = false } }
            let absent = try await AMQPSession.withConnection(configuration) { session in
                var absent: [String] = []
                for queue in queues where try await session.queueStatus(queue)?.consumers ?? 0 == 0 {
                    absent.append(queue)
                }
                return absent
            }
            state.withLock { ($0.asked, $0.absent) = (.now, absent) }
        }
        return state.withLock { state in state.absent.filter(queues.contains) }
    }
    /// How long after a link came up the broker may take to know of its consumers.
    static let grace: Duration = .seconds(5)

    /// Adds what is amiss with the consumers of a link.
    ///
    /// - Parameters:
    ///   - queues: which ought to have one of ours.
    ///   - part: whose they are, such as `worker`.
    public func describe(_ link: LinkRecord, queues: [String], part: String, in health: inout PartHealth) async {
        guard let since = link.connectedSince, .now - since >= Self.grace, !queues.isEmpty else { return }
        do {
            let absent = try await absent(from: queues)
            if absent.isEmpty { return }
            health.worsen(
                .fail,
                "the broker knows of no consumer of \(absent.sorted().joined(separator: ", ")), though this \(part) believes "
                    + "to consume from there: restart it")
        } catch {
            health.worsen(.warn, "the broker could not be asked for its consumers: \(error)")
        }
    }
}
