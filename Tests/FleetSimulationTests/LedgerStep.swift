import FleetModel
import FleetStore

/// One verb with its arguments, for the model and for the database alike.
enum LedgerStep: Sendable {
    case register(lease: Int64)
    case renew(WorkerEpoch, lease: Int64)
    case beginEpoch(Int64, lease: Int64)
    case release(WorkerEpoch)
    case holdLiveness(Int64)
    case loseLiveness(Int64)
    case missing
    case endEpoch(WorkerEpoch, term: Int64)
    case releaseOrphans(term: Int64)
    case beginTerm
    case renewTerm(Int64)
    case claim([ClaimQuestion], WorkerEpoch)
    case classify([ClaimQuestion], WorkerEpoch)
    case runAlone(Int, token: Int64)
    case complete([ModelCompletion])
    case answered(Int, Int)
    case schedule(Int, JobContent, replyTo: Int?, delay: Int64)
    case due
    /// What the last look at the agenda has shown, as if it had been published.
    case staged(term: Int64)
    case cancel(Int)
    case calledOff(WorkerEpoch)
    case enterLock(Int, request: Int64, wait: Int64, WorkerEpoch)
    case lookAtLock(Int, request: Int64, WorkerEpoch)
    case leaveLock(Int, request: Int64, WorkerEpoch)
    case checkLock(Int, token: Int64)
    /// Time is passed in the database by moving its rows, so what was seen of the agenda before matches no more.
    case pass(Int64)
}

// MARK: What to do next

extension LedgerStep {
    /// Times are multiples of a hundred seconds, and spans end half way between two, so that the seconds that the database
    /// itself takes decide nothing.
    private static let tick: Int64 = 100_000
    private static let spans: [Int64] = [50_000, 150_000, 250_000, 950_000]
    static let keys = 5

    /// A verb that fits the ledger as it is, now and then with arguments that are out of date.
    static func next(_ ledger: LedgerModel, _ random: inout SplitMix64) -> LedgerStep {
        func draw(_ range: Range<Int>) -> Int { Int.random(in: range, using: &random) }
        func span() -> Int64 { random.pick(spans) }
        if ledger.workers.isEmpty { return .register(lease: span()) }
        let worker = Int64(draw(1..<ledger.workers.count + 1))
        let epoch = ledger.workers[Int(worker) - 1].epoch - (draw(0..<8) == 0 ? 1 : 0)
        let owner = WorkerEpoch(worker: worker, epoch: epoch)
        let term = ledger.term - (draw(0..<6) == 0 ? 1 : 0)
        let (key, name, request) = (draw(0..<keys), draw(0..<2), Int64(draw(1..<5)))
        switch draw(0..<40) {
        case 0: return ledger.workers.count < 4 ? .register(lease: span()) : .missing
        case 1: return .renew(owner, lease: span())
        case 2: return .beginEpoch(worker, lease: span())
        case 3: return draw(0..<3) == 0 ? .release(owner) : .missing
        case 4: return .holdLiveness(worker)
        case 5: return .loseLiveness(worker)
        case 6: return .missing
        case 7: return .endEpoch(owner, term: term)
        case 8: return .releaseOrphans(term: term)
        case 9: return draw(0..<2) == 0 ? .beginTerm : .renewTerm(term)
        case 10...17: return .claim(questions(&random), owner)
        case 18, 19: return .classify(questions(&random), owner)
        case 20:
            let running = ledger.jobs.indices.filter { ledger.jobs[$0]?.state == .running }
            let suspect = running.isEmpty ? key : random.pick(running)
            return .runAlone(suspect, token: token(suspect, ledger, &random))
        case 21...27: return .complete(completions(ledger, &random))
        case 28: return .answered(key, draw(0..<3))
        case 29: return .schedule(key, content(&random), replyTo: replyTo(&random), delay: random.pick([0, span()]))
        case 30: return .due
        case 31, 32: return .staged(term: term)
        case 33: return draw(0..<3) == 0 ? .cancel(key) : .calledOff(owner)
        case 34, 35:
            return .enterLock(name, request: request, wait: random.pick([0, span()]), owner)
        case 36: return .lookAtLock(name, request: request, owner)
        case 37: return .leaveLock(name, request: request, owner)
        case 38: return .checkLock(name, token: (ledger.locks[name]?.token ?? 1) - Int64(draw(0..<2)))
        default: return .pass(tick * Int64(draw(1..<4)))
        }
    }

