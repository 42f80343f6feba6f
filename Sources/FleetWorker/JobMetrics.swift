import CoreMetrics
import FleetModel
import FleetObservability
import Synchronization

/// What a worker counts of its jobs, by type: how they ended, and how long each stage took.
///
/// ```
///  published ──queued──▶ delivered ──claim──▶ claimed ──run──▶ handler ended ──settle──▶ acknowledged
/// ```
///
/// A job is counted five times, so a type's counters are looked up once, when its delivery is read, and go with it.
package final class JobMetrics: Sendable {
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

    /// Those of one type. Made when the type's first job comes, so that a type that never runs here has no histograms.
    package final class OfType: Sendable {
        private let queued, claim, run, settle: Timer
        /// In the order of `Outcome.allCases`.
        private let outcomes: [Counter]
        private let began = ContinuousClock.now
        /// When the last success was, in nanoseconds after `began`; negative before the first.
        private let success = Atomic<Int64>(-1)
        private let tally: SubsystemTally

        fileprivate init(_ type: JobType, _ tally: SubsystemTally, _ factory: any MetricsFactory) {
            self.tally = tally
            let labels = JobMetrics.labels(type)
            func timer(_ stage: Stage) -> Timer {
                Timer(
                    label: "gaia_job_stage_seconds", dimensions: labels + [("stage", stage.rawValue)], factory: factory)
            }
            (queued, claim, run, settle) = (timer(.queued), timer(.claim), timer(.run), timer(.settle))
            outcomes = JobMetrics.outcomes(labels, factory)
        }

        func took(_ duration: Duration, _ stage: Stage) {
            let timer =
                switch stage {
                case .queued: queued
                case .claim: claim
                case .run: run
                case .settle: settle
                }
            timer.took(duration)
            tally.took(duration, stage)
        }

        func ended(_ outcome: Outcome) {
            outcomes[outcome.index].increment()
            tally.ended(outcome)
            if outcome == .succeeded { success.store((.now - began).nanoseconds, ordering: .relaxed) }
        }

        var lastSuccess: ContinuousClock.Instant? {
            let after = success.load(ordering: .relaxed)
            return after < 0 ? nil : began + .nanoseconds(after)
        }
    }

    private let factory: any MetricsFactory
    /// By their names.
    private let types = Mutex<[String: OfType]>([:])
    private let tallies = Mutex<[String: SubsystemTally]>([:])
    private let claimed, completed, published: Recorder

    /// - Parameter types: those whose jobs run here. Their outcomes are told from the start, at zero: of a counter that comes
    ///   into being with its first event Prometheus sees no increase, and no alert could tell of the first job that is lost.
    package init(_ factory: any MetricsFactory, types: some Sequence<JobType> = []) {
        self.factory = factory
        for type in types { _ = Self.outcomes(Self.labels(type), factory) }
        func recorder(_ stage: String) -> Recorder {
            Recorder(label: "gaia_worker_batch_jobs", dimensions: [("stage", stage)], factory: factory)
        }
        (claimed, completed, published) = (recorder("claim"), recorder("complete"), recorder("publish"))
    }

    private static func labels(_ type: JobType) -> [(String, String)] {
        [("subsystem", type.subsystem), ("type", type.name)]
    }

    /// In the order of `Outcome.allCases`.
    private static func outcomes(_ labels: [(String, String)], _ factory: any MetricsFactory) -> [Counter] {
        Outcome.allCases.map {
            Counter(label: "gaia_jobs_total", dimensions: labels + [("outcome", $0.rawValue)], factory: factory)
        }
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

    // How many jobs a statement or a round of publishing was for.
    func claimed(_ count: Int) { claimed.record(count) }
    func completed(_ count: Int) { completed.record(count) }
    func published(_ count: Int) { published.record(count) }

    /// When a job of a subsystem last succeeded here.
    func lastSuccess(of subsystem: String) -> ContinuousClock.Instant? {
        types.withLock { $0 }.filter { $0.key.hasPrefix("\(subsystem).") }.compactMap(\.value.lastSuccess).max()
    }
}

extension JobMetrics.Outcome {
    /// Its place among all.
    fileprivate var index: Int {
        switch self {
        case .succeeded: 0
        case .retried: 1
        case .snoozed: 2
        case .discarded: 3
        case .cancelled: 4
        case .indeterminate: 5
        case .fenced: 6
        case .handedBack: 7
        }
    }
}
