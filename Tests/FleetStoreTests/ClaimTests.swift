import FleetModel
import FleetStore
import PostgresClient
import TestPatience
import Testing

private let failure = JobFailure(.transient, code: "t", message: "later")

@Suite("Claims")
struct ClaimTests {
    @Test("What is new is claimed: first attempt, first token, its deadline from now on")
    func new() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let answers = try await ledger.store.claim(
                [Ledger.request("b", deadline: .seconds(60)), Ledger.request("a", attemptsMax: 2)], by: worker)
            let (b, a) = (try #require(answers[0].ownership), try #require(answers[1].ownership))
            #expect((b.token, b.attempt, b.attemptsMax) == (1, 1, 5))
            #expect((.seconds(50) ... .seconds(60)).contains(try #require(b.remaining)))
            #expect((a.attemptsMax, a.remaining) == (2, nil))
            let record = try await ledger.record("a")
            #expect((record.state, record.payload, record.worker) == ("running", #"{"n":1}"#, "w"))
            #expect(try await ledger.store.claim([], by: worker).isEmpty)
        }
    }

    @Test("A repeat of what has succeeded is answered with the stored result")
    func succeeded() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let owned = try await ledger.own("k", by: worker)
            let answer = try await ledger.complete("k", owned, .succeed(output: #"{"b":1, "a":"\u0000"}"#))
            guard case .settled(let finishedAt?, 1, []) = answer else {
                Issue.record("\(answer)")
                return
            }
            let result = try #require(try await ledger.claim(Ledger.request("k"), by: worker).result)
            #expect(
                result
                    == JobResult(
                        identity: Ledger.identity("k"), type: "test.do.v1", state: .succeeded, attempt: 1,
                        finishedAt: finishedAt.iso8601, output: #"{"b":1, "a":"\u0000"}"#, error: nil))
        }
    }

    @Test("A repeat of what was given up is answered with its last error, as it was first published")
    func discarded() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let owned = try await ledger.own("k", by: worker)
            _ = try await ledger.complete("k", owned, .retry(failure, delay: .zero, spendsAttempt: true))
            let again = try await ledger.own("k", by: worker)
            let last = JobFailure(.permanent, code: "p", message: "never \"this\"")
            _ = try await ledger.complete("k", again, .discard(last))
            let result = try #require(try await ledger.claim(Ledger.request("k"), by: worker).result)
            #expect((result.state, result.attempt, result.output) == (.discarded, 2, nil))
            let error = try CanonicalJSON.text(of: Array(try #require(result.error).utf8))
            #expect(try error == CanonicalJSON.text(of: Array(last.document(attempt: 2, worker: "w").utf8)))
            #expect(try await ledger.record("k").errors.contains("later"), "the first error is kept too")
        }
    }

    @Test("A repeat of what runs is parked: whom to answer is written down once, and the agenda owes it")
    func parked() async throws {
        try await Ledger.with { ledger in
            let (first, second) = (try await ledger.worker(), try await ledger.worker())
            try await ledger.own("k", by: first)
            let repeated = Ledger.request("k", replyTo: "r", correlationID: "c")
            for _ in 0..<2 { #expect(try await ledger.claim(repeated, by: second).word == "parked") }
            #expect(try await ledger.claim(Ledger.request("k", replyTo: "r"), by: second).word == "parked")
            #expect(try await ledger.claim(Ledger.request("k"), by: second).word == "parked")
            let waiters = try await ledger.waiters("k")
            #expect(
                Set(waiters) == [
                    Waiter(identity: Ledger.identity("k"), replyTo: "r", correlationID: "c"),
                    Waiter(identity: Ledger.identity("k"), replyTo: "r", correlationID: "k"),
                ])
            #expect(waiters.count == 2)
            let row = try #require(try await ledger.agenda("k"))
            #expect((row.reason, row.worker, row.epoch) == ("recheck", first.worker, first.epoch))
            #expect((1...FleetStore.recheckAfter.milliseconds).contains(row.due))
            #expect(try await ledger.record("k").token == 1, "parking is no claim")
        }
    }

    @Test("A key that belongs to another payload or type is a conflict, in every state and for everyone")
    func conflict() async throws {
        try await Ledger.with { ledger in
            let (first, second) = (try await ledger.worker(), try await ledger.worker())
            let requests = [Ledger.request("k", payload: #"{"n":2}"#), Ledger.request("k", type: "test.do.v2")]
            let owned = try await ledger.own("k", by: first)
            for owner in [first, second] {
                for request in requests {
                    #expect(try await ledger.claim(request, by: owner).word == "conflict with test.do.v1")
                }
            }
            _ = try await ledger.complete("k", owned, .succeed(output: "1"))
            for request in requests {
                #expect(try await ledger.claim(request, by: second).word == "conflict with test.do.v1")
            }
            #expect(try await ledger.agenda("k") == nil)
            #expect(try await ledger.record("k").payload == #"{"n":1}"#)
        }
    }

    @Test("A key is taken in one subsystem only")
    func subsystems() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let answers = try await ledger.store.claim(
                [Ledger.request("k"), Ledger.request("k", type: "other.do.v1")], by: worker)
            #expect(answers.map(\.word) == ["claimed", "claimed"])
        }
    }

    @Test("A claim whose answer was lost is made again by its own epoch, with a higher token and no further attempt")
    func ownOrphan() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let lost = try await ledger.own("k", by: worker)
            let found = try await ledger.own("k", by: worker)
            #expect((found.attempt, found.token) == (1, 2))
            #expect(try await ledger.complete("k", lost, .succeed(output: "0")) == .fenced)
            guard case .settled = try await ledger.complete("k", found, .succeed(output: "1")) else {
                Issue.record("the later claim owns the job")
                return
            }
            #expect(try await ledger.record("k").output == "1")
        }
    }

    @Test("What runs under an epoch that has ended is claimed by another, with a higher token and no attempt charged")
    func endedEpoch() async throws {
        try await Ledger.with { ledger in
            let (dead, other) = (try await ledger.worker(), try await ledger.worker())
            let old = try await ledger.own("k", by: dead)
            #expect(try await ledger.claim(Ledger.request("k"), by: other).word == "parked")
            let reborn = try await ledger.store.beginEpoch(worker: dead.worker, lease: .seconds(60))
            #expect(reborn.epoch == dead.epoch + 1)
            let fresh = try await ledger.own("k", by: other)
            #expect((fresh.attempt, fresh.token, fresh.crashes) == (1, 2, 1))
            #expect(try await ledger.complete("k", old, .succeed(output: "0")) == .fenced)
        }
    }

    @Test("A worker in its next life takes what it ran in the one before, and is not charged an attempt")
    func ownEarlierLife() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            try await ledger.own("k", by: worker)
            let reborn = try await ledger.store.beginEpoch(worker: worker.worker, lease: .seconds(60))
            let fresh = try await ledger.own("k", by: reborn)
            #expect((fresh.attempt, fresh.token, fresh.crashes) == (1, 2, 1))
        }
    }

    @Test("A lease that has run out owns nothing, and claims nothing")
    func expiredLease() async throws {
        try await Ledger.with { ledger in
            let (late, other) = (try await ledger.worker(), try await ledger.worker())
            try await ledger.own("k", by: late)
            try await ledger.pool.script("update gaia.worker set lease_until = now() where id = \(late.worker)")
            #expect(try await ledger.claim(Ledger.request("new"), by: late).word == "fenced")
            #expect(try await ledger.own("k", by: other).token == 2)
        }
    }

    @Test("Under an ended epoch nothing is claimed or parked; what is finished is still answered")
    func fenced() async throws {
        try await Ledger.with { ledger in
            let (ended, other) = (try await ledger.worker(), try await ledger.worker())
            try await ledger.own("running", by: other)
            let done = try await ledger.own("done", by: other)
            _ = try await ledger.complete("done", done, .succeed(output: "1"))
            try await ledger.store.release(ended)
            let keys = ["new", "running", "done"]
            for owner in [
                ended, WorkerEpoch(worker: ended.worker, epoch: ended.epoch + 1), WorkerEpoch(worker: 999, epoch: 1),
            ] {
                let answers = try await ledger.store.claim(keys.map { Ledger.request($0, replyTo: "r") }, by: owner)
                #expect(answers.map(\.word) == ["fenced", "fenced", "finished"])
            }
            // Its worker lives again, in a later epoch: the earlier one is no better for it.
            _ = try await ledger.store.beginEpoch(worker: ended.worker, lease: .seconds(60))
            let answers = try await ledger.store.claim(keys.map { Ledger.request($0, replyTo: "r") }, by: ended)
            #expect(answers.map(\.word) == ["fenced", "fenced", "finished"])
            #expect(try await ledger.store.job("new", subsystem: nil).isEmpty)
            #expect(try await ledger.waiters("running").isEmpty)
            #expect(try await ledger.agenda("running") == nil)
        }
    }

    @Test("A retry is parked until its time has come, and claimed then")
    func retry() async throws {
        try await Ledger.with { ledger in
            let (first, second) = (try await ledger.worker(), try await ledger.worker())
            let owned = try await ledger.own("k", by: first)
            _ = try await ledger.complete("k", owned, .retry(failure, delay: .seconds(600), spendsAttempt: true))
            #expect(try await ledger.claim(Ledger.request("k", replyTo: "r"), by: second).word == "parked")
            #expect(try await ledger.waiters("k").count == 1)
            #expect(try await ledger.agenda("k")?.reason == "retry", "parking does not touch the retry's own row")
            try await ledger.passTime(of: "k")
            let next = try await ledger.own("k", by: second)
            #expect((next.attempt, next.token) == (2, 2))
        }
    }

    @Test("A job for later takes its number of attempts from the type when the producer left it open")
    func attemptsOfType() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let job = Ledger.request("k").job
            _ = try await ledger.store.schedule([ScheduleRequest(job: job, payload: #"{"n":1}"#, delay: .zero)])
            let owned = try #require(try await ledger.claim(Ledger.request("k", attemptsMax: 7), by: worker).ownership)
            #expect((owned.attemptsMax, owned.attempt) == (7, 1))
            _ = try await ledger.complete("k", owned, .retry(failure, delay: .zero, spendsAttempt: true))
            let next = try #require(try await ledger.claim(Ledger.request("k", attemptsMax: 3), by: worker).ownership)
            #expect((next.attemptsMax, next.attempt) == (7, 2), "what stands there is not changed by a later message")
        }
    }

    @Test("Two workers claim the same 500 keys at once: each key is claimed exactly once, the other claim is parked")
    func race() async throws {
        try await Ledger.with { ledger in
            let owners = [try await ledger.worker("a"), try await ledger.worker("b")]
            let keys = (0..<500).map { "key-\($0)" }
            let answers = try await withThrowingTaskGroup(of: [(String, ClaimAnswer)].self) { group in
                for owner in owners {
                    // Each in an order of its own, in batches that overlap in no regular way.
                    let shuffled = keys.shuffled()
                    for start in stride(from: 0, to: keys.count, by: 50) {
                        let batch = Array(shuffled[start..<start + 50])
                        group.addTask {
                            Array(
                                zip(
                                    batch,
                                    try await ledger.store.claim(
                                        batch.map { Ledger.request($0, replyTo: "r") }, by: owner)))
                        }
                    }
                }
                return try await group.reduce(into: [(String, ClaimAnswer)]()) { $0 += $1 }
            }
            #expect(answers.count == 1_000)
            let claimed = answers.filter { $0.1.ownership != nil }
            #expect(claimed.count == 500)
            #expect(Set(claimed.map(\.0)).count == 500)
            #expect(claimed.allSatisfy { $0.1.ownership?.token == 1 && $0.1.ownership?.attempt == 1 })
            #expect(answers.filter { $0.1.word == "parked" }.count == 500)
        }
    }

    @Test("A growing table costs no more: batches find their jobs by key and never read the whole table")
    func keyed() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            for round in 0..<20 {
                let keys = (0..<200).map { "\(round)-\($0)" }
                let answers = try await ledger.store.claim(keys.map { Ledger.request($0) }, by: worker)
                let completions = try zip(keys, answers).map { key, answer in
                    let owned = try #require(answer.ownership)
                    return Completion(
                        identity: Ledger.identity(key), token: owned.token, attempt: owned.attempt,
                        settlement: .succeed(output: "{}"))
                }
                _ = try await ledger.store.complete(completions, worker: "w")
            }
            // Each session counts for itself until it is told to add up.
            let flush = PostgresStatement(name: "test-flush", sql: "select pg_stat_force_next_flush()::text")
            let scans = PostgresStatement(
                name: "test-scans",
                sql: "select n_tup_upd, n_tup_hot_upd, seq_tup_read from pg_stat_user_tables where relname = 'job'")
            try await eventually("the figures to arrive") {
                _ = try await ledger.pool.execute(flush)
                let row = try #require(try await ledger.pool.execute(scans).first)
                guard try row.get(0, as: Int64.self) == 4_000 else { return false }
                #expect(try row.get(1, as: Int64.self) == 4_000, "each update stays on its page")
                #expect(try row.get(2, as: Int64.self) == 0)
                return true
            }
        }
    }
}
