import FleetModel
import FleetStore
import Logging
import Synchronization

/// Lets finished jobs age out: a hand goes round the job table, a stretch of pages at a time, and rests after each round.
/// It costs each job nothing, where an index on the time of its end would cost it a write.
final class RetainDuty: Duty {
    private let store: FleetStore
    private let retention: Retention
    private let record: LeadershipRecord
    private let logger: Logger
    private let hand = Mutex<Int64>(0)
    let bell = Bell()

    /// Pages a step; some five thousand jobs of average size.
    static let stretch: Int64 = 256
    /// Between steps, so that it never takes more than a small part of the database.
    static let stepPause: Duration = .milliseconds(200)
    /// Between rounds.
    static let roundPause: Duration = .seconds(60)

    init(store: FleetStore, retention: Retention, record: LeadershipRecord, logger: Logger) {
        self.store = store
        self.retention = retention
        self.record = record
        self.logger = logger
    }

    var name: String { "retain" }

    func round(term: Int64) async throws -> Duration {
        let first = hand.withLock { $0 }
        let (removed, pages) = try await store.retain(
            pages: first..<first + Self.stretch, retention, term: term)
        record.count(.removed, removed)
        if removed > 0 { logger.debug("retain: \(removed) finished jobs removed") }
        let next = first + Self.stretch
        if next < pages {
            hand.withLock { $0 = next }
            return Self.stepPause
        }
        hand.withLock { $0 = 0 }
        _ = try await store.retainRest(retention, term: term)
        return Self.roundPause
    }
}
