import FleetStore
import Synchronization

/// What a worker's report says of one subsystem's jobs, counted as they go by.
final class SubsystemTally: Sendable {
    private let tally = Mutex(WorkerTally())

    var value: WorkerTally { tally.withLock { $0 } }

    func took(_ duration: Duration, _ stage: JobMetrics.Stage) {
        switch stage {
        case .queued: tally.withLock { $0.queued.add(duration) }
        case .run: tally.withLock { $0.run.add(duration) }
        case .claim, .settle: break
        }
    }

    func ended(_ outcome: JobMetrics.Outcome) {
        switch outcome {
        case .succeeded, .cancelled: tally.withLock { $0.ended += 1 }
        case .discarded, .indeterminate:
            tally.withLock {
                $0.ended += 1
                $0.failed += 1
            }
        case .retried: tally.withLock { $0.retried += 1 }
        case .snoozed, .fenced, .handedBack: break
        }
    }
}
