import FleetModel

/// What happens to one small world besides what its parts decide: the jobs that are given to it and the faults that
/// strike it. Drawn from a seed; all other chance in a world comes from the same seed.
struct Plan: Sendable {
    let seed: UInt64
    /// Where all other chance comes from; the seed itself, but for plans that were made smaller.
    var chance: UInt64
    var workers: Int
    var dispatchers: Int
    var slots: Int
    var jobs: [JobPlan]
    var faults: [Fault]

    /// When the last fault is over.
    var calmAt: Int64 { faults.map { $0.at + $0.length }.max() ?? 0 }
}

struct JobPlan: Sendable {
    var publishes: [Publish]
    /// What its runs end with, one after the other; the last of them for all further runs.
    var fates: [Fate]
    var duration: Int64
    var isRepeatable = true
    var attemptsMax: Int
    /// A lock that its handler takes.
    var lock: Int?
    /// Its handler takes the worker down each time.
    var isPoison = false
    var cancelAt: Int64?
    /// Whether its handler ends when it is cancelled.
    var honoursCancellation = true
}

struct Publish: Sendable {
    var at: Int64
    var payload = 0
    /// Given to the dispatcher for later, and not to the broker.
    var delay: Int64?
    var wantsReply = true
}

/// How one run of a handler ends.
enum Fate: Sendable {
    case succeed, transient, throttled, snoozed, permanent, unsafe
}

/// The steps at which a worker can be killed by the job that it has in hand.
enum Step: Int, Sendable, CaseIterable {
    case claiming, claimed, running, effect, completing, completed, published
}

struct Fault: Sendable {
    enum Kind: Sendable {
        case crashWorker(Int)
        /// Whichever worker is the first to reach that step with that job.
        case crashAtStep(Step, key: Int)
        case pauseWorker(Int)
        case cutWorkerFromDatabase(Int)
        case cutWorkerFromBroker(Int)
        /// The server loses the session that holds the liveness lock.
        case loseLiveness(Int)
        case drainWorker(Int)
        case crashDispatcher(Int)
        case pauseDispatcher(Int)
        case cutDispatcherFromDatabase(Int)
        /// The server loses the session that holds the leader's lock, and the leader does not know it yet.
        case loseLeadership(Int)
        /// The server loses all sessions at once, and each process finds out by itself.
        case loseAllSessions
        case databaseOutage
        case brokerOutage
        /// Calls and confirms get lost, in thousandths.
        case losses(Int)
        /// The database takes its time.
        case slowness
    }

    var at: Int64
    /// How long it lasts, or until what has died is started again.
    var length: Int64
    var kind: Kind
}

extension Plan {
    /// When jobs come and faults strike.
    private static let span: ClosedRange<Int64> = 0...4_000

    init(seed: UInt64) {
        var random = SplitMix64(seed: seed).split("plan")
        self.seed = seed
        chance = seed
        workers = Int.random(in: 2...4, using: &random)
        dispatchers = Int.random(in: 1...3, using: &random)
        slots = Int.random(in: 1...4, using: &random)
        jobs = []
        for _ in 0..<Int.random(in: 5...12, using: &random) { jobs.append(Self.job(&random)) }
        faults = []
        for _ in 0..<Int.random(in: 1...7, using: &random) {
            faults.append(Self.fault(&random, workers: workers, dispatchers: dispatchers, jobs: jobs.count))
        }
        switch Int.random(in: 0..<10, using: &random) {
        case 0: loseRepeats(&random)
        case 1: contendForLock(&random)
        default: break
        }
    }

