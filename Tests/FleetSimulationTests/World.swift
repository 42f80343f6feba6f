import FleetModel
import FleetStore

/// How long things take in a world: the fleet's own settings in their proportions, most of them a tenth as long.
enum Span {
    static let lease: Int64 = 3_000
    static let recheck: Int64 = 3_000
    static let grace: Int64 = 1_000
    static let poll: Int64 = 200
    static let leadershipAttempt: Int64 = 250
    static let termRenewal: Int64 = 500
    static let termLease: Int64 = 2_000
    static let orders: Int64 = 500
    static let lockPoll: Int64 = 500
    static let lockWait: Int64 = 2_000
    static let drain: Int64 = 1_500
    static let flush: Int64 = 1_500
    /// After so long without a sign of life the broker gives a connection up.
    static let heartbeat: Int64 = 2_000
    /// From the end of all faults until some dispatcher leads.
    static let takeover: Int64 = 4_000
    /// How long a world may go on after its last fault.
    static let patience: Int64 = 90_000
}

/// A clock that jumps from event to event, and everything that acts by it.
final class World {
    /// What becomes of one call or message on its way.
    enum Fate {
        case none, lostBefore, lostAfter
        /// Given up by the caller, and carried out later.
        case late
    }

    struct Outcome: Sendable {
        let violation: Violation?
        let history: History
        let endedAt: Int64
    }

    let plan: Plan
    let mutants: Set<Mutant>
    private(set) var now: Int64 = 0
    private var random: SplitMix64
    private var queue = EventQueue()
    private(set) var history = History()
    var witness: Witness
    private(set) lazy var database = SimulatedDatabase(self, keys: plan.jobs.count)
    private(set) lazy var broker = SimulatedBroker(self)
    private lazy var workers = (0..<plan.workers).map { SimulatedWorker(self, name: "worker \($0)") }
    private lazy var dispatchers = (0..<plan.dispatchers).map { SimulatedDispatcher(self, name: "dispatcher \($0)") }
    private lazy var producer = SimulatedProducer(self, name: "producer")
    /// Faults of kind `crashAtStep` that have not struck yet.
    private var traps: [Fault] = []
    /// In thousandths, how many calls are lost.
    private var lossRate: Int64 = 0
    private var isSlow = false
    private var openChecks = 0
    private var isOver = false

    init(_ plan: Plan, mutants: Set<Mutant> = []) {
        self.plan = plan
        self.mutants = mutants
        random = SplitMix64(seed: plan.chance).split("world")
        witness = Witness(plan.jobs)
    }

    // MARK: Running

    /// Runs until nothing is left to be done, or a rule was broken.
    func run() -> Outcome {
        producer.start()
        for process in workers as [Process] + dispatchers as [Process] { after(draw(0...100), nil) { process.start() } }
        for (number, fault) in plan.faults.enumerated() { set(fault, number) }
        lookForEnd()
        while !isOver, witness.violation == nil, let event = queue.next() {
            now = event.time
            witness.now = now
            perform(event)
        }
        if witness.violation == nil {
            witness.conclude(database.ledger, at: now)
            lookAtLeader()
        }
        for process in workers as [Process] + dispatchers as [Process] { process.discard() }
        queue.clear()
        return Outcome(violation: witness.violation, history: history, endedAt: now)
    }

    /// A leader has had time to learn that its term is over.
    private func lookAtLeader() {
        let ledger = database.ledger
        let time = max(plan.calmAt, ledger.termRenewedAt) + 3 * Span.termRenewal
        guard now > time,
            let leader = dispatchers.first(where: { $0.session != nil && $0.session == ledger.leaderLock }),
            let term = leader.term, term != ledger.term
        else { return }
        witness.violate(.leaderIsCurrent, nil, "\(leader.name) leads in term \(term) of \(ledger.term)")
    }

    private func perform(_ event: EventQueue.Event) {
        guard let process = event.process else { return event.action() }
        guard process.life == event.life, process.isUp else { return }
        if process.isPaused { process.postpone(event) } else { event.action() }
    }

    private func lookForEnd() {
        after(Span.poll, nil) { [self] in
            isOver = isQuiet || now > plan.calmAt + Span.patience
            if !isOver { lookForEnd() }
        }
    }

    private var isQuiet: Bool {
        now > plan.calmAt && openChecks == 0 && producer.open == 0 && broker.isEmpty
            && witness.unfinished(database.ledger).isEmpty && database.ledger.agenda.allSatisfy { $0 == nil }
    }

