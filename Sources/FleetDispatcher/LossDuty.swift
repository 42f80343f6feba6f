import FleetModel
import FleetStore
import Logging

/// Owes what workers had in hand of a lost queue when they ended. Not done with the end of their epochs: it reads the whole
/// ledger of the queue, and rescue must not wait for that.
struct LossDuty: Duty {
    let store: FleetStore
    let poll: Duration
    /// Told when there are jobs to stage.
    let agenda: Bell
    let record: LeadershipRecord
    let logger: Logger
    let bell = Bell()

    var name: String { "losses" }

    func round(term: Int64) async throws -> Duration {
        let count = try await store.oweLost(term: term)
        record.count(.owed, count)
        if count > 0 {
            logger.notice("\(count) jobs that workers had in hand of a lost queue when they ended are owed")
            agenda.ring()
        }
        return poll
    }
}
