import FleetModel
import FleetStore
import Logging

/// Makes due what was held while its type rested, once it rests no more.
struct ReleaseDuty: Duty {
    let store: FleetStore
    let poll: Duration
    /// Told when there are jobs to stage.
    let agenda: Bell
    let record: LeadershipRecord
    let logger: Logger
    let bell = Bell()

    var name: String { "release" }

    /// Jobs a round.
    static let batchMax = 1_000

    func round(term: Int64) async throws -> Duration {
        let count = try await store.releaseHeld(term: term, atMost: Self.batchMax)
        record.count(.released, count)
        if count > 0 {
            logger.info("\(count) jobs that were held are due")
            agenda.ring()
        }
        return count == Self.batchMax ? .zero : poll
    }
}
