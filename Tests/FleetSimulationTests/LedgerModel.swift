import FleetModel
import FleetStore

/// The ledger as a value: what the SQL verbs make of jobs, workers, agenda, waiters, leader and locks, each verb one
/// transaction that sees all that was committed before.
///
/// Keys, types, payloads and reply queues are numbers here, since only their identity bears on a decision. A rule that
/// decides something stands in a function of its own, where a mutant can break it. `ConformanceTests` compares this value
/// with the database, verb by verb.
struct LedgerModel: Sendable {
    /// The database's clock, in milliseconds; the only one that is ever compared here.
    var now: Int64 = 0
    var jobs: [JobRow?]
    var agenda: [AgendaRow?]
    /// By key, the reply queues of parked repeats.
    var waiters: [Set<Int>]
    /// The keys that were called off.
    var cancellations: Set<Int> = []
    /// By id less one.
    var workers: [WorkerRow] = []
    /// Zero before the first leader.
    var term: Int64 = 0
    /// When the leader last said that it is at work.
    var termRenewedAt: Int64 = 0
    /// Who holds the liveness lock of which worker, by session.
    var livenessLocks: [Int64: Int] = [:]
    var leaderLock: Int?
    var locks: [Int: LockRow] = [:]
    /// Who waits for which name, in the order of the numbers drawn.
    var line: [PlaceInLine] = []
    var lockNumber: Int64 = 0
    /// By lock, what it guards.
    var guardedWrites: [Int: GuardedWrite] = [:]
    /// How long a parked job's delivery is owed before it is published again.
    var recheckAfter = FleetStore.recheckAfter.milliseconds
    var mutants: Set<Mutant> = []

    init(keys: Int, mutants: Set<Mutant> = []) {
        jobs = Array(repeating: nil, count: keys)
        agenda = Array(repeating: nil, count: keys)
        waiters = Array(repeating: [], count: keys)
        self.mutants = mutants
    }
}

/// What a job is, as far as two of one key are compared.
struct JobContent: Sendable, Hashable {
    var type = 0
    var payload = 0
}

struct JobRow: Sendable, Equatable {
    var content: JobContent
    var state: JobState
    var attempt = 0
    var attemptsMax: Int
    var token: Int64 = 0
    var owner: WorkerEpoch?
    var replyTo: Int?
    var createdAt: Int64
    var notBefore: Int64?
    /// When one for later was due.
    var dueAt: Int64?
    var isRepeatable = true
    var crashes = 0
    var isAlone = false
    /// How many errors are noted; of many the first and the last are kept.
    var errors = 0

    static let errorsMax = 50

    mutating func noteError() { errors = min(errors + 1, Self.errorsMax) }
}

struct WorkerRow: Sendable, Equatable {
    var epoch: Int32 = 1
    var isGone = false
    var leaseUntil: Int64
}

enum AgendaReason: String, Sendable {
    case scheduled, retry, recheck, answer
}

struct AgendaRow: Sendable, Equatable {
    var dueAt: Int64
    var reason: AgendaReason
    /// Whose claim a parked delivery waits on.
    var owner: WorkerEpoch?
}

// MARK: Workers and their leases

extension LedgerModel {
    func worker(_ id: Int64) -> WorkerRow? {
        workers.indices.contains(Int(id) - 1) ? workers[Int(id) - 1] : nil
    }

    /// Whether an epoch still owns what was claimed under it.
    func isLive(_ owner: WorkerEpoch) -> Bool {
        guard let row = worker(owner.worker) else { return false }
        return row.epoch == owner.epoch && !row.isGone && row.leaseUntil > now
    }

    /// register-worker.sql
    mutating func register(lease: Int64) -> WorkerEpoch {
        workers.append(WorkerRow(leaseUntil: now + lease))
        return WorkerEpoch(worker: Int64(workers.count), epoch: 1)
    }

    /// renew-worker.sql
    mutating func renew(_ owner: WorkerEpoch, lease: Int64) -> Bool {
        guard mayRenew(owner) else { return false }
        workers[Int(owner.worker) - 1].leaseUntil = now + lease
        return true
    }

    private func mayRenew(_ owner: WorkerEpoch) -> Bool {
        if mutants.contains(.renewAfterEnd) { return worker(owner.worker)?.epoch == owner.epoch }
        return isLive(owner)
    }

    /// begin-epoch.sql
    mutating func beginEpoch(worker id: Int64, lease: Int64) -> WorkerEpoch {
        var row = workers[Int(id) - 1]
        row.isGone = false
        row.leaseUntil = now + lease
        workers[Int(id) - 1] = row
        if !mutants.contains(.epochNotRaised) { raiseEpoch(of: id) }
        return WorkerEpoch(worker: id, epoch: workers[Int(id) - 1].epoch)
    }

    /// release-worker.sql
    mutating func release(_ owner: WorkerEpoch) {
        guard worker(owner.worker)?.epoch == owner.epoch else { return }
        workers[Int(owner.worker) - 1].isGone = true
        workers[Int(owner.worker) - 1].leaseUntil = now
        raiseEpoch(of: owner.worker)
    }

    /// An epoch's end frees its locks: the trigger `worker_locks`.
    private mutating func raiseEpoch(of id: Int64) {
        workers[Int(id) - 1].epoch += 1
        sweepLocks()
    }

    /// missing-workers.sql
    func missingWorkers() -> [(owner: WorkerEpoch, isExpired: Bool)] {
        var missing: [(owner: WorkerEpoch, isExpired: Bool)] = []
        for (index, row) in workers.enumerated() where !row.isGone {
            let owner = WorkerEpoch(worker: Int64(index + 1), epoch: row.epoch)
            if isMissing(owner) { missing.append((owner, row.leaseUntil <= now)) }
        }
        return missing
    }

    private func isMissing(_ owner: WorkerEpoch) -> Bool {
        guard let row = worker(owner.worker) else { return false }
        return row.leaseUntil <= now || livenessLocks[owner.worker] == nil
    }

    /// end-epoch.sql
    mutating func endEpoch(of owner: WorkerEpoch, term: Int64) -> Bool {
        guard worker(owner.worker)?.epoch == owner.epoch, leads(term), isMissing(owner) else { return false }
        workers[Int(owner.worker) - 1].isGone = true
        raiseEpoch(of: owner.worker)
        return true
    }

    /// orphaned.sql
    mutating func releaseOrphans(term: Int64) -> Int {
        guard leads(term), !mutants.contains(.orphansForgotten) else { return 0 }
        var count = 0
        for key in agenda.indices {
            guard let row = agenda[key], let owner = row.owner, row.reason == .recheck, row.dueAt > now,
                !isLive(owner)
            else { continue }
            agenda[key]?.dueAt = now
            count += 1
        }
        return count
    }

    // MARK: Leadership

    /// begin-term.sql
    mutating func beginTerm() -> Int64 {
        if !mutants.contains(.termNotRaised) || term == 0 { term += 1 }
        termRenewedAt = now
        return term
    }

    /// renew-term.sql
    mutating func renewTerm(_ term: Int64) -> Bool {
        guard leads(term) else { return false }
        termRenewedAt = now
        return true
    }

    /// Whether a leader's write, which names its term, may match a row.
    func leads(_ term: Int64) -> Bool { term > 0 && (term == self.term || mutants.contains(.termNotChecked)) }
}
