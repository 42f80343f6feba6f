import AMQPClient
import FleetBroker
import FleetModel
import FleetStore
import Logging

/// Publishes what the agenda owes by now: jobs for later, retries, and jobs whose delivery was parked. A row is struck
/// out only after the broker has confirmed its message.
struct StageDuty: Duty {
    let store: FleetStore
    let publisher: AMQPPublisher
    let poll: Duration
    let bell: Bell
    let record: LeadershipRecord
    let logger: Logger

    var name: String { "stage" }

    /// Rows a round: enough to keep the broker busy, few enough to hold in memory with payloads of a megabyte.
    static let batchMax = 500

    func round(term: Int64) async throws -> Duration {
        let found = try await store.due(atMost: Self.batchMax)
        if found.isEmpty { return try await untilNext() }
        // What is published must be what the ledger will compare with.
        let due = try await store.seal(found, term: term)
        let time = WallClock.milliseconds
        let outcomes = await publisher.publish(due.map { $0.job.message(publishedAt: time) })
        let confirmed = zip(due, outcomes).filter { $1 == .confirmed }.map(\.0)
        let open = outcomes.first { $0 != .confirmed }
        try await store.staged(confirmed, term: term)
        record.count(.staged, confirmed.count)
        if let open {
            // The rows stay and come up again; a pause, or a broker that refuses would be asked without end.
            logger.warning("stage: \(due.count - confirmed.count) of \(due.count) were not confirmed: \(open)")
            return max(poll, .seconds(1))
        }
        return found.count == Self.batchMax || due.count < found.count ? .zero : try await untilNext()
    }

    /// The next row may come from elsewhere and be due at once, so never longer than the poll interval.
    private func untilNext() async throws -> Duration {
        min(try await store.nextDue() ?? poll, poll)
    }
}
