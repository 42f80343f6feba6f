import FleetModel
import FleetStore

/// What commits may change.
extension Witness {
    mutating func saw(_ verb: Verb, before: LedgerModel, after: LedgerModel) {
        now = after.now
        if case .other = verb {} else { seeLeader(verb, before, after) }
        for key in after.jobs.indices where before.jobs[key] != after.jobs[key] {
            if let new = after.jobs[key] { seeJob(key, before.jobs[key], new, verb, before, after) }
        }
        seeWorkers(before, after)
        seeLiveness(after)
        if !after.locks.isEmpty { seeLocks(verb, before, after) }
    }

    /// An owner's life, counted from the row as it was.
    private func lived(_ owner: WorkerEpoch?, _ ledger: LedgerModel) -> Bool {
        guard let owner else { return false }
        let row = ledger.workers[Int(owner.worker) - 1]
        return row.epoch == owner.epoch && !row.isGone && row.leaseUntil > ledger.now
    }

    // MARK: Jobs

    private mutating func seeJob(
        _ key: Int, _ old: JobRow?, _ new: JobRow, _ verb: Verb, _ before: LedgerModel,
        _ after: LedgerModel
    ) {
        if accounts[key].firstContent == nil { accounts[key].firstContent = new.content }
        if let old, old.state.isFinal { violate(.endsOnce, key, "\(old.state) becomes \(new.state)") }
        switch verb {
        case .claim(let owner): seeClaim(key, old, new, by: owner, before)
        case .complete(let completions): seeCompletion(key, old, new, completions)
        case .cancel(key) where new.state == .cancelled && !isAnswerOwed(key, after):
            violate(.callingOffIsAnswered, key, "nothing is owed")
        default: break
        }
        accounts[key].highestToken = max(accounts[key].highestToken, new.token)
    }

    private func isAnswerOwed(_ key: Int, _ ledger: LedgerModel) -> Bool {
        ledger.agenda[key].map { $0.dueAt <= ledger.now } ?? false
    }

    private mutating func seeClaim(
        _ key: Int, _ old: JobRow?, _ new: JobRow, by owner: WorkerEpoch, _ before: LedgerModel
    ) {
        if new.token <= accounts[key].highestToken {
            violate(.tokensRise, key, "token \(new.token) follows \(accounts[key].highestToken)")
        }
        if let old, old.state == .running {
            if old.owner == owner {
                accounts[key].passedTokens.insert(old.token)
            } else {
                if lived(old.owner, before) { violate(.oneOwner, key, "\(owner) takes it from the living") }
                accounts[key].lostTokens.insert(old.token)
            }
        }
        guard new.state == .running else { return }
        if before.cancellations.contains(key) { violate(.calledOffIsNotRun, key, "\(owner) has it to run") }
        if let old, old.state == .scheduled || old.state == .retrying, let time = old.notBefore, time > now {
            violate(.claimsWhatIsDue, key, "it is due at \(time)")
        }
        if new.attempt != accounts[key].spentAttempts + 1 {
            violate(
                .attemptsAreCharged, key,
                "attempt \(new.attempt) is begun and \(accounts[key].spentAttempts) were spent")
        }
    }

    private mutating func seeCompletion(_ key: Int, _ old: JobRow?, _ new: JobRow, _ completions: [ModelCompletion]) {
        guard let old, let completion = completions.first(where: { $0.key == key }),
            old.state == .running, completion.token == accounts[key].highestToken
        else { return violate(.staleTokenIsVoid, key, "\(new.state) is written over token \(new.token)") }
        if !new.state.isFinal { accounts[key].passedTokens.insert(old.token) }
        if case .retry(_, _, let spendsAttempt) = completion.settlement, spendsAttempt {
            accounts[key].spentAttempts += 1
        }
    }

    // MARK: Workers

    private mutating func seeWorkers(_ before: LedgerModel, _ after: LedgerModel) {
        for index in before.workers.indices where before.workers[index] != after.workers[index] {
            let owner = WorkerEpoch(worker: Int64(index + 1), epoch: before.workers[index].epoch)
            if !lived(owner, before), lived(owner, after) {
                violate(.deadStaysDead, nil, "\(owner) lives again")
            }
            if after.workers[index].epoch < owner.epoch { violate(.deadStaysDead, nil, "\(owner) goes back") }
        }
    }

    // MARK: Leaders

