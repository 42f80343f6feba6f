import FleetModel
import FleetStore
import PostgresClient
import TestPatience
import Testing

@Suite("Leases")
struct LeaseTests {
    @Test("A lease is renewed for as long as its epoch lasts")
    func renew() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let worker = try await ledger.worker("w", lease: .seconds(10))
            #expect(worker.epoch == 1)
            #expect(
                try await ledger.store.renew(worker, lease: .seconds(100), load: WorkerLoad(busy: 3), draining: false))
            var record = try #require(try await ledger.store.workers().first)
            #expect(
                (record.name, record.host, record.processID, record.version) == ("w", "here", 1, FleetModel.version))
            #expect((record.subsystems, record.slots, record.busy, record.state) == (["test"], 5, 3, "live"))
            #expect((90_000...100_000).contains(record.leaseMilliseconds))
            #expect(
                try await ledger.store.renew(worker, lease: .seconds(100), load: WorkerLoad(busy: 0), draining: true))
            record = try #require(try await ledger.store.workers().first)
            #expect(record.state == "draining")
            let next = try await ledger.store.beginEpoch(worker: worker.worker, lease: .seconds(10))
            #expect(
                try await !ledger.store.renew(worker, lease: .seconds(100), load: WorkerLoad(busy: 0), draining: false))
            #expect(
                try await ledger.store.renew(next, lease: .seconds(100), load: WorkerLoad(busy: 0), draining: false))
        }
    }

    @Test("What a worker tells of its subsystems is told again, bounded")
    func load() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let worker = try await ledger.worker("w", lease: .seconds(10))
            let quoted = "\"all\" of 127.0.0.1:80 is left alone\n\u{e9}"
            var tally = WorkerTally()
            (tally.ended, tally.failed, tally.retried) = (7, 2, 3)
            tally.run.add(.milliseconds(20))
            let load = WorkerLoad(
                busy: 3,
                subsystems: [
                    .init(
                        name: "api", busy: 2, slots: 5, waiting: 1,
                        notices: [quoted] + Array(repeating: String(repeating: "x", count: 300), count: 20),
                        holdings: quoted,
                        tally: tally),
                    .init(name: "file", busy: 1, slots: 4, waiting: 0),
                ])
            #expect(try await ledger.store.renew(worker, lease: .seconds(100), load: load, draining: false))
            let told = try #require(try await ledger.store.workers().first).load
            #expect(told.map(\.name) == ["api", "file"])
            #expect((told[0].busy, told[0].slots, told[0].waiting) == (2, 5, 1))
            #expect(told[0].notices.first == quoted)
            #expect(told[0].holdings == quoted && told[1].holdings == nil)
            #expect(told[0].notices.count == 10 && told[0].notices.last?.count == 200)
            #expect(told[1].notices.isEmpty)
            #expect(told[0].tally == tally && told[1].tally == nil)
        }
    }

    @Test(
        "Workers of other releases are read too: what they do not tell is absent, what they tell besides is passed over"
    )
    func foreignLoad() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            _ = try await ledger.worker()
            try await ledger.pool.script(
                """
                update gaia.worker set load = '{"old": {"busy": 1, "slots": 2, "waiting": 0},
                    "next": {"slots": 4, "more": {}, "tally": {"ended": 1, "failed": 0, "retried": 0, "queued": [], "run": [0, 2]}}}'
                """)
            let told = try #require(try await ledger.store.workers().first).load
            #expect(told.map(\.name) == ["next", "old"])
            #expect((told[1].busy, told[1].slots, told[1].tally) == (1, 2, nil))
            #expect((told[0].busy, told[0].slots, told[0].tally?.run.total) == (0, 4, 2))
        }
    }

    @Test("One that was lost is told apart from one that has drained")
    func lost() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let (drained, dead) = (try await ledger.worker("drained"), try await ledger.worker("dead"))
            try await ledger.store.release(drained)
            #expect(try await ledger.store.endEpoch(of: dead, term: ledger.store.beginTerm(name: "d")))
            let told = try await ledger.store.workers()
            #expect(told.first { $0.name == "drained" }?.lostSeconds == nil)
            #expect((told.first { $0.name == "dead" }?.lostSeconds).map { $0 >= 0 && $0 < 60 } == true)
        }
    }

    @Test("A worker that gives its lease back is gone, owns nothing, and what waited for it is due")
    func release() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let (worker, other) = (try await ledger.worker(), try await ledger.worker())
            try await ledger.own("k", by: worker)
            _ = try await ledger.claim(Ledger.request("k"), by: other)
            try await ledger.store.release(worker)
            #expect(try await ledger.store.releaseOrphans(term: ledger.store.beginTerm(name: "d")) == 1)
            #expect(try await ledger.store.workers().map(\.state).sorted() == ["gone", "live"])
            #expect(
                try await !ledger.store.renew(worker, lease: .seconds(1), load: WorkerLoad(busy: 0), draining: false))
            #expect(try await ledger.store.due(atMost: 10).map(\.job.key) == ["k"])
            #expect(try await ledger.own("k", by: other).token == 2)
        }
    }

    @Test("Giving back an epoch that has ended changes nothing")
    func releaseLate() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let worker = try await ledger.worker()
            let next = try await ledger.store.beginEpoch(worker: worker.worker, lease: .seconds(60))
            try await ledger.store.release(worker)
            #expect(try await ledger.store.renew(next, lease: .seconds(60), load: WorkerLoad(busy: 0), draining: false))
        }
    }

    /// Holds a worker's liveness lock in a session of its own while `body` runs.
    private static func alive(_ worker: WorkerEpoch, _ ledger: Ledger, _ body: (PostgresDedicated) async throws -> Void)
        async throws
    {
        let life = PostgresDedicated(configuration: ledger.configuration, logger: Ledger.logger)
        let session = try await life.connect()
        #expect(try await FleetStore.holdLiveness(of: worker.worker, on: session))
        do {
            try await body(life)
        } catch {
            await life.close()
            throw error
        }
        await life.close()
    }

    private struct Missing: Equatable {
        var owner: WorkerEpoch
        var name: String
        var expired: Bool
    }

    private static func missing(_ ledger: Ledger) async throws -> [Missing] {
        try await ledger.store.missingWorkers().map { Missing(owner: $0.owner, name: $0.name, expired: $0.expired) }
    }

    @Test("A worker whose session closes is missing; one that lives is not, nor one that has left")
    func missing() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let (worker, left) = (try await ledger.worker("w"), try await ledger.worker("left"))
            try await ledger.store.release(left)
            #expect(try await Self.missing(ledger) == [Missing(owner: worker, name: "w", expired: false)])
            try await Self.alive(worker, ledger) { life in
                #expect(try await ledger.store.missingWorkers().isEmpty)
                try await ledger.pool.withConnection { other in
                    let isHeld = try await FleetStore.holdLiveness(of: worker.worker, on: other)
                    #expect(!isHeld, "a life is held once")
                }
                await life.close()
                try await eventually("the worker to be missed") {
                    try await Self.missing(ledger) == [Missing(owner: worker, name: "w", expired: false)]
                }
            }
        }
    }

    @Test("A worker killed without a word is missing as soon as its session is gone")
    func killed() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let worker = try await ledger.worker("w")
            let life = PostgresDedicated(configuration: ledger.configuration, logger: Ledger.logger)
            let session = try await life.connect()
            #expect(try await FleetStore.holdLiveness(of: worker.worker, on: session))
            try await ledger.pool.script("select pg_terminate_backend(\(session.backendProcessID()))")
            #expect(await life.closed() != nil)
            try await eventually("the worker to be missed") {
                try await ledger.store.missingWorkers().map(\.owner) == [worker]
            }
            await life.close()
        }
    }

    @Test("A living worker whose lease has run out is missing and expired")
    func expired() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let worker = try await ledger.worker("w")
            try await Self.alive(worker, ledger) { _ in
                try await ledger.pool.script("update gaia.worker set lease_until = now()")
                #expect(try await Self.missing(ledger) == [Missing(owner: worker, name: "w", expired: true)])
            }
        }
    }

    @Test("The epoch of a missing worker ends once, and what was parked on it is due")
    func endEpoch() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let (worker, other) = (try await ledger.worker(), try await ledger.worker())
            let term = try await ledger.store.beginTerm(name: "d")
            for key in ["a", "b"] {
                try await ledger.own(key, by: worker)
                #expect(try await ledger.claim(Ledger.request(key, replyTo: "r"), by: other).word == "parked")
            }
            try await ledger.own("c", by: other)
            #expect(try await ledger.claim(Ledger.request("c"), by: worker).word == "parked")
            #expect(try await ledger.store.due(atMost: 10).isEmpty)
            #expect(try await ledger.store.releaseOrphans(term: term) == 0)
            #expect(try await ledger.store.endEpoch(of: worker, term: term))
            #expect(try await ledger.store.releaseOrphans(term: term) == 2)
            #expect(Set(try await ledger.store.due(atMost: 10).map(\.job.key)) == ["a", "b"])
            #expect(try await !ledger.store.endEpoch(of: worker, term: term))
            #expect(try await ledger.store.releaseOrphans(term: term) == 0)
            #expect(
                try await !ledger.store.renew(worker, lease: .seconds(60), load: WorkerLoad(busy: 0), draining: false))
            #expect(try await ledger.claim(Ledger.request("new"), by: worker).word == "fenced")
            #expect(try await ledger.own("a", by: other).token == 2)
        }
    }

    @Test("A queue that is found idle owes the results of workers that died, not of those that ended by themselves")
    func foundIdle() async throws {
        try await Ledger.with { ledger in
            let term = try await ledger.store.beginTerm(name: "d")
            func look() async throws -> Int {
                try await ledger.store.republish(
                    subsystem: Ledger.subsystem, urgent: false, olderThan: .zero, isCertain: false)
            }
            let (drained, killed) = (try await ledger.worker("drained"), try await ledger.worker("killed"))
            for (key, owner) in [("told", drained), ("perhaps", killed)] {
                _ = try await ledger.complete(key, ledger.own(key, by: owner), .succeed(output: "1"))
            }
            #expect(try await look() == 0, "both live")
            try await ledger.store.release(drained)
            #expect(try await look() == 0, "it had told of all before it ended")
            #expect(try await ledger.store.endEpoch(of: killed, term: term))
            #expect(try await look() == 1)
            #expect(try await ledger.store.due(atMost: 10).map(\.job.key) == ["perhaps"])
        }
    }

    @Test("What a worker completed before it died is owed when a queue was lost in its time, and then only once")
    func lostHand() async throws {
        try await Ledger.with { ledger in
            let term = try await ledger.store.beginTerm(name: "d")
            let old = try await ledger.worker("old")
            let stranger = try await ledger.worker("of another queue")
            let noted = try await ledger.store.republish(
                subsystem: Ledger.subsystem, urgent: false, olderThan: .zero, isCertain: true)
            #expect(noted == 0)
            // It came when the queue was there again.
            let new = try await ledger.worker("new")
            for (key, owner) in [("of-old", old), ("of-new", new), ("open", old)] {
                let ownership = try await ledger.own(key, by: owner)
                if key != "open" { _ = try await ledger.complete(key, ownership, .succeed(output: "1")) }
            }
            for owner in [old, stranger, new] { #expect(try await ledger.store.endEpoch(of: owner, term: term)) }

            #expect(try await ledger.store.oweLost(term: term - 1) == 0, "that leader's term is over")
            #expect(try await ledger.store.oweLost(term: term) == 2)
            #expect(try await ledger.store.oweLost(term: term) == 0)
            #expect(Set(try await ledger.store.due(atMost: 10).map(\.job.key)) == ["of-old", "open"])
        }
    }

    @Test("The epoch of a worker that lives is not ended")
    func endLivingEpoch() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let worker = try await ledger.worker()
            let term = try await ledger.store.beginTerm(name: "d")
            try await Self.alive(worker, ledger) { _ in
                #expect(try await !ledger.store.endEpoch(of: worker, term: term))
                #expect(
                    try await ledger.store.renew(
                        worker, lease: .seconds(60), load: WorkerLoad(busy: 0), draining: false))
                try await ledger.pool.script("update gaia.worker set lease_until = now()")
                #expect(try await ledger.store.endEpoch(of: worker, term: term))
            }
        }
    }

    @Test("A deposed leader ends nobody's epoch")
    func oldTerm() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let (worker, other) = (try await ledger.worker(), try await ledger.worker())
            #expect(try await !ledger.store.endEpoch(of: worker, term: 1), "nobody leads yet")
            let old = try await ledger.store.beginTerm(name: "d1")
            _ = try await ledger.store.beginTerm(name: "d2")
            try await ledger.own("k", by: worker)
            _ = try await ledger.claim(Ledger.request("k"), by: other)
            #expect(try await !ledger.store.endEpoch(of: worker, term: old))
            #expect(
                try await ledger.store.renew(worker, lease: .seconds(60), load: WorkerLoad(busy: 0), draining: false))
            try await ledger.store.release(worker)
            #expect(try await ledger.store.releaseOrphans(term: old) == 0)
            #expect(try await ledger.store.due(atMost: 1).isEmpty)
        }
    }

    @Test("A delivery that is parked by a statement from before the end of the epoch is due with the next look")
    func parkedLate() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let (worker, other) = (try await ledger.worker(), try await ledger.worker())
            let term = try await ledger.store.beginTerm(name: "d")
            try await ledger.own("k", by: worker)
            try await withThrowingTaskGroup(of: Void.self) { group in
                try await ledger.pool.withTransaction { session in
                    // Holds the statement up after it has begun, so that it still sees the worker alive.
                    try await session.script("select from gaia.job where key = 'k' for update")
                    group.addTask {
                        let answers = try await ledger.store.classify([Ledger.request("k", replyTo: "r")], by: other)
                        #expect(answers.map(\.word) == ["parked"])
                    }
                    let waiting = PostgresStatement(
                        name: "test-waiting",
                        sql: """
                            select count(*) from pg_stat_activity
                            where datname = current_database() and wait_event_type = 'Lock'
                            """)
                    try await eventually("the other to wait") {
                        // Not in the transaction, which would see the same answer for ever.
                        try await ledger.pool.execute(waiting).single().get(0, as: Int64.self) == 1
                    }
                    #expect(try await ledger.store.endEpoch(of: worker, term: term))
                    #expect(try await ledger.store.releaseOrphans(term: term) == 0)
                }
                try await group.waitForAll()
            }
            #expect(try await ledger.agenda("k").map { $0.due > 20_000 } == true)
            #expect(try await ledger.store.releaseOrphans(term: term) == 1)
            #expect(try await ledger.store.due(atMost: 10).map(\.job.key) == ["k"])
        }
    }

    @Test("One leads at a time; the lock is free when the leader's session is gone, and the term rises")
    func leadership() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            #expect(try await ledger.store.leader() == nil)
            let (first, second) = (
                PostgresDedicated(configuration: ledger.configuration, logger: Ledger.logger),
                PostgresDedicated(configuration: ledger.configuration, logger: Ledger.logger)
            )
            #expect(try await FleetStore.takeLeadership(on: first.connect()))
            #expect(try await ledger.store.beginTerm(name: "d1") == 1)
            let record = try #require(try await ledger.store.leader())
            #expect((record.term, record.name, record.leads, record.agenda, record.overdue) == (1, "d1", true, 0, 0))
            let follower = try await second.connect()
            #expect(try await !FleetStore.takeLeadership(on: follower))
            await first.close()
            try await eventually("the follower to lead") { try await FleetStore.takeLeadership(on: follower) }
            #expect(try await ledger.store.beginTerm(name: "d2") == 2)
            await second.close()
            try await eventually("nobody to lead") { try await ledger.store.leader()?.leads == false }
        }
    }

    @Test("Locks of another database on the same server are not taken for a worker's life")
    func otherDatabase() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let worker = try await ledger.worker("w")
            try await Ledger.with { elsewhere in
                try await Self.alive(worker, elsewhere) { _ in
                    let missing = try await ledger.store.missingWorkers()
                    #expect(missing.map(\.owner) == [worker])
                }
            }
        }
    }
}

