import FleetModel
import FleetStore

/// Who takes a lock: one attempt of one job, under one epoch.
package struct LockClaimant: Sendable, Hashable {
    package let job: JobIdentity
    /// Of the job's claim.
    package let token: Int64
    package let owner: WorkerEpoch

    package init(job: JobIdentity, token: Int64, owner: WorkerEpoch) {
        self.job = job
        self.token = token
        self.owner = owner
    }
}

/// Every lock that jobs of this worker hold or wait for: decides what follows from answers, cancellations and time, and
/// does no I/O itself.
///
/// ```
///            asked ──held──▶ held ──release──▶ (left)
///              │ waiting       ▲ held
///              ▼               │
///            waiting ──────────┘
///   not wanted any more: asked ─▶ unwanted ──answer──▶ (left)      waiting ─▶ (left)
/// ```
struct LockTable {
    typealias Continuation = CheckedContinuation<Result<Int64, any Error>, Never>

    enum Phase {
        /// The question is under way. A hint that comes before its answer is kept, or it would be lost.
        case asked(Continuation, isHinted: Bool)
        /// Cancelled or out of time while the question is under way: what it yields is given back.
        case unwanted
        case waiting(Continuation)
        case held(token: Int64)
    }

    struct Entry {
        let claimant: LockClaimant
        let name: String
        let began: ContinuousClock.Instant
        let deadline: ContinuousClock.Instant
        var phase: Phase
        /// Why the last question failed.
        var trouble: String?
    }

    struct Key: Hashable {
        let claimant: LockClaimant
        let name: String
    }

    /// What is to be done outside of the lock.
    enum Action {
        case resume(Continuation, Result<Int64, any Error>)
        case leave(WorkerEpoch, LockRequest)
        case look(Int64)
        case ask(Int64)
    }

    private(set) var entries: [Int64: Entry] = [:]
    /// What a job may not take again; a request that is no longer wanted is not among them.
    private var requests: [Key: Int64] = [:]
    private var lastRequest: Int64 = 0

    /// Enters a question to be asked.
    mutating func begin(
        _ name: String, _ claimant: LockClaimant, limit: Duration, now: ContinuousClock.Instant,
        _ continuation: Continuation
    ) -> Int64 {
        lastRequest += 1
        requests[Key(claimant: claimant, name: name)] = lastRequest
        entries[lastRequest] = Entry(
            claimant: claimant, name: name, began: now, deadline: now + limit,
            phase: .asked(continuation, isHinted: false))
        return lastRequest
    }

    func request(_ name: String, _ claimant: LockClaimant) -> Int64? {
        requests[Key(claimant: claimant, name: name)]
    }

    private mutating func remove(_ request: Int64) {
        guard let entry = entries.removeValue(forKey: request) else { return }
        forget(entry, request)
    }

    /// The job may take the name anew.
    private mutating func forget(_ entry: Entry, _ request: Int64) {
        let key = Key(claimant: entry.claimant, name: entry.name)
        if requests[key] == request { requests[key] = nil }
    }

    /// The lock is given back.
    mutating func release(_ name: String, _ claimant: LockClaimant) -> LockRequest? {
        guard let request = request(name, claimant) else { return nil }
        remove(request)
        return LockRequest(name: name, request: request)
    }

    /// A question about it was not answered.
    mutating func note(_ trouble: String, of request: Int64) { entries[request]?.trouble = trouble }

    /// Nobody waits for this request any more; one that is held already is left to its holder.
    mutating func abandon(_ request: Int64, _ error: any Error) -> [Action] {
        guard let entry = entries[request] else { return [] }
        switch entry.phase {
        case .asked(let continuation, _):
            entries[request]?.phase = .unwanted
            forget(entry, request)
            return [.resume(continuation, .failure(error))]
        case .waiting(let continuation):
            remove(request)
            return [
                .resume(continuation, .failure(error)),
                .leave(entry.claimant.owner, LockRequest(name: entry.name, request: request)),
            ]
        case .unwanted, .held: return []
        }
    }

    /// A notification says that the request has its turn.
    mutating func hint(_ request: Int64) -> [Action] {
        switch entries[request]?.phase {
        case .asked(let continuation, _):
            entries[request]?.phase = .asked(continuation, isHinted: true)
            return []
        case .waiting: return [.look(request)]
        case .unwanted, .held, nil: return []
        }
    }

    /// The ledger's answer to a question or a look.
    mutating func settle(_ request: Int64, _ answer: LockAnswer, now: ContinuousClock.Instant) -> [Action] {
        guard let entry = entries[request] else { return [] }
        entries[request]?.trouble = nil
        switch entry.phase {
        case .unwanted:
            remove(request)
            return [.leave(entry.claimant.owner, LockRequest(name: entry.name, request: request))]
        case .held: return []
        case .asked(let continuation, let isHinted):
            if answer == .waiting {
                entries[request]?.phase = .waiting(continuation)
                return isHinted ? [.look(request)] : []
            }
            if answer == .busy {
                if now < entry.deadline { return [.ask(request)] }
                // An answer that was lost may have put it in line.
                remove(request)
                return [
                    .resume(continuation, .failure(lateness(entry, now))),
                    .leave(entry.claimant.owner, LockRequest(name: entry.name, request: request)),
                ]
            }
            return conclude(request, entry, continuation, answer, now)
        case .waiting(let continuation):
            return answer == .waiting || answer == .busy ? [] : conclude(request, entry, continuation, answer, now)
        }
    }

    private mutating func conclude(
        _ request: Int64, _ entry: Entry, _ continuation: Continuation, _ answer: LockAnswer,
        _ now: ContinuousClock.Instant
    ) -> [Action] {
        let error: LockError
        switch answer {
        case .held(let token):
            entries[request]?.phase = .held(token: token)
            return [.resume(continuation, .success(token))]
        case .waiting, .busy: return []
        case .refused: error = .busy(name: entry.name, waited: now - entry.began)
        case .crowded: error = .crowded(name: entry.name)
        case .fenced: error = .fenced(name: entry.name)
        // The place in line ends with the wait or with the epoch; only the second comes early.
        case .gone:
            error =
                now + LockKeeper.tickInterval < entry.deadline
                ? .fenced(name: entry.name) : .busy(name: entry.name, waited: now - entry.began)
        }
        remove(request)
        return [.resume(continuation, .failure(error))]
    }

    /// Ends the waits whose time is over.
    mutating func expire(now: ContinuousClock.Instant) -> [Action] {
        let late = entries.filter {
            switch $1.phase {
            // A question to take it now or not at all has no time but its statement's.
            case .asked: $1.deadline <= now && $1.deadline > $1.began
            case .waiting: $1.deadline <= now
            case .unwanted, .held: false
            }
        }
        return late.flatMap { abandon($0, lateness($1, now)) }
    }

    private func lateness(_ entry: Entry, _ now: ContinuousClock.Instant) -> LockError {
        if let trouble = entry.trouble { return .unavailable(name: entry.name, reason: trouble) }
        return .busy(name: entry.name, waited: now - entry.began)
    }

    var counts: (held: Int, waiting: Int) {
        let held = entries.values.count { if case .held = $0.phase { true } else { false } }
        return (held, entries.count - held)
    }

    /// What waits, to be looked at.
    var waiting: [Int64] {
        entries.compactMap { if case .waiting = $1.phase { $0 } else { nil } }
    }
}