    /// A job's repeats are in the hands of workers that cannot ask and then die, and the broker is gone for a moment.
    private mutating func loseRepeats(_ random: inout SplitMix64) {
        let key = Int.random(in: jobs.indices, using: &random)
        let begin = Int64.random(in: 300...2_000, using: &random)
        jobs[key].publishes = [0, 10, 20].map { Publish(at: begin + $0 * Int64.random(in: 1...3, using: &random)) }
        jobs[key].duration = Int64.random(in: 1_500...3_000, using: &random)
        let survivor = Int.random(in: 0..<workers, using: &random)
        for worker in 0..<workers where worker != survivor {
            faults.append(Fault(at: begin - 10, length: 2_000, kind: .cutWorkerFromDatabase(worker)))
            faults.append(
                Fault(
                    at: begin + Int64.random(in: 300...900, using: &random), length: 2_000, kind: .crashWorker(worker)))
        }
        faults.append(Fault(at: begin + 200, length: 60, kind: .brokerOutage))
    }

    /// Several jobs want one lock, and workers are stopped while they have it.
    private mutating func contendForLock(_ random: inout SplitMix64) {
        for key in jobs.indices where Int.random(in: 0...1, using: &random) == 0 { jobs[key].lock = 0 }
        for worker in 0..<workers - 1 {
            faults.append(
                Fault(
                    at: Int64.random(in: Self.span, using: &random),
                    length: Int64.random(in: 3_000...4_500, using: &random),
                    kind: .pauseWorker(worker)))
        }
    }

    private static func job(_ random: inout SplitMix64) -> JobPlan {
        func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
        let begin = Int64.random(in: span, using: &random)
        var publishes = [Publish(at: begin, wantsReply: chance(60))]
        if chance(20) { publishes[0].delay = Int64.random(in: 0...2_000, using: &random) }
        while chance(35), publishes.count < 4 {
            publishes.append(
                Publish(
                    at: begin + Int64.random(in: chance(50) ? 0...60 : 0...1_500, using: &random),
                    payload: chance(20) ? 1 : 0,
                    wantsReply: chance(70)))
        }
        var fates: [Fate] = []
        while chance(35), fates.count < 4 {
            fates.append(random.pick([.transient, .transient, .throttled, .snoozed]))
        }
        fates.append(chance(85) ? .succeed : random.pick([.transient, .permanent, .unsafe]))
        let isLong = chance(20)
        return JobPlan(
            publishes: publishes, fates: fates,
            duration: Int64.random(in: isLong ? 1_000...4_000 : 5...500, using: &random),
            isRepeatable: !chance(15), attemptsMax: Int.random(in: 1...4, using: &random),
            lock: chance(15) ? Int.random(in: 0...1, using: &random) : nil, isPoison: chance(4),
            cancelAt: chance(8) ? begin + Int64.random(in: -300...1_500, using: &random) : nil,
            honoursCancellation: chance(85))
    }

    private static func fault(_ random: inout SplitMix64, workers: Int, dispatchers: Int, jobs: Int) -> Fault {
        let worker = Int.random(in: 0..<workers, using: &random)
        let dispatcher = Int.random(in: 0..<dispatchers, using: &random)
        let key = Int.random(in: 0..<jobs, using: &random)
        let step = random.pick(Step.allCases)
        let kinds: [Fault.Kind] = [
            .crashWorker(worker), .crashWorker(worker), .crashAtStep(step, key: key), .crashAtStep(step, key: key),
            .crashAtStep(step, key: key), .pauseWorker(worker), .pauseWorker(worker), .cutWorkerFromDatabase(worker),
            .cutWorkerFromBroker(worker), .loseLiveness(worker), .drainWorker(worker), .crashDispatcher(dispatcher),
            .pauseDispatcher(dispatcher), .cutDispatcherFromDatabase(dispatcher), .loseLeadership(dispatcher),
            .loseAllSessions, .loseAllSessions, .cutWorkerFromBroker(worker), .databaseOutage, .brokerOutage,
            .losses(Int.random(in: 20...250, using: &random)), .slowness,
        ]
        return Fault(
            at: Int64.random(in: span, using: &random),
            length: random.pick([
                Int64.random(in: 50...900, using: &random), Int64.random(in: 900...2_900, using: &random),
                Int64.random(in: 2_900...5_000, using: &random),
            ]), kind: random.pick(kinds))
    }
}