    private static func content(_ random: inout SplitMix64) -> JobContent {
        JobContent(
            type: Int.random(in: 0..<12, using: &random) / 11, payload: Int.random(in: 0..<8, using: &random) / 7)
    }

    private static func replyTo(_ random: inout SplitMix64) -> Int? { random.pick([nil, 0, 1, 2]) }

    private static func someKeys(_ random: inout SplitMix64) -> [Int] {
        Array((0..<keys).shuffled(using: &random).prefix(Int.random(in: 1...3, using: &random))).sorted()
    }

    private static func questions(_ random: inout SplitMix64) -> [ClaimQuestion] {
        var questions: [ClaimQuestion] = []
        for key in someKeys(&random) {
            questions.append(
                ClaimQuestion(
                    key: key, content: content(&random), attemptsMax: Int.random(in: 1...4, using: &random),
                    isRepeatable: Int.random(in: 0..<5, using: &random) > 0, replyTo: replyTo(&random)))
        }
        return questions
    }

    /// Mostly the token that owns the job.
    private static func token(_ key: Int, _ ledger: LedgerModel, _ random: inout SplitMix64) -> Int64 {
        max((ledger.jobs[key]?.token ?? 1) - (Int.random(in: 0..<5, using: &random) == 0 ? 1 : 0), 0)
    }

    private static func completions(_ ledger: LedgerModel, _ random: inout SplitMix64) -> [ModelCompletion] {
        var completions: [ModelCompletion] = []
        for key in someKeys(&random) {
            completions.append(
                ModelCompletion(key: key, token: token(key, ledger, &random), settlement: settlement(&random)))
        }
        return completions
    }

    private static func settlement(_ random: inout SplitMix64) -> Settlement {
        let delay = Duration.milliseconds(random.pick([0] + spans))
        return random.pick([
            .succeed(output: "{}"), .retry(Failure.transient, delay: delay, spendsAttempt: true),
            .retry(Failure.transient, delay: delay, spendsAttempt: true),
            .retry(Failure.throttled, delay: delay, spendsAttempt: false), .snooze(delay: delay),
            .discard(Failure.permanent), .cancel(Failure.calledOff), .doubt(Failure.unsafe), .handBack, .handBack,
        ])
    }
}

// MARK: What the model makes of it

extension LedgerModel {
    /// - Returns: the answer in words, as `RealLedger` has them.
    mutating func perform(_ step: LedgerStep, seen due: inout [ModelDue]) -> String {
        // No two statements have one time.
        now += 1
        switch step {
        case .register(let lease): return "\(register(lease: lease))"
        case .renew(let owner, let lease): return "\(renew(owner, lease: lease))"
        case .beginEpoch(let worker, let lease): return "\(beginEpoch(worker: worker, lease: lease))"
        case .release(let owner): release(owner)
        case .holdLiveness(let worker): livenessLocks[worker] = 1
        case .loseLiveness(let worker): livenessLocks[worker] = nil
        case .missing: return missingWorkers().map { "\($0.owner) \($0.isExpired)" }.joined(separator: ", ")
        case .endEpoch(let owner, let term): return "\(endEpoch(of: owner, term: term))"
        case .releaseOrphans(let term): return "\(releaseOrphans(term: term))"
        case .beginTerm: return "\(beginTerm())"
        case .renewTerm(let term): return "\(renewTerm(term))"
        case .claim(let questions, let owner):
            let claimed = claim(questions, by: owner)
            let open = zip(questions, claimed).filter { $1 == nil }.map(\.0)
            var rest = classify(open, by: owner)[...]
            return claimed.map { ($0 ?? rest.removeFirst()).words }.joined(separator: ", ")
        case .classify(let questions, let owner):
            return classify(questions, by: owner).map(\.words).joined(separator: ", ")
        case .runAlone(let key, let token): return "\(runAlone(key, token: token))"
        case .complete(let completions): return completeOrReadBack(completions).map(\.words).joined(separator: ", ")
        case .answered(let key, let replyTo): answered(key, replyTo)
        case .schedule(let key, let content, let replyTo, let delay):
            return "\(schedule(key, content, replyTo: replyTo, delay: delay))"
        case .due:
            due = self.due()
            return due.map { "\($0.key) \($0.reason)" }.sorted().joined(separator: ", ")
        case .staged(let term): return "\(staged(due, term: term))"
        case .cancel(let key): return cancel(key).rawValue
        case .calledOff(let owner): return "\(calledOff(owner))"
        case .enterLock(let name, let request, let wait, let owner):
            return "\(enterLock(name, request: request, wait: wait, by: owner))"
        case .lookAtLock(let name, let request, let owner):
            return "\(lookAtLock(name, request: request, by: owner))"
        case .leaveLock(let name, let request, let owner):
            return "\(leaveLock(name, request: request, by: owner))"
        case .checkLock(let name, let token): return "\(passesLockCheck(name, token: token))"
        case .pass(let span):
            now += span
            due = []
        }
        return "done"
    }

