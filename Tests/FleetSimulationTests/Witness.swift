import FleetModel
import FleetStore

/// What must never happen, whatever fails.
enum Invariant: String, Sendable {
    case finishes = "every acknowledged job reaches a final state once the faults are over"
    case endsOnce = "a final state is the last"
    case oneOwner = "no job is taken from an owner that lives by the ledger's rules"
    case ownedTwiceInOneWorker = "a worker does not claim what it is running"
    case tokensRise = "each claim of a job has a higher token than all before it"
    case staleTokenIsVoid = "an outcome changes a job only under the token that owns it"
    case claimsWhatIsDue = "a job that waits is not claimed before its time"
    case callingOffIsAnswered = "a job that is called off while it waits has its answer owed at once"
    case calledOffIsNotRun = "a job that was called off is not claimed to run"
    case conflictNeverRuns = "what conflicts with a key's first job is never run"
    case conflictIsSetAside = "each acknowledged conflict is set aside"
    case attemptsAreCharged = "an attempt is charged for each failure and for nothing else"
    case attemptsHaveAnEnd = "no more attempts are begun than are allowed"
    case unrepeatableIsNotRepeated = "an unrepeatable job is not begun again after its worker was lost in it"
    case killersAreStopped = "a job that took its worker down while it ran alone is not begun again"
    case suspectsRunAlone = "after two losses a job runs alone"
    case effectsAreExplained = "each further effect of a job is explained by an attempt that was lost or postponed"
    case oneDownstreamKey = "all attempts of a job use one key downstream"
    case successHasEffect = "a job that has succeeded has had its effect"
    case resultsAreTrue = "a result says what the ledger says"
    case oneResultId = "all results of a job have one id"
    case resultsArePublished = "each final state has its result"
    case repliesArePublished = "each acknowledged repeat that wants a reply gets one"
    case deadStaysDead = "an epoch that has ended does not live again"
    case graceIsGiven = "a worker whose lease lasts is given the whole grace"
    case rescueInTime = "the epoch of a dead worker ends within grace and interval"
    case orphansAreDue = "after the leader's look nothing is parked on an epoch that has ended"
    case termsRise = "each leader has a higher term than all before it"
    case leaderIsCurrent = "whoever holds the leader's lock leads in the present term"
    case deposedIsVoid = "what a deposed leader writes matches nothing"
    case lockTokensRise = "each holder of a lock has a higher token than all before it"
    case oneLockHolder = "no lock is taken from a holder that lives"
    case staleLockIsVoid = "a write guarded by a stale lock token is refused"
    case nothingDeadLetters = "no job comes back so often that the broker sets it aside"
}

struct Violation: Sendable, CustomStringConvertible {
    let invariant: Invariant
    let time: Int64
    let key: Int?
    let detail: String

    var description: String {
        "\(time) ms\(key.map { ", job \($0)" } ?? ""): \(invariant.rawValue), but \(detail)"
    }
}

/// Sees every commit, every run and everything published, keeps its own account of them, and says when a rule was broken.
/// Its account does not use the model's rules, or a bug in one would be in both.
struct Witness {
    /// What a call to the database was for, as far as the account depends on it.
    enum Verb {
        case claim(WorkerEpoch)
        case complete([ModelCompletion])
        case renew
        case cancel(Int)
        case beginTerm
        case staged(term: Int64)
        case releaseOrphans(term: Int64)
        case lookForMissing(LookForMissing)
        case endEpoch(WorkerEpoch, term: Int64, after: LookForMissing)
        case guardedWrite
        case leaveLock(Int, WorkerEpoch)
        case other
    }

    /// One look of a leader for workers that are missing.
    struct LookForMissing: Equatable {
        let name: String
        let number: Int
    }

    struct Run {
        let key: Int
        let token: Int64
        let attempt: Int
        let attemptsMax: Int
        let content: JobContent
        let worker: String
        /// Losses of workers before its claim.
        let crashes: Int
        let isAlone: Bool
        /// What else runs in that worker.
        let company: [Int]
    }

