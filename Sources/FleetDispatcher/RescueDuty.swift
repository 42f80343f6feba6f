import FleetModel
import FleetStore
import Logging
import Synchronization

/// Ends the epoch of workers that are gone, which frees their jobs, and makes due what was parked on them. A worker whose
/// liveness lock is free gets a grace in which to take it again; one whose lease has run out gets none.
final class RescueDuty: Duty {
    private let store: FleetStore
    private let poll: Duration
    private let grace: Duration
    /// Told when there are jobs to stage.
    private let agenda: Bell
    private let record: LeadershipRecord
    private let logger: Logger
    /// Since when each worker has been missing without a break, by our own clock: only a span is measured.
    private let missing = Mutex(Missing())

    private struct Missing {
        /// The term in which it was seen: between two terms of ours nobody looked.
        var term: Int64 = 0
        var since: [WorkerEpoch: ContinuousClock.Instant] = [:]
    }

    init(store: FleetStore, poll: Duration, grace: Duration, agenda: Bell, record: LeadershipRecord, logger: Logger) {
        self.store = store
        self.poll = poll
        self.grace = grace
        self.agenda = agenda
        self.record = record
        self.logger = logger
    }

    var name: String { "rescue" }
    let bell = Bell()

    func round(term: Int64) async throws -> Duration {
        let workers: [MissingWorker]
        do {
            workers = try await store.missingWorkers()
        } catch {
            // Not seen is not missing: after a break of the database everyone gets the whole grace again.
            missing.withLock { $0 = Missing() }
            throw error
        }
        let now = ContinuousClock.now
        let gone = missing.withLock { missing in
            if missing.term != term { missing = Missing(term: term) }
            let still = Set(workers.map(\.owner))
            missing.since = missing.since.filter { still.contains($0.key) }
            return workers.filter { worker in
                let since = missing.since[worker.owner, default: now]
                missing.since[worker.owner] = since
                return worker.expired || now - since >= grace
            }
        }
        for worker in gone {
            guard try await store.endEpoch(of: worker.owner, term: term) else { continue }
            record.count(.workersEnded, 1)
            let reason = worker.expired ? "lease ran out" : "process ended"
            logger.notice("worker \(worker.name) is gone (\(reason)): its epoch \(worker.owner.epoch) ends")
        }
        let orphans = try await store.releaseOrphans(term: term)
        record.count(.rescued, orphans)
        if orphans > 0 {
            logger.notice("\(orphans) parked jobs of workers that are gone are due")
            agenda.ring()
        }
        return poll
    }
}