    /// As `FleetStore.complete` does it: what is fenced is read back, for an earlier try may have written it.
    private mutating func completeOrReadBack(_ completions: [ModelCompletion]) -> [ModelCompletionAnswer] {
        var answers = complete(completions)
        let seen = completions.map { waiters[$0.key] }
        for index in answers.indices where answers[index] == .fenced {
            let completion = completions[index]
            guard let row = readBack(completion), row.state == completion.settlement.state else { continue }
            answers[index] = .settled(attempt: row.attempt, waiters: row.state.isFinal ? seen[index] : [])
        }
        return answers
    }

    /// Of times; so that the database may be half a minute late and still show the same.
    static let unit: Int64 = 50_000

    /// Every row, with times in units from now, rounded up: what is compared with them is later or the same.
    var rows: [String] {
        func time(_ time: Int64?) -> String {
            time.map { "\(Int((Double($0 - now) / Double(Self.unit)).rounded(.up)))" } ?? "-"
        }
        func owner(_ owner: WorkerEpoch?) -> String { owner.map { "\($0.worker)/\($0.epoch)" } ?? "-" }
        var rows = ["term \(term)"]
        for (index, row) in workers.enumerated() {
            rows.append("worker \(index + 1) epoch \(row.epoch) gone \(row.isGone) lease \(time(row.leaseUntil))")
        }
        for key in jobs.indices {
            if let row = jobs[key] {
                rows.append(
                    "job \(key) \(row.state.rawValue) type \(row.content.type) payload \(row.content.payload) attempt "
                        + "\(row.attempt)/\(row.attemptsMax) token \(row.token) of \(owner(row.owner)) reply "
                        + "\(row.replyTo.map(String.init) ?? "-") due \(time(row.notBefore)) crashes \(row.crashes) "
                        + "alone \(row.isAlone) repeatable \(row.isRepeatable) errors \(row.errors)")
            }
            if let row = agenda[key] {
                rows.append("agenda \(key) \(row.reason.rawValue) of \(owner(row.owner)) due \(time(row.dueAt))")
            }
            for replyTo in waiters[key].sorted() { rows.append("waiter \(key) \(replyTo)") }
            if cancellations.contains(key) { rows.append("cancellation \(key)") }
        }
        for (name, lock) in locks {
            rows.append("lock \(name) token \(lock.token) of \(owner(lock.owner)) request \(lock.request)")
        }
        for place in line {
            rows.append(
                "place \(place.name) number \(place.number) of \(owner(place.owner)) request \(place.request) until "
                    + time(place.until))
        }
        return rows.sorted()
    }
}

extension ModelAnswer {
    var words: String {
        switch self {
        case .claimed(let token, let attempt, let attemptsMax, let crashes, let age):
            "claimed, token \(token), attempt \(attempt) of \(attemptsMax), crashes \(crashes), age "
                + "\(age / LedgerModel.unit)"
        case .ended(let state, let attempt): "ended as \(state) in attempt \(attempt)"
        case .finished(let state, let attempt): "finished as \(state) in attempt \(attempt)"
        case .parked: "parked"
        case .conflict: "conflict"
        case .again: "again"
        case .fenced: "fenced"
        }
    }
}

extension ModelCompletionAnswer {
    var words: String {
        switch self {
        case .settled(let attempt, let waiters): "settled in attempt \(attempt), waiters \(waiters.sorted())"
        case .fenced: "fenced"
        }
    }
}
