import CoreMetrics
import FleetModel
import FleetObservability
import Synchronization

/// What a worker counts of its jobs, by type: how they ended, and how long each stage took.
///
/// ```
///  published ──queued──▶ delivered ──claim──▶ claimed ──run──▶ handler ended ──settle──▶ acknowledged
/// ```
final class JobMetrics: Sendable {
    enum Stage: String, CaseIterable {
        /// In the broker's queue, where the message says when it was published.
        case queued
        /// In this worker, for a slot and the ledger's answer.
        case claim
        case run
        /// Until the outcome is in the ledger, the result confirmed, and the delivery acknowledged.
        case settle
    }

    enum Outcome: String, CaseIterable {
        case succeeded, retried, snoozed, discarded, cancelled, indeterminate, fenced
        case handedBack = "handed-back"

        init(_ settlement: Settlement) {
            self =
                switch settlement {
                case .succeed: .succeeded
                case .retry: .retried
                case .snooze: .snoozed
                case .discard: .discarded
                case .cancel: .cancelled
                case .doubt: .indeterminate
                case .handBack: .handedBack
                }
        }
    }

    /// Those of one type. Made when the type's first job comes, so that a type that never runs here has none.
    final class OfType: Sendable {
        private let stages: [Timer]
        private let outcomes: [Outcome: Counter]
        private let success = Mutex<ContinuousClock.Instant?>(nil)
        private let tally: SubsystemTally

        fileprivate init(_ type: JobType, _ tally: SubsystemTally, _ factory: any MetricsFactory) {
            self.tally = tally
            let labels = [("subsystem", type.subsystem), ("type", type.name)]
            stages = Stage.allCases.map {
                Timer(
                    label: "gaia_job_stage_seconds", dimensions: labels + [("stage", $0.rawValue)], factory: factory)
            }
            outcomes = Dictionary(
                uniqueKeysWithValues: Outcome.allCases.map {
                    (
                        $0,
                        Counter(
                            label: "gaia_jobs_total", dimensions: labels + [("outcome", $0.rawValue)], factory: factory)
                    )
                })
        }

        func took(_ duration: Duration, _ stage: Stage) {
            stages[Stage.allCases.firstIndex(of: stage) ?? 0].took(duration)
            tally.took(duration, stage)
        }

        func ended(_ outcome: Outcome) {
            outcomes[outcome]?.increment()
            tally.ended(outcome)
            if outcome == .succeeded { success.withLock { $0 = .now } }
        }

        var lastSuccess: ContinuousClock.Instant? { success.withLock { $0 } }
    }

    private let factory: any MetricsFactory
    private let types = Mutex<[String: OfType]>([:])
    private let tallies = Mutex<[String: SubsystemTally]>([:])
    private let batches: [String: Recorder]

    init(_ factory: any MetricsFactory) {
        self.factory = factory
        batches = Dictionary(
            uniqueKeysWithValues: ["claim", "complete", "publish"].map {
                ($0, Recorder(label: "gaia_worker_batch_jobs", dimensions: [("stage", $0)], factory: factory))
            })
    }

    func of(_ type: JobType) -> OfType {
        types.withLock { types in
            if let known = types[type.name] { return known }
            let made = OfType(type, tally(of: type.subsystem), factory)
            types[type.name] = made
            return made
        }
    }

    func tally(of subsystem: String) -> SubsystemTally {
        tallies.withLock { tallies in
            if let known = tallies[subsystem] { return known }
            let made = SubsystemTally()
            tallies[subsystem] = made
            return made
        }
    }

    /// How many jobs a statement or a round of publishing was for.
    func batch(_ stage: String, _ count: Int) { batches[stage]?.record(count) }

    /// When a job of a subsystem last succeeded here.
    func lastSuccess(of subsystem: String) -> ContinuousClock.Instant? {
        types.withLock { $0 }.filter { $0.key.hasPrefix("\(subsystem).") }.compactMap(\.value.lastSuccess).max()
    }
}