    // MARK: Time and chance

    /// - Parameter life: in which life of the process; in the present one when nil.
    func after(_ delay: Int64, _ process: Process?, life: Int? = nil, _ action: @escaping () -> Void) {
        queue.insert(
            EventQueue.Event(
                time: now + max(delay, 0), tie: random.next(), process: process, life: life ?? process?.life ?? 0,
                action: action))
    }

    /// What a process missed while it was paused happens now.
    func reinsert(_ event: EventQueue.Event) {
        queue.insert(
            EventQueue.Event(
                time: now, tie: random.next(), process: event.process, life: event.life, action: event.action))
    }

    func draw(_ range: ClosedRange<Int64>) -> Int64 { Int64.random(in: range, using: &random) }

    /// For code of the fleet that draws by itself.
    func generator() -> SplitMix64 { SplitMix64(seed: random.next()) }

    func databaseLatency() -> Int64 { isSlow && draw(0...3) == 0 ? draw(20...900) : draw(1...5) }

    func brokerLatency() -> Int64 { draw(1...8) }

    func fateOfCall() -> Fate {
        if lossRate == 0 || draw(0...999) >= lossRate { return .none }
        switch draw(0...4) {
        case 0, 1: return .lostBefore
        case 2, 3: return .lostAfter
        default: return .late
        }
    }

    func note(_ fact: History.Fact, _ process: Process, _ key: Int = -1, number: Int64 = 0) {
        history.note(History.Line(time: now, actor: process.name, fact: fact, key: key, number: number))
    }

    // MARK: Faults

    private func set(_ fault: Fault, _ number: Int) {
        if case .crashAtStep = fault.kind { return traps.append(fault) }
        after(fault.at, nil) { [self] in
            history.note(History.Line(time: now, actor: "\(fault.kind)", fact: .fault, key: -1, number: Int64(number)))
            strike(fault)
        }
    }

    private func strike(_ fault: Fault) {
        let length = fault.length
        switch fault.kind {
        case .crashWorker(let number): workers[number].crash(restartAfter: length)
        case .crashAtStep: break
        case .pauseWorker(let number): pause(workers[number], for: length)
        case .cutWorkerFromDatabase(let number): database.cutOff(workers[number], for: length)
        case .cutWorkerFromBroker(let number): broker.cutOff(workers[number], for: length)
        case .loseLiveness(let number): database.loseSessions(of: workers[number], noticedWithin: 700)
        case .drainWorker(let number): workers[number].drain(restartAfter: length)
        case .crashDispatcher(let number): dispatchers[number].crash(restartAfter: length)
        case .pauseDispatcher(let number): dispatchers[number].pause(for: length)
        case .cutDispatcherFromDatabase(let number): database.cutOff(dispatchers[number], for: length)
        case .loseLeadership(let number): database.loseSessions(of: dispatchers[number], noticedWithin: 1_500)
        case .loseAllSessions:
            for process in workers as [Process] + dispatchers as [Process] {
                database.loseSessions(of: process, noticedWithin: 900)
            }
        case .databaseOutage: database.outage(for: length)
        case .brokerOutage: broker.outage(for: length)
        case .losses(let rate):
            lossRate = Int64(rate)
            after(length, nil) { [self] in lossRate = 0 }
        case .slowness:
            isSlow = true
            after(length, nil) { [self] in isSlow = false }
        }
    }

    private func pause(_ worker: SimulatedWorker, for length: Int64) {
        worker.pause(for: length)
        if length > Span.heartbeat { after(Span.heartbeat, nil) { [self] in broker.disconnect(worker) } }
    }

    /// - Returns: how long the worker that has come to this step of this job is to be dead; nil when it lives.
    func springTrap(_ step: Step, _ key: Int) -> Int64? {
        let index = traps.firstIndex {
            if case .crashAtStep(step, key) = $0.kind { $0.at <= now } else { false }
        }
        return index.map { traps.remove(at: $0).length }
    }

    /// A worker has died with this epoch: it must be ended in time once the faults are over.
    func expectRescue(of owner: WorkerEpoch, _ name: String) {
        openChecks += 1
        after(max(plan.calmAt - now, 0) + Span.takeover + Span.grace + 2 * Span.poll + 300, nil) { [self] in
            openChecks -= 1
            witness.rescued(owner, name, database.ledger, at: now)
        }
    }
}