    private mutating func seeLeader(_ verb: Verb, _ before: LedgerModel, _ after: LedgerModel) {
        switch verb {
        case .beginTerm:
            if after.term <= highestTerm { violate(.termsRise, nil, "term \(after.term) follows \(highestTerm)") }
            highestTerm = max(highestTerm, after.term)
        case .staged(let term): isFromLeader(term, before, after)
        case .releaseOrphans(let term):
            isFromLeader(term, before, after)
            if term == highestTerm { seeOrphans(after) }
        case .lookForMissing(let look): noteMissing(look, after)
        case .endEpoch(let owner, let term, let look):
            isFromLeader(term, before, after)
            if before.workers != after.workers { seeGrace(of: owner, look, before) }
        default: break
        }
    }

    private mutating func isFromLeader(_ term: Int64, _ before: LedgerModel, _ after: LedgerModel) {
        if term == highestTerm { return }
        if before.jobs != after.jobs || before.agenda != after.agenda || before.workers != after.workers {
            violate(.deposedIsVoid, nil, "a write of term \(term) has an effect in term \(highestTerm)")
        }
    }

    private mutating func seeOrphans(_ ledger: LedgerModel) {
        for key in ledger.agenda.indices {
            guard let row = ledger.agenda[key], row.reason == .recheck, let owner = row.owner, row.dueAt > now,
                !lived(owner, ledger)
            else { continue }
            violate(.orphansAreDue, key, "it waits for \(owner)")
        }
    }

    /// The lock was free all that time, or no look of the term has seen it held. A call that is carried out after another
    /// look was decided by an older one, and is not judged by this account.
    private mutating func seeGrace(of owner: WorkerEpoch, _ look: LookForMissing, _ before: LedgerModel) {
        guard before.workers[Int(owner.worker) - 1].leaseUntil > now, lastLook[look.name] == look else { return }
        let missed = now - (missingSince[look.name]?[owner] ?? now)
        let unheld = now - (unheldSince[owner.worker] ?? now)
        if max(missed, unheld) < Span.grace {
            violate(.graceIsGiven, nil, "\(owner) is ended, which \(look.name) has missed for \(missed) ms")
        }
    }

    /// A dispatcher leads by what it knows: its looks begin anew.
    mutating func begunTerm(_ lastBefore: LookForMissing) {
        missingSince[lastBefore.name] = [:]
        lastLook[lastBefore.name] = lastBefore
    }

    private mutating func noteMissing(_ look: LookForMissing, _ ledger: LedgerModel) {
        // A look that was given up and is carried out after a later one was begun has told the leader nothing.
        guard look.number > lastLook[look.name]?.number ?? 0 else { return }
        let known = missingSince[look.name] ?? [:]
        var missing: [WorkerEpoch: Int64] = [:]
        for (index, row) in ledger.workers.enumerated() where !row.isGone {
            let owner = WorkerEpoch(worker: Int64(index + 1), epoch: row.epoch)
            if row.leaseUntil <= now || ledger.livenessLocks[owner.worker] == nil {
                missing[owner] = known[owner] ?? now
            }
        }
        missingSince[look.name] = missing
        lastLook[look.name] = look
    }

    /// Called whenever locks are taken or fall free.
    mutating func seeLiveness(_ ledger: LedgerModel) {
        for worker in Int64(1)..<Int64(ledger.workers.count + 1) {
            if ledger.livenessLocks[worker] != nil {
                unheldSince[worker] = nil
            } else if unheldSince[worker] == nil {
                unheldSince[worker] = now
            }
        }
    }

    // MARK: Locks

    private mutating func seeLocks(_ verb: Verb, _ before: LedgerModel, _ after: LedgerModel) {
        for (name, lock) in after.locks where before.locks[name] != lock {
            if lock.token <= highestLockToken[name] ?? 0 {
                violate(.lockTokensRise, nil, "lock \(name): \(lock.token) follows \(highestLockToken[name] ?? 0)")
            }
            highestLockToken[name] = max(lock.token, highestLockToken[name] ?? 0)
            if let old = before.locks[name], lived(old.owner, before), !isLeft(verb, name, by: old.owner) {
                violate(.oneLockHolder, nil, "lock \(name) goes from \(old.owner), which lives, to \(lock.owner)")
            }
        }
        for (name, write) in after.guardedWrites where before.guardedWrites[name] != write {
            let isHeld = before.locks[name].map { lived($0.owner, before) } ?? false
            if write.token != highestLockToken[name] || !isHeld {
                violate(.staleLockIsVoid, nil, "lock \(name): a write of token \(write.token) is taken")
            }
        }
    }

    private func isLeft(_ verb: Verb, _ name: Int, by owner: WorkerEpoch) -> Bool {
        if case .leaveLock(name, owner) = verb { true } else { false }
    }
}
