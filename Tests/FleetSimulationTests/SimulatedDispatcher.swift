import FleetModel
import FleetStore

/// A dispatcher: competes for the leader's lock, and as leader rescues and stages, in the steps of `Leadership`,
/// `RescueDuty` and `StageDuty`.
final class SimulatedDispatcher: Process {
    private(set) var session: Int?
    /// Rises with each end of a term: what was under way in it is cancelled.
    private var reign = 0
    private(set) var term: Int64?
    private var failures = 0
    private var looks = 0
    /// Of the present leader, and since when it has stayed the same.
    private var sign: LeaderSign?
    private var signSince: Int64 = 0
    private var looked: Int64 = 0
    /// Since when each worker has been missing without a break, by this process's clock.
    private var missing: [WorkerEpoch: Int64] = [:]

    override func start() {
        super.start()
        compete()
    }

    override func forget() {
        abdicate()
        missing = [:]
        failures = 0
        sign = nil
    }

    override func sessionLost(_ lost: Int) {
        guard let session, session == lost || lost == 0 && !world.database.isOpen(session) else { return }
        beginAnew()
    }

    private func abdicate() {
        session = nil
        term = nil
        reign += 1
    }

    private func beginAnew() {
        if let session { world.database.drop(session, by: self) }
        abdicate()
        failures += 1
        patiently(failures: failures) { [self] in compete() }
    }

    /// Does something if the present reign still lasts then.
    private func whileReigning<Answer>(_ body: @escaping (Answer) -> Void) -> (Answer) -> Void {
        let reign = reign
        return { [self] in
            if self.reign == reign { body($0) }
        }
    }

    private func afterIfReigning(_ pause: Int64, _ body: @escaping () -> Void) {
        let reign = reign
        after(pause) { [self] in
            if self.reign == reign { body() }
        }
    }

    // MARK: Leadership

    private func compete() {
        guard session == nil else { return }
        world.database.connect(
            self,
            then: whileReigning { [self] opened in
                guard let opened else { return beginAnew() }
                session = opened
                failures = 0
                tryForLock(opened)
            })
    }

    private func tryForLock(_ session: Int) {
        world.database.ask(self, .other, session: session) { ledger in
            if ledger.leaderLock == nil { ledger.leaderLock = session }
            return ledger.leaderLock == session
        } then: { [self] held in
            guard self.session == session else { return }
            guard let held else { return beginAnew() }
            if held { return beginTerm() }
            watch(session)
            afterIfReigning(Span.leadershipAttempt) { [self] in tryForLock(session) }
        }
    }

    private func beginTerm() {
        world.database.ask(
            self, .beginTerm, { $0.beginTerm() },
            then: whileReigning { [self] begun in
                guard let begun else { return beginAnew() }
                term = begun
                world.note(.leads, self, number: begun)
                world.witness.begunTerm(Witness.LookForMissing(name: name, number: looks))
                if !world.mutants.contains(.graceOutlivesTerm) { missing = [:] }
                keep(begun)
                rescue(begun)
                stage(begun)
            })
    }

    /// Gives the lock up when the term is over: another's late beginning may have ended it.
    private func keep(_ term: Int64) {
        world.database.ask(
            self, .other, { $0.renewTerm(term) },
            then: whileReigning { [self] isHeld in
                if isHeld == false, !world.mutants.contains(.deposedLeaderGoesOn) { return beginAnew() }
                afterIfReigning(Span.termRenewal) { [self] in keep(term) }
            })
    }

    /// A follower ends the session of a leader whose signs have stayed the same for the time of its lease.
    private func watch(_ session: Int) {
        guard world.now - looked >= Span.termRenewal else { return }
        looked = world.now
        world.database.ask(self, .other, session: session) { ledger in
            ledger.leaderLock.map { LeaderSign(session: $0, term: ledger.term, renewedAt: ledger.termRenewedAt) }
        } then: { [self] answer in
            guard self.session == session, let seen = answer else { return }
            if seen != sign { (sign, signSince) = (seen, world.now) }
            if let seen, world.now - signSince >= Span.termLease { world.database.depose(seen) }
        }
    }

