import AMQPClient
import FleetObservability
import Synchronization

/// Whether the broker knows of the consumers that this process believes to have. A link that is up proves nothing: a broker
/// can lose a consumer and not say so, and then jobs wait though every process looks well.
///
/// ```
///  looked at now      queue has no consumer at all                              lost, whosever it was
///  over two looks     jobs wait in the queue, others are served, and this
///                     process, which has room, is given none                    lost: ours
/// ```
///
/// The second needs no right to list consumers, and names the process whose consumer it is.
public final class ConsumerPresence: Sendable {
    private struct State {
        var asked: ContinuousClock.Instant?
        var isAsking = false
        var absent: [String] = []
        /// Since when every look has found jobs waiting in a queue.
        var waiting: [String: ContinuousClock.Instant] = [:]
        var idle: [String: ContinuousClock.Instant] = [:]
        var delivered: [String: ContinuousClock.Instant] = [:]
    }

    private let configuration: AMQPConfiguration
    private let interval: Duration
    private let state = Mutex(State())

    /// How often the broker is asked at most, each time over a connection of its own.
    public static let interval: Duration = .seconds(10)
    /// How long after a link came up the broker may take to know of its consumers, and after room was made to fill it.
    static let grace: Duration = .seconds(5)

    public init(_ configuration: AMQPConfiguration, interval: Duration = ConsumerPresence.interval) {
        var configuration = configuration
        configuration.connectionName += ", looking"
        self.configuration = configuration
        self.interval = interval
    }

    /// Notes what a queue has just delivered.
    public func noteDeliveries(_ batch: [AMQPDelivery]) {
        // Deliveries of one queue come in rows.
        var queues: [String] = []
        for delivery in batch where delivery.queue != queues.last { queues.append(delivery.queue) }
        let now = ContinuousClock.now
        state.withLock { state in
            for queue in queues { state.delivered[queue] = now }
        }
    }

    /// Adds what is amiss with the consumers of a link.
    ///
    /// - Parameters:
    ///   - queues: which ought to have one of ours, and for each whether more would be taken now.
    ///   - part: whose they are, such as `worker`.
    public func describe(_ link: LinkRecord, queues: [String: Bool], part: String, in health: inout PartHealth) async {
        note(queues)
        guard let since = link.connectedSince, .now - since >= Self.grace, !queues.isEmpty else { return }
        do {
            try await look(at: queues.keys.sorted())
        } catch {
            health.worsen(.warn, "the broker could not be asked for its consumers: \(error)")
            return
        }
        let (absent, starving) = state.withLock { state in
            (
                state.absent.filter { queues[$0] != nil }.sorted(),
                queues.keys.filter { Self.isStarving($0, state, since: since, interval) }.sorted()
            )
        }
        if !absent.isEmpty {
            health.worsen(
                .fail,
                "the broker knows of no consumer of \(absent.joined(separator: ", ")), though this \(part) believes "
                    + "to consume from there: restart it")
        }
        if !starving.isEmpty {
            health.worsen(
                .fail,
                "jobs wait in \(starving.joined(separator: ", ")), this \(part) has room and is given none: the broker has "
                    + "lost its consumer; restart it")
        }
    }

    private func note(_ queues: [String: Bool]) {
        let now = ContinuousClock.now
        state.withLock { state in
            state.idle = queues.filter(\.value).reduce(into: [:]) { $0[$1.key] = state.idle[$1.key] ?? now }
        }
    }

    private static func isStarving(
        _ queue: String, _ state: State, since connected: ContinuousClock.Instant, _ interval: Duration
    ) -> Bool {
        guard let asked = state.asked, let waiting = state.waiting[queue], let idle = state.idle[queue] else {
            return false
        }
        return asked - waiting >= interval && connected < waiting && state.delivered[queue].map { $0 < waiting } ?? true
            && .now - idle >= grace && idle + grace < asked
    }

    private func look(at queues: [String]) async throws {
        let mayAsk = state.withLock { state in
            let isDue = state.asked.map { .now - $0 >= interval } ?? true
            guard isDue, !state.isAsking else { return false }
            state.isAsking = true
            return true
        }
        guard mayAsk else { return }
        defer { state.withLock { $0.isAsking = false } }
        let found = try await AMQPSession.withConnection(configuration) { session in
            var found: [String: AMQPQueueStatus] = [:]
            for queue in queues { found[queue] = try await session.queueStatus(queue) }
            return found
        }
        state.withLock { state in
            let now = ContinuousClock.now
            state.asked = now
            state.absent = queues.filter { found[$0]?.consumers ?? 0 == 0 }
            state.waiting = found.filter { $0.value.messages > 0 }.reduce(into: [:]) {
                $0[$1.key] = state.waiting[$1.key] ?? now
            }
        }
    }
}