    /// The account of one job.
    struct Account {
        var firstContent: JobContent?
        var highestToken: Int64 = 0
        var spentAttempts = 0
        var lostTokens: Set<Int64> = []
        /// Claims that were made again by their own epoch, and attempts that were to be followed by another.
        var passedTokens: Set<Int64> = []
        var runs: [Run] = []
        var effects: [Int64] = []
        var downstreamKeys: Set<Int64> = []
        var resultIDs: Set<String> = []
        var replied: Set<Int> = []
        var setAside: Set<Int> = []
        var acknowledged: [(content: JobContent, replyTo: Int?, origin: Int)] = []
    }

    var now: Int64 = 0
    private(set) var violation: Violation?
    var accounts: [Account]
    var highestTerm: Int64 = 0
    var highestLockToken: [Int: Int64] = [:]
    /// Since when each leader has seen a worker missing in each look of its term.
    var missingSince: [String: [WorkerEpoch: Int64]] = [:]
    var lastLook: [String: LookForMissing] = [:]
    /// Since when nobody has held a worker's liveness lock.
    var unheldSince: [Int64: Int64] = [:]

    private let isRepeatable: [Bool]

    init(_ jobs: [JobPlan]) {
        accounts = jobs.map { _ in Account() }
        isRepeatable = jobs.map(\.isRepeatable)
    }

    /// Notes the first rule that was broken.
    mutating func violate(_ invariant: Invariant, _ key: Int?, _ detail: String) {
        if violation == nil { violation = Violation(invariant: invariant, time: now, key: key, detail: detail) }
    }

    // MARK: Handlers

    /// - Returns: how many runs of this job were begun before.
    mutating func begun(_ run: Run) -> Int {
        let account = accounts[run.key]
        let what = "\(run.worker) begins it under token \(run.token)"
        if run.content != account.firstContent { violate(.conflictNeverRuns, run.key, what) }
        if run.attempt > run.attemptsMax {
            violate(.attemptsHaveAnEnd, run.key, "\(what), attempt \(run.attempt) of \(run.attemptsMax)")
        }
        let lost = account.runs.filter { account.lostTokens.contains($0.token) && $0.token < run.token }
        if !isRepeatable[run.key], !lost.isEmpty { violate(.unrepeatableIsNotRepeated, run.key, what) }
        if lost.contains(where: \.isAlone) { violate(.killersAreStopped, run.key, what) }
        if run.crashes >= Ownership.crashesBeforeAlone, !run.company.isEmpty {
            violate(.suspectsRunAlone, run.key, "\(what) beside \(run.company)")
        }
        accounts[run.key].runs.append(run)
        return account.runs.count
    }

    mutating func effect(_ key: Int, token: Int64, downstreamKey: Int64) {
        if accounts[key].effects.contains(token) {
            violate(.effectsAreExplained, key, "token \(token) has had its effect twice")
        }
        accounts[key].effects.append(token)
        accounts[key].downstreamKeys.insert(downstreamKey)
        if accounts[key].downstreamKeys.count > 1 { violate(.oneDownstreamKey, key, "there is another") }
    }

    // MARK: What is published

    mutating func result(_ key: Int, _ state: JobState, id: String, _ ledger: LedgerModel) {
        isTrue(key, state, ledger)
        accounts[key].resultIDs.insert(id)
        if accounts[key].resultIDs.count > 1 {
            violate(.oneResultId, key, "there are \(accounts[key].resultIDs.sorted())")
        }
    }

    mutating func reply(_ key: Int, _ state: JobState, to origin: Int, _ ledger: LedgerModel) {
        isTrue(key, state, ledger)
        accounts[key].replied.insert(origin)
    }

    private mutating func isTrue(_ key: Int, _ state: JobState, _ ledger: LedgerModel) {
        let standing = ledger.jobs[key]?.state
        if standing != state {
            violate(
                .resultsAreTrue, key, "\(state) is published and the ledger has \(standing.map { "\($0)" } ?? "none")")
        }
    }

    mutating func setAside(_ delivery: JobDelivery) {
        if let origin = delivery.origin { accounts[delivery.key].setAside.insert(origin) }
    }

    mutating func deadLettered(_ delivery: JobDelivery) {
        violate(.nothingDeadLetters, delivery.key, "it came back \(delivery.returns) times")
    }

    mutating func acknowledged(_ key: Int, _ content: JobContent, replyTo: Int?, origin: Int) {
        accounts[key].acknowledged.append((content, replyTo, origin))
    }
}
