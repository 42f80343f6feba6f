import FleetModel
import FleetStore

/// A delivery in a worker's hands.
struct SimulatedArrival {
    let key: Int
    let content: JobContent
    let replyTo: Int?
    let delivery: JobDelivery
    var tag: DeliveryTag
}

/// A job that a worker owns, from claim to committed completion.
struct RunningEntry {
    enum Interruption {
        case handBack, calledOff
    }

    var arrival: SimulatedArrival
    let token: Int64
    let attempt: Int
    let attemptsMax: Int
    let crashes: Int
    let age: Int64
    let owner: WorkerEpoch
    var interruption: Interruption?
    var isSettled = false
    var hold: LockHold?
}

struct SimulatedEnding {
    let arrival: SimulatedArrival
    let token: Int64
    let attempt: Int
    let settlement: Settlement
}

struct SimulatedPublication {
    var messages: [SimulatedMessage] = []
    var acknowledge: DeliveryTag?
    var waiters: [(key: Int, replyTo: Int)] = []
    /// The step of this job that is reached when it is confirmed.
    var key: Int?
}

/// A worker process in the steps of `Worker`, `LeaseKeeper`, `RunningJobs` and `Settler`: this file has its life and its
/// lease, the others claiming, running and settling.
final class SimulatedWorker: Process {
    // Lease.
    var worker: Int64?
    var owner: WorkerEpoch?
    private var renewedAt: Int64 = 0
    private var isRenewing = false
    private var session: Int?
    private var isTakingLock = false
    var asking: [(WorkerEpoch?) -> Void] = []
    // Intake.
    private var generation: Int?
    var waiting: [SimulatedArrival] = []
    var busySlots = 0
    var isClaiming = false
    // Running.
    var running: [Int: RunningEntry] = [:]
    var onEmpty: [() -> Void] = []
    var lastLockRequest: Int64 = 0
    // Settling.
    var endings: [SimulatedEnding] = []
    var isCompleting = false
    var publications: [SimulatedPublication] = []
    var isPublishing = false
    /// Publications that are not confirmed and acknowledged yet.
    var openPublications = 0
    // Draining.
    private(set) var isDraining = false
    private var isEnding = false
    private var hasLeft = false
    private var restartAfter: Int64 = 0

    // MARK: Life

    override func start() {
        super.start()
        register()
    }

    override func forget() {
        if let owner, !hasLeft { world.expectRescue(of: owner, name) }
        (worker, owner, session, generation) = (nil, nil, nil, nil)
        (isRenewing, isTakingLock, isClaiming, isCompleting, isPublishing) = (false, false, false, false, false)
        (isDraining, isEnding, hasLeft) = (false, false, false)
        (asking, waiting, onEmpty, endings, publications) = ([], [], [], [], [])
        running = [:]
        (busySlots, openPublications) = (0, 0)
    }

    private func register() {
        let began = world.now
        world.database.ask(self, .other, { $0.register(lease: Span.lease) }) { [self] owner in
            guard let owner else { return patiently(failures: 2) { [self] in register() } }
            worker = owner.worker
            world.note(.registered, self, number: owner.worker)
            renewedAt = began
            takeLock { [self] in
                self.owner = owner
                keepRenewing()
                connect()
                followOrders()
            }
        }
    }

    /// At a step of a job the plan may have the worker killed.
    ///
    /// - Returns: whether it is dead.
    func reach(_ step: Step, _ key: Int) -> Bool {
        guard let pause = world.springTrap(step, key) else { return false }
        crash(restartAfter: pause)
        return true
    }

    // MARK: The liveness lock

    private func takeLock(then: @escaping () -> Void) {
        guard let worker else { return }
        let again = { [self] in patiently(failures: 1, initial: 20, cap: 200) { [self] in takeLock(then: then) } }
        world.database.connect(self) { [self] opened in
            guard let opened else { return again() }
            session = opened
            world.database.ask(self, .other, session: opened) { ledger in
                if ledger.livenessLocks[worker] == nil { ledger.livenessLocks[worker] = opened }
                return ledger.livenessLocks[worker] == opened
            } then: { [self] held in
                if held == true { return then() }
                // The server has not yet noticed that the former session is gone.
                world.database.drop(opened, by: self)
                session = nil
                again()
            }
        }
    }

