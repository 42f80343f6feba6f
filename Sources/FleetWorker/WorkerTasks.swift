import FleetModel
import FleetStore

/// What a worker does at a moment, and what waits in it. Keys are told, payloads never.
public struct WorkerTasks: Codable, Sendable {
    public struct Job: Codable, Sendable {
        /// Where a job is within its worker.
        public enum Stage: String, Codable, Sendable {
            /// Its handler runs.
            case run
            /// Its handler was told to end, and has not ended.
            case cancelling
            /// Its handler has ended; ledger and broker are to hear of it.
            case settle
        }

        public let type, subsystem, key: String
        public let attempt, attemptsMax: Int
        public let stage: Stage
        /// Why it was told to end.
        public let reason: String?
        /// Since its claim, in seconds.
        public let age: Double
        /// Until its handler is told to end, in seconds; negative when it should have ended.
        public let left: Double

        enum CodingKeys: String, CodingKey {
            case type, subsystem, key, attempt, stage, reason
            case attemptsMax = "attempts_max"
            case age = "age_s"
            case left = "left_s"
        }
    }

    public struct Subsystem: Codable, Sendable {
        public let slots, busy, waiting: Int
        public let resting: Bool
        public let notices: [String]
        public let holdings: String?
    }

    /// What waits before each stage.
    public struct Stages: Codable, Sendable {
        public let claim, settle, publish: Int
    }

    public struct Pool: Codable, Sendable {
        public let connected, busy, waiting: Int
    }

    public struct Waits: Codable, Sendable {
        public let locksHeld, locksWanted, limitsWaiting: Int

        enum CodingKeys: String, CodingKey {
            case locksHeld = "locks_held"
            case locksWanted = "locks_wanted"
            case limitsWaiting = "limits_waiting"
        }
    }

    /// How many jobs are told one by one.
    static let jobsMax = 500

    public let subsystems: [String: Subsystem]
    public let queued: Stages
    public let database: Pool
    public let waits: Waits
    /// By type, then by stage.
    public let counts: [String: [String: Int]]
    /// The oldest first.
    public let jobs: [Job]
    /// Jobs that are not among them, for their number.
    public let jobsLeftOut: Int

    enum CodingKeys: String, CodingKey {
        case subsystems, queued, database, waits, counts, jobs
        case jobsLeftOut = "jobs_left_out"
    }
}

extension Worker {
    /// What it does now.
    public var tasks: WorkerTasks {
        let (now, load, pool, queued) = (ContinuousClock.now, load, pool.status, settler.queued)
        let jobs = running.looks().map { WorkerTasks.Job($0, now) }
        var counts: [String: [String: Int]] = [:]
        for job in jobs { counts[job.type, default: [:]][job.stage.rawValue, default: 0] += 1 }
        let (held, wanted) = locks.counts
        return WorkerTasks(
            subsystems: Dictionary(
                uniqueKeysWithValues: load.subsystems.map { subsystem in
                    (
                        subsystem.name,
                        WorkerTasks.Subsystem(
                            slots: subsystem.slots, busy: subsystem.busy, waiting: subsystem.waiting,
                            resting: pauses.withLock { $0.rests(subsystem: subsystem.name) },
                            notices: subsystem.notices, holdings: subsystem.holdings)
                    )
                }),
            queued: .init(
                claim: load.subsystems.reduce(0) { $0 + $1.waiting }, settle: queued.settle, publish: queued.publish),
            database: .init(connected: pool.connected, busy: pool.busy, waiting: pool.waiting),
            waits: .init(locksHeld: held, locksWanted: wanted, limitsWaiting: limits.waiting), counts: counts,
            jobs: Array(jobs.prefix(WorkerTasks.jobsMax)), jobsLeftOut: max(0, jobs.count - WorkerTasks.jobsMax))
    }
}

extension WorkerTasks.Job {
    fileprivate init(_ look: RunningJobs.Look, _ now: ContinuousClock.Instant) {
        func seconds(_ duration: Duration) -> Double { ((duration / .milliseconds(1)).rounded()) / 1_000 }
        let reason: String? =
            switch look.interruption {
            case nil: nil
            case .timeout: "its attempt has taken longer than its type allows"
            case .deadline: "the job's time is over"
            case .handBack: "the worker hands it back"
            case .calledOff(let why): "called off: \(why)"
            }
        self.init(
            type: look.job.type.name, subsystem: look.job.type.subsystem, key: look.job.key,
            attempt: look.ownership.attempt, attemptsMax: look.ownership.attemptsMax,
            stage: look.isSettled ? .settle : look.interruption == nil ? .run : .cancelling, reason: reason,
            age: seconds(now - look.begun), left: seconds(look.expiry - now))
    }
}
