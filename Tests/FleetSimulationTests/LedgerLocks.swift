import FleetStore

struct LockRow: Sendable, Equatable {
    var token: Int64
    var owner: WorkerEpoch
    var request: Int64
}

struct PlaceInLine: Sendable, Equatable {
    var name: Int
    var number: Int64
    var owner: WorkerEpoch
    var request: Int64
    var until: Int64
}

/// What a lock guards: under which token it was last written.
struct GuardedWrite: Sendable, Equatable {
    var token: Int64
    var count: Int
}

/// The fleet's locks, for fleet workers: gaia.lock_enter, lock_look, lock_leave, lock_check and the sweep.
extension LedgerModel {
    private func lives(_ lock: LockRow) -> Bool { isLive(lock.owner) }

    private func lives(_ place: PlaceInLine) -> Bool { isLive(place.owner) && place.until > now }

    /// gaia.lock_enter for one name.
    mutating func enterLock(_ name: Int, request: Int64, wait: Int64, by owner: WorkerEpoch) -> LockAnswer {
        guard isLive(owner) else { return .fenced }
        if locks[name] != nil || line.contains(where: { $0.name == name }), advance(name) {
            if let lock = locks[name], lock.owner == owner, lock.request == request {
                return .held(token: lock.token)
            }
            if line.contains(where: { $0.owner == owner && $0.request == request }) { return .waiting }
            if wait <= 0 { return .refused }
            line.append(
                PlaceInLine(name: name, number: drawNumber(name), owner: owner, request: request, until: now + wait))
            return .waiting
        }
        let number = drawNumber(name)
        locks[name] = LockRow(token: number, owner: owner, request: request)
        return .held(token: number)
    }

    private mutating func drawNumber(_ name: Int) -> Int64 {
        if mutants.contains(.lockTokenNotRaised), let lock = locks[name] { return lock.token }
        lockNumber += mutants.contains(.lockTokenNotRaised) ? 0 : 1
        return lockNumber
    }

    /// gaia.lock_advance: whether somebody holds the name now.
    private mutating func advance(_ name: Int) -> Bool {
        if let lock = locks[name], lives(lock), !mutants.contains(.lockTakenFromTheLiving) { return true }
        return pass(name, after: locks[name]?.token ?? 0) != nil
    }

    /// gaia.lock_pass: the name goes to the first who waits and lives; none leaves it free.
    @discardableResult
    private mutating func pass(_ name: Int, after token: Int64) -> LockRow? {
        let heir = line.filter { $0.name == name && $0.number > token && lives($0) }.min { $0.number < $1.number }
        line.removeAll { $0.name == name && (heir.map { $0.number } ?? .max) >= $0.number }
        locks[name] = heir.map { LockRow(token: $0.number, owner: $0.owner, request: $0.request) }
        return locks[name]
    }

    /// gaia.lock_look for one request.
    mutating func lookAtLock(_ name: Int, request: Int64, by owner: WorkerEpoch) -> LockAnswer {
        let waits = line.contains { $0.owner == owner && $0.request == request }
        if let lock = locks[name], lock.owner == owner, lock.request == request { return .held(token: lock.token) }
        let isTaken = locks[name].map { lives($0) } ?? false
        if waits, !isTaken {
            _ = advance(name)
            if let lock = locks[name], lock.owner == owner, lock.request == request {
                return .held(token: lock.token)
            }
        }
        return waits ? .waiting : .gone
    }

    /// gaia.lock_leave for one request.
    mutating func leaveLock(_ name: Int, request: Int64, by owner: WorkerEpoch) -> LockLeaving {
        line.removeAll { $0.owner == owner && $0.request == request }
        guard let lock = locks[name], lock.owner == owner, lock.request == request else { return .left }
        guard let heir = pass(name, after: lock.token), heir.owner.worker == owner.worker else { return .left }
        return .passed(request: heir.request, token: heir.token)
    }

    /// gaia.lock_check: whether a write that is guarded by this token takes effect.
    func passesLockCheck(_ name: Int, token: Int64) -> Bool {
        guard let lock = locks[name] else { return false }
        if mutants.contains(.lockCheckIgnoresToken) { return true }
        return lock.token == token && lives(lock)
    }

    /// A write in the same transaction as its guard.
    mutating func writeGuarded(_ name: Int, token: Int64) -> Bool {
        guard passesLockCheck(name, token: token) else { return false }
        guardedWrites[name] = GuardedWrite(token: token, count: (guardedWrites[name]?.count ?? 0) + 1)
        return true
    }

    /// gaia.lock_sweep
    mutating func sweepLocks() {
        line = line.filter { lives($0) }
        for (name, lock) in locks where !lives(lock) { locks[name] = nil }
    }
}