    override func sessionLost(_ lost: Int) {
        guard let session, session == lost || lost == 0 && !world.database.isOpen(session), !isTakingLock else {
            return
        }
        world.database.drop(session, by: self)
        self.session = nil
        isTakingLock = true
        takeLock { [self] in isTakingLock = false }
    }

    // MARK: The lease

    private func keepRenewing() {
        after(Span.lease / 3) { [self] in
            renew()
            keepRenewing()
        }
    }

    func renew() {
        guard !isRenewing, !isEnding, let worker else { return }
        isRenewing = true
        guard let owner else { return beginEpoch(worker) }
        let began = world.now
        world.database.ask(self, .renew, { $0.renew(owner, lease: Span.lease) }) { [self] isHeld in
            guard let isHeld else { return renewalFailed() }
            if isHeld {
                renewedAt = began
                isRenewing = false
                return
            }
            fence()
            beginEpoch(worker)
        }
    }

    private func beginEpoch(_ worker: Int64) {
        let began = world.now
        world.database.ask(self, .other, { $0.beginEpoch(worker: worker, lease: Span.lease) }) { [self] begun in
            guard let begun else { return renewalFailed() }
            renewedAt = began
            isRenewing = false
            owner = begun
            world.note(.epoch, self, number: Int64(begun.epoch))
            let asking = asking
            self.asking = []
            for answer in asking { answer(begun) }
        }
    }

    /// By its own clock from before the last renewal was sent, so never later than the database's end.
    private func renewalFailed() {
        isRenewing = false
        if owner != nil, world.now - renewedAt >= Span.lease * 8 / 10 { fence() }
    }

    private func fence() {
        world.note(.lost, self, number: Int64(owner?.epoch ?? 0))
        owner = nil
        interruptAll()
    }

    // MARK: The broker

    private func connect() {
        guard generation == nil, !isDraining else { return }
        let slots = world.plan.slots
        world.broker.connect(self, prefetch: slots + (slots + 1) / 2) { [self] opened in
            guard let opened else { return patiently(failures: 2) { [self] in connect() } }
            generation = opened
            if isDraining { world.broker.stopConsuming(self) }
        }
    }

    func connectionLost(_ lost: Int) {
        guard generation == lost else { return }
        generation = nil
        patiently(failures: 1) { [self] in connect() }
    }

    func arrive(_ delivery: JobDelivery, _ tag: DeliveryTag) {
        world.note(.delivered, self, delivery.key, number: Int64(tag.number))
        let arrival = SimulatedArrival(
            key: delivery.key, content: delivery.content, replyTo: delivery.replyTo, delivery: delivery, tag: tag)
        if isDraining { return world.broker.requeue([tag], by: self) }
        waiting.append(arrival)
        claimNext()
    }

    // MARK: Orders

    private func followOrders() {
        after(Span.orders) { [self] in
            followOrders()
            guard !running.isEmpty, let owner else { return }
            world.database.ask(self, .other, { $0.calledOff(owner) }) { [self] keys in
                for key in keys ?? [] { callOff(key) }
            }
        }
    }

    // MARK: Draining

    /// Stops in the order in which work flows, so that each stage empties into the next.
    func drain(restartAfter pause: Int64) {
        guard isUp, !isDraining else { return }
        isDraining = true
        restartAfter = pause
        world.broker.stopConsuming(self)
        world.broker.requeue(waiting.map(\.tag), by: self)
        waiting = []
        after(Span.drain) { [self] in
            interruptAll()
            // What cannot be written or published now is left to redelivery.
            after(Span.flush) { [self] in giveUp() }
        }
        endIfDrained()
    }

    private func giveUp() {
        if !isEnding { crash(restartAfter: restartAfter) }
    }

    func endIfDrained() {
        guard isDraining, !isEnding, !isClaiming, running.isEmpty, endings.isEmpty, !isCompleting, openPublications == 0
        else { return }
        isEnding = true
        let asking = asking
        self.asking = []
        for answer in asking { answer(nil) }
        giveBackLease(tries: 5)
    }

    private func giveBackLease(tries: Int) {
        guard let owner, tries > 0 else { return leave() }
        world.database.ask(self, .other, { $0.release(owner) }) { [self] done in
            if done != nil { return leave() }
            patiently(failures: 2) { [self] in giveBackLease(tries: tries - 1) }
        }
    }

    private func leave() {
        world.note(.drained, self)
        hasLeft = true
        end(restartAfter: restartAfter)
    }
}
