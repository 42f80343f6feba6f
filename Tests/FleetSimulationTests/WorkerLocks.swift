import FleetModel
import FleetStore

/// A job's hold on a lock, as `LockKeeper` and `LockTable` see it.
struct LockHold {
    let name: Int
    let request: Int64
    let owner: WorkerEpoch
    let deadline: Int64
    var token: Int64?
}

/// Locks for handlers: asked for, waited for in line, and given back however the handler ends.
extension SimulatedWorker {
    /// Calls `body` when the lock is held and a write that it guards has been taken; else the handler fails.
    func acquire(_ name: Int, _ entry: RunningEntry, then body: @escaping () -> Void) {
        lastLockRequest += 1
        let hold = LockHold(
            name: name, request: lastLockRequest, owner: entry.owner, deadline: world.now + Span.lockWait)
        running[entry.arrival.key]?.hold = hold
        ask(hold, entry, then: body)
    }

    /// Whether the handler still wants this lock; if not, what the question has yielded is given back.
    private func isWanted(_ hold: LockHold, _ entry: RunningEntry) -> Bool {
        let key = entry.arrival.key
        if let now = running[key], now.token == entry.token, !now.isSettled, now.hold?.request == hold.request {
            return true
        }
        leave(hold)
        return false
    }

    /// Never carried out late: a question that took effect after its lock was given back would hold it until the epoch ends,
    /// and nobody would know. The simulation takes it that the database ends a statement with its connection.
    private func ask(_ hold: LockHold, _ entry: RunningEntry, then body: @escaping () -> Void) {
        let wait = max(hold.deadline - world.now, 0)
        world.database.ask(
            self, .other, mayBeLate: false,
            { $0.enterLock(hold.name, request: hold.request, wait: wait, by: hold.owner) }
        ) { [self] answer in
            guard isWanted(hold, entry) else { return }
            switch answer {
            case .held(let token): write(hold, token, entry, then: body)
            case .waiting: look(hold, entry, then: body)
            case nil where world.now < hold.deadline:
                patiently(failures: 2) { [self] in
                    if isWanted(hold, entry) { ask(hold, entry, then: body) }
                }
            default: end(entry.arrival.key, entry.token, .failed(Failure.lockBusy))
            }
        }
    }

    private func look(_ hold: LockHold, _ entry: RunningEntry, then body: @escaping () -> Void) {
        after(world.draw(5...Span.lockPoll)) { [self] in
            guard isWanted(hold, entry) else { return }
            if world.now >= hold.deadline {
                return end(entry.arrival.key, entry.token, .failed(Failure.lockBusy))
            }
            world.database.ask(
                self, .other, { $0.lookAtLock(hold.name, request: hold.request, by: hold.owner) }
            ) { [self] answer in
                guard isWanted(hold, entry) else { return }
                switch answer {
                case .held(let token): write(hold, token, entry, then: body)
                case .waiting, nil: look(hold, entry, then: body)
                default: end(entry.arrival.key, entry.token, .failed(Failure.lockBusy))
                }
            }
        }
    }

    /// The guarded write is made some time after the lock was had, by which it may be another's.
    private func write(_ hold: LockHold, _ token: Int64, _ entry: RunningEntry, then body: @escaping () -> Void) {
        let key = entry.arrival.key
        running[key]?.hold?.token = token
        world.note(.lock, self, key, number: token)
        after(world.draw(1...400)) { [self] in
            guard isWanted(hold, entry) else { return }
            world.database.ask(
                self, .guardedWrite, { $0.writeGuarded(hold.name, token: token) }
            ) { [self] isTaken in
                guard isWanted(hold, entry) else { return }
                guard isTaken != false else { return end(key, entry.token, .failed(Failure.lockBusy)) }
                world.note(.guarded, self, key, number: token)
                body()
            }
        }
    }

    func leaveLock(of entry: RunningEntry) {
        if let hold = entry.hold { leave(hold) }
    }

    /// Until it has taken effect: a lock that nobody here knows of would be held until the epoch ends.
    private func leave(_ hold: LockHold) {
        world.database.ask(
            self, .leaveLock(hold.name, hold.owner),
            { $0.leaveLock(hold.name, request: hold.request, by: hold.owner) }
        ) { [self] answer in
            if answer == nil { patiently(failures: 2) { [self] in leave(hold) } }
        }
    }
}
