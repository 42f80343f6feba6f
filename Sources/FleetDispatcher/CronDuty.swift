import FleetModel
import FleetStore
import Logging

/// Makes the jobs of schedules whose tick has come. A tick's job and the time of the next are one statement, which names
/// both the term and the tick: whoever comes second matches nothing.
struct CronDuty: Duty {
    let store: FleetStore
    let poll: Duration
    let bell: Bell
    /// Told when there are jobs to stage.
    let agenda: Bell
    let record: LeadershipRecord
    let logger: Logger

    var name: String { "cron" }

    /// Ticks a round.
    static let batchMax = 100

    func round(term: Int64) async throws -> Duration {
        var ticks: [DueTick] = []
        var made = 0
        do {
            ticks = try await store.dueTicks(atMost: Self.batchMax)
            for tick in ticks where try await store.make(tick, term: term) { made += 1 }
        } catch let unfit as UnfitSchedule {
            // It would hold up all others for good.
            _ = try await store.pauseSchedule(unfit.name, true)
            logger.error("\(unfit); it is paused, put it again: gaia cron put \(unfit.name)")
            return .zero
        }
        record.count(.scheduled, made)
        if made > 0 {
            logger.debug("cron: \(made) jobs made")
            agenda.ring()
        }
        // Missed ticks that are caught up come one a round.
        return ticks.isEmpty ? poll : .zero
    }
}