    private func again(after pause: Int64, _ duty: @escaping (Int64) -> Void) {
        guard let term else { return }
        afterIfReigning(pause) { duty(term) }
    }

    // MARK: Rescue

    private func rescue(_ term: Int64) {
        if world.mutants.contains(.rescueForgotten) { return releaseOrphans(term) }
        looks += 1
        let look = Witness.LookForMissing(name: name, number: looks)
        world.database.ask(
            self, .lookForMissing(look), { $0.missingWorkers() },
            then: whileReigning { [self] found in
                guard let found else {
                    // Not seen is not missing.
                    missing = [:]
                    return again(after: world.draw(50...100), rescue)
                }
                let still = Set(found.map(\.owner))
                missing = missing.filter { still.contains($0.key) }
                for worker in found where missing[worker.owner] == nil { missing[worker.owner] = world.now }
                endEpochs(found.filter { isGone($0.owner, isExpired: $0.isExpired) }.map(\.owner)[...], look, term)
            })
    }

    private func isGone(_ owner: WorkerEpoch, isExpired: Bool) -> Bool {
        if isExpired || world.mutants.contains(.rescueIgnoresGrace) { return true }
        return world.now - (missing[owner] ?? world.now) >= Span.grace
    }

    private func endEpochs(_ gone: ArraySlice<WorkerEpoch>, _ look: Witness.LookForMissing, _ term: Int64) {
        guard let owner = gone.first else { return releaseOrphans(term) }
        world.database.ask(
            self, .endEpoch(owner, term: term, after: look), { $0.endEpoch(of: owner, term: term) },
            then: whileReigning { [self] isEnded in
                guard let isEnded else { return again(after: world.draw(50...100), rescue) }
                if isEnded { world.note(.epochEnded, self, number: owner.worker) }
                endEpochs(gone.dropFirst(), look, term)
            })
    }

    private func releaseOrphans(_ term: Int64) {
        world.database.ask(
            self, .releaseOrphans(term: term), { $0.releaseOrphans(term: term) },
            then: whileReigning { [self] count in
                again(after: count == nil ? world.draw(50...100) : Span.poll, rescue)
            })
    }

    // MARK: Stage

    private func stage(_ term: Int64) {
        world.database.ask(
            self, .other, { $0.due() },
            then: whileReigning { [self] due in
                guard let due else { return again(after: world.draw(50...100), stage) }
                if due.isEmpty { return pauseUntilNext() }
                if world.mutants.contains(.strikeOutBeforePublish) {
                    return strikeOut(due, term, then: { self.publish(due, term) })
                }
                publish(due, term)
            })
    }

    private func publish(_ due: [ModelDue], _ term: Int64) {
        let messages = due.map {
            SimulatedMessage.job(JobDelivery(key: $0.key, content: $0.content, replyTo: $0.replyTo, origin: nil))
        }
        for row in due { world.note(.staged, self, row.key) }
        world.broker.publish(
            messages, by: self,
            then: whileReigning { [self] outcomes in
                let confirmed = zip(due, outcomes).filter { $1 }.map(\.0)
                strikeOut(confirmed, term) { [self] in
                    if confirmed.count < due.count { return again(after: 1_000, stage) }
                    pauseUntilNext()
                }
            })
    }

    private func strikeOut(_ confirmed: [ModelDue], _ term: Int64, then: @escaping () -> Void) {
        if confirmed.isEmpty { return then() }
        world.database.ask(
            self, .staged(term: term), { $0.staged(confirmed, term: term) },
            then: whileReigning { [self] count in
                guard let count else { return again(after: world.draw(50...100), stage) }
                world.note(.struckOut, self, number: Int64(count))
                then()
            })
    }

    private func pauseUntilNext() {
        world.database.ask(
            self, .other, { $0.nextDue() },
            then: whileReigning { [self] next in
                guard let next else { return again(after: world.draw(50...100), stage) }
                again(after: min(max(next ?? Span.poll, 1), Span.poll), stage)
            })
    }
}
