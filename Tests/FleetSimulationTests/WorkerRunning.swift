import FleetModel
import FleetStore

/// From claim to outcome, as `Worker.start`, `RunningJobs` and `Worker.settle` do it.
extension SimulatedWorker {
    /// - Returns: whether the worker is dead by it.
    func begin(
        _ arrival: SimulatedArrival, _ answer: ModelAnswer, _ owner: WorkerEpoch, isAlone: Bool = false
    ) -> Bool {
        guard let entry = entry(arrival, answer, owner) else { return false }
        let key = arrival.key
        if running[key] != nil { world.witness.violate(.ownedTwiceInOneWorker, key, "\(name) claimed it while it ran") }
        running[key] = entry
        if entry.attempt > entry.attemptsMax, !world.mutants.contains(.attemptsWithoutEnd) {
            after(0) { [self] in
                settle(key, entry.token, .failed(Failure.attemptsSpent))
                release()
            }
            return false
        }
        if reach(.running, key) { return true }
        let run = world.witness.begun(
            Witness.Run(
                key: key, token: entry.token, attempt: entry.attempt, attemptsMax: entry.attemptsMax,
                content: arrival.content, worker: name, crashes: entry.crashes, isAlone: isAlone,
                company: running.values.filter { $0.arrival.key != key }.map(\.arrival.key)))
        world.note(.begun, self, key, number: entry.token)
        perform(entry, run)
        return false
    }

    /// Not begun: given back as it was.
    func handBackUnbegun(_ arrival: SimulatedArrival, _ answer: ModelAnswer, _ owner: WorkerEpoch) {
        guard let entry = entry(arrival, answer, owner) else { return }
        running[arrival.key] = entry
        after(0) { [self] in
            settle(arrival.key, entry.token, .handedBack)
            release()
        }
    }

    private func entry(_ arrival: SimulatedArrival, _ answer: ModelAnswer, _ owner: WorkerEpoch) -> RunningEntry? {
        guard case .claimed(let token, let attempt, let attemptsMax, let crashes, let age) = answer else { return nil }
        return RunningEntry(
            arrival: arrival, token: token, attempt: attempt, attemptsMax: attemptsMax, crashes: crashes, age: age,
            owner: owner)
    }

    // MARK: The handler

    private func perform(_ entry: RunningEntry, _ run: Int) {
        let (key, token) = (entry.arrival.key, entry.token)
        let job = world.plan.jobs[key]
        if job.isPoison {
            return after(world.draw(5...80)) { [self] in crash(restartAfter: world.draw(100...600)) }
        }
        guard let lock = job.lock else { return work(key, token, job, run) }
        acquire(lock, entry) { [self] in work(key, token, job, run) }
    }

    /// The effect half way, and the end.
    private func work(_ key: Int, _ token: Int64, _ job: JobPlan, _ run: Int) {
        after(job.duration / 2) { [self] in
            guard isWorking(key, token) else { return }
            let name = world.mutants.contains(.downstreamKeyFromToken) ? token : 0
            world.witness.effect(key, token: token, downstreamKey: name)
            world.note(.effect, self, key, number: token)
            if reach(.effect, key) { return }
            after(job.duration - job.duration / 2) { [self] in
                if isWorking(key, token) { end(key, token, outcome(job.fates[min(run, job.fates.count - 1)])) }
            }
        }
    }

    /// A handler that ignores its cancellation goes on.
    private func isWorking(_ key: Int, _ token: Int64) -> Bool {
        guard let entry = running[key], entry.token == token, !entry.isSettled else { return false }
        return entry.interruption == nil || !world.plan.jobs[key].honoursCancellation
    }

    private func outcome(_ fate: Fate) -> Outcome {
        switch fate {
        case .succeed: .succeeded(output: "{}")
        case .transient: .failed(Failure.transient)
        case .throttled: .failed(Failure.throttled)
        case .snoozed: .snoozed(JobSnooze(for: .milliseconds(250)))
        case .permanent: .failed(Failure.permanent)
        case .unsafe: .failed(Failure.unsafe)
        }
    }

    func end(_ key: Int, _ token: Int64, _ outcome: Outcome) {
        guard let entry = running[key], entry.token == token, !entry.isSettled else { return }
        leaveLock(of: entry)
        settle(key, token, outcome)
        release()
    }

    // MARK: Interruptions

    func interruptAll() {
        for key in running.keys.sorted() { interrupt(key, .handBack) }
    }

    func callOff(_ key: Int) { interrupt(key, .calledOff) }

    private func interrupt(_ key: Int, _ kind: RunningEntry.Interruption) {
        guard let entry = running[key], !entry.isSettled, entry.interruption == nil else { return }
        running[key]?.interruption = kind
        let job = world.plan.jobs[key]
        guard job.honoursCancellation, !job.isPoison else { return }
        after(world.draw(1...60)) { [self] in
            end(key, entry.token, .failed(job.isRepeatable ? Failure.interrupted : Failure.interruptedUnsafely))
        }
    }

    // MARK: The outcome

    private func settle(_ key: Int, _ token: Int64, _ outcome: Outcome) {
        guard let entry = running[key], entry.token == token, !entry.isSettled else { return }
        running[key]?.isSettled = true
        let meant = meaning(of: outcome, entry.interruption)
        var random = world.generator()
        let settlement = Settlement(
            meant, attempt: entry.attempt,
            attemptsMax: world.mutants.contains(.attemptsWithoutEnd) ? .max : entry.attemptsMax,
            age: .milliseconds(entry.age), policy: Self.policy, using: &random)
        world.note(.settling, self, key, number: token)
        if world.mutants.contains(.ackBeforeCommit) { world.broker.acknowledge([entry.arrival.tag], by: self) }
        endings.append(
            SimulatedEnding(arrival: entry.arrival, token: token, attempt: entry.attempt, settlement: settlement))
        completeNext()
    }

    /// A handler that succeeded in spite of its interruption has succeeded.
    private func meaning(of outcome: Outcome, _ interruption: RunningEntry.Interruption?) -> Outcome {
        guard case .failed(let failure) = outcome, let interruption else { return outcome }
        switch interruption {
        case .calledOff: return .cancelled(Failure.calledOff)
        case .handBack: return failure.kind == .unsafe ? outcome : .handedBack
        }
    }

    private static let policy = RetryPolicy(
        backoff: .exponentialFullJitter(base: .milliseconds(100), cap: .milliseconds(800)))
}

/// Made once, since making a message searches its text.
enum Failure {
    static let transient = JobFailure(.transient, code: "transient", message: "once more")
    static let throttled = JobFailure(
        .throttled(retryAfter: .milliseconds(200)), code: "throttled", message: "not so fast")
    static let permanent = JobFailure(.permanent, code: "permanent", message: "never")
    static let unsafe = JobFailure(.unsafe, code: "unsafe", message: "who knows")
    static let attemptsSpent = JobFailure(.permanent, code: "attempts-spent", message: "none ended")
    static let interrupted = JobFailure(.transient, code: "cancelled", message: "broken off")
    static let interruptedUnsafely = JobFailure(.unsafe, code: "cancelled", message: "broken off half way")
    static let calledOff = JobFailure(.permanent, code: "cancelled", message: "called off")
    static let lockBusy = JobFailure(
        .throttled(retryAfter: .milliseconds(300)), code: "lock.busy", message: "held by others")
}