@Suite("Inspection")
struct InspectionTests {
    @Test("A job is shown whole, with every error; a key may be looked for in all subsystems")
    func job() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let worker = try await ledger.worker("w-1")
            let owned = try #require(
                try await ledger.claim(
                    Ledger.request("k", replyTo: "r", correlationID: "c", deadline: .seconds(9)), by: worker
                ).ownership)
            _ = try await ledger.store.claim([Ledger.request("k", type: "other.do.v1")], by: worker)
            _ = try await ledger.complete("k", owned, .discard(JobFailure(.permanent, code: "x", message: "y\0")))
            let record = try await ledger.record("k")
            #expect((record.type, record.state, record.attempt, record.worker) == ("test.do.v1", "discarded", 1, "w-1"))
            #expect((record.replyTo, record.correlationID, record.output) == ("r", "c", nil))
            #expect(
                record.claimedAt != nil && record.finishedAt != nil && record.deadlineAt != nil
                    && record.notBefore == nil)
            for word in [#""code": "x""#, #""worker": "w""#, #""at""#] { #expect(record.errors.contains(word)) }
            #expect(try await ledger.store.job("k", subsystem: nil).map(\.identity.subsystem) == ["other", "test"])
            #expect(try await ledger.store.job("none", subsystem: nil).isEmpty)
        }
    }

    @Test("Counts tell jobs by state and the attempts beyond the first")
    func counts() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let worker = try await ledger.worker()
            for key in ["a", "b"] { try await ledger.own(key, by: worker) }
            let first = try await ledger.own("c", by: worker)
            let later = Settlement.retry(
                JobFailure(.transient, code: "t", message: "later"), delay: .zero, spendsAttempt: true)
            _ = try await ledger.complete("c", first, later)
            let owned = try await ledger.own("c", by: worker)
            _ = try await ledger.complete("c", owned, .succeed(output: "1"))
            let counts = try await ledger.store.counts(subsystem: "test")
            #expect(counts[.succeeded]?.jobs == 1 && counts[.succeeded]?.retries == 1)
            #expect(counts[.running]?.jobs == 2 && counts[.running]?.retries == 0)
            #expect(counts.count == 2)
            #expect(try await ledger.store.jobCounts().map(\.state) == ["running", "succeeded"])
            #expect(try await ledger.store.counts(subsystem: "none").isEmpty)
        }
    }
}
