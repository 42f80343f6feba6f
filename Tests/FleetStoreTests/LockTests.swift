import FleetModel
import FleetStore
import PostgresClient
import TestPatience
import Testing

extension Ledger {
    /// Asks for one lock.
    func enter(
        _ name: String, _ request: Int64, wait: Duration = .zero, by owner: WorkerEpoch
    ) async throws -> LockAnswer {
        let question = LockQuestion(name: name, request: request, holder: "test/\(request)", wait: wait)
        return try #require(try await store.enterLocks([question], by: owner).first)
    }

    func look(_ name: String, _ request: Int64, by owner: WorkerEpoch) async throws -> LockAnswer {
        try #require(try await store.lookAtLocks([LockRequest(name: name, request: request)], by: owner).first)
    }

    @discardableResult
    func leave(_ name: String, _ request: Int64, by owner: WorkerEpoch) async throws -> LockLeaving {
        try #require(try await store.leaveLocks([LockRequest(name: name, request: request)], by: owner).first)
    }

    /// The dispatcher finds that a worker is gone.
    func bury(_ owner: WorkerEpoch) async throws {
        let term = try await store.beginTerm(name: "d")
        #expect(try await store.endEpoch(of: owner, term: term))
    }

    func count(_ table: String) async throws -> Int {
        try await pool.execute(PostgresStatement(name: "test-count-\(table)", sql: "select count(*) from \(table)"))
            .single().get(0)
    }
}

extension LockAnswer {
    fileprivate var token: Int64? { if case .held(let token) = self { token } else { nil } }
}

private func sqlState(_ error: (any Error)?) -> String? { (error as? PostgresError)?.sqlState }

@Suite("Locks", .timeLimit(.minutes(5)))
struct LockTests {
    private static let long: Duration = .seconds(60)

    @Test("Tokens of a name rise through release, waiting, a crash, force and an expired lease, whoever takes it")
    func tokens() async throws {
        try await Ledger.with { ledger in
            let store = ledger.store
            let (one, two) = (try await ledger.worker("one"), try await ledger.worker("two"))
            var tokens: [Int64] = []
            func held(_ answer: LockAnswer, sourceLocation: SourceLocation = #_sourceLocation) throws {
                tokens.append(try #require(answer.token, "\(answer)", sourceLocation: sourceLocation))
            }
            try held(try await ledger.enter("n", 1, by: one))
            try await ledger.leave("n", 1, by: one)
            #expect(try await ledger.count("gaia.lock") == 0, "a name that nobody holds leaves no row")
            try held(try await ledger.enter("n", 2, by: one))
            #expect(try await ledger.enter("n", 3, wait: Self.long, by: two) == .waiting)
            try await ledger.leave("n", 2, by: one)
            try held(try await ledger.look("n", 3, by: two))
            try await ledger.bury(two)
            try held(try await ledger.enter("n", 4, by: one))
            _ = try #require(try await store.forceLock("n"))
            tokens.append(try #require(try await store.tryLock("n", holder: "x", lease: Self.long)))
            try await ledger.pool.script("update gaia.lock set expires_at = now()")
            try held(try await ledger.enter("n", 5, by: one))
            let number = try await store.queueForLock("n", holder: "x", lease: Self.long, wait: Self.long)
            try await ledger.leave("n", 5, by: one)
            #expect(try await store.hasTurn("n", number: number))
            tokens.append(number)
            #expect(tokens == Set(tokens).sorted(), "\(tokens)")
            #expect(tokens.count == 7)
        }
    }

    @Test("Those who wait are served in the order in which they asked; the dead and the late are passed over")
    func order() async throws {
        try await Ledger.with { ledger in
            let (one, two) = (try await ledger.worker("one"), try await ledger.worker("two"))
            let (dying, hanging) = (try await ledger.worker("dying"), try await ledger.worker("hanging"))
            #expect(try await ledger.enter("n", 1, by: one).token != nil)
            #expect(try await ledger.enter("n", 2, wait: Self.long, by: dying) == .waiting)
            #expect(try await ledger.enter("n", 3, wait: Self.long, by: hanging) == .waiting)
            #expect(try await ledger.enter("n", 4, wait: Self.long, by: two) == .waiting)
            #expect(try await ledger.enter("n", 5, wait: Self.long, by: one) == .waiting)
            #expect(try await ledger.enter("n", 6, wait: Self.long, by: two) == .waiting)
            try await ledger.bury(dying)
            try await ledger.pool.script(
                """
                update gaia.worker set lease_until = now() where name = 'hanging';
                update gaia.lock_waiter set until = now() where request = 4
                """)
            #expect(try await ledger.leave("n", 1, by: one) == .passed(request: 5, token: 5))
            #expect(try await ledger.look("n", 2, by: dying) == .gone)
            #expect(try await ledger.look("n", 3, by: hanging) == .gone)
            #expect(try await ledger.look("n", 4, by: two) == .gone)
            #expect(try await ledger.look("n", 6, by: two) == .waiting)
            #expect(try await ledger.leave("n", 5, by: one) == .left, "the heir is another worker's")
            #expect(try await ledger.look("n", 6, by: two) == .held(token: 6))
            #expect(try await ledger.count("gaia.lock_waiter") == 0)
        }
    }

    @Test("A question asked again has the same answer, whether it holds or waits")
    func again() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let first = try await ledger.enter("n", 1, by: worker)
            #expect(first.token != nil)
            #expect(try await ledger.enter("n", 1, wait: Self.long, by: worker) == first)
            for _ in 0..<2 { #expect(try await ledger.enter("n", 2, wait: Self.long, by: worker) == .waiting) }
            #expect(try await ledger.count("gaia.lock_waiter") == 1)
            try await ledger.leave("n", 1, by: worker)
            let second = try await ledger.look("n", 2, by: worker)
            #expect(second.token != nil)
            #expect(try await ledger.enter("n", 2, wait: Self.long, by: worker) == second)
        }
    }

    @Test("Nobody gets in before those who wait, and without a wait nobody gets in line")
    func noBarging() async throws {
        try await Ledger.with { ledger in
            let (one, two) = (try await ledger.worker("one"), try await ledger.worker("two"))
            #expect(try await ledger.enter("n", 1, by: one).token != nil)
            #expect(try await ledger.enter("n", 2, by: two) == .refused)
            #expect(try await ledger.store.tryLock("n", holder: "x", lease: Self.long) == nil)
            #expect(try await ledger.count("gaia.lock_waiter") == 0)
            #expect(try await ledger.enter("n", 3, wait: Self.long, by: two) == .waiting)
            // The holder goes without a word, and the one in line has not noticed.
            try await ledger.pool.script("delete from gaia.lock")
            #expect(try await ledger.store.tryLock("n", holder: "x", lease: Self.long) == nil)
            #expect(try await ledger.look("n", 3, by: two).token != nil)
        }
    }

    @Test("When an epoch ends its locks are free, its places in line are gone, and the first in line is told")
    func epochEnds() async throws {
        try await Ledger.with { ledger in
            let (one, two) = (try await ledger.worker("one"), try await ledger.worker("two"))
            #expect(try await ledger.enter("n", 1, by: one).token == 1)
            #expect(try await ledger.enter("free", 2, by: one).token != nil)
            #expect(try await ledger.enter("n", 3, wait: Self.long, by: one) == .waiting)
            #expect(try await ledger.enter("n", 4, wait: Self.long, by: two) == .waiting)
            let listener = PostgresListener(
                configuration: ledger.configuration, channels: [FleetStore.lockChannel(of: two.worker)],
                logger: Ledger.logger)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await listener.run() }
                var heard = listener.notifications.makeAsyncIterator()
                #expect(await heard.next() == .reconnected)
                try await ledger.bury(one)
                #expect(
                    await heard.next()
                        == .message(channel: FleetStore.lockChannel(of: two.worker), payload: "4"))
                await listener.close()
                try await group.waitForAll()
            }
            #expect(try await ledger.count("gaia.lock") == 0)
            #expect(try await ledger.count("gaia.lock_waiter") == 1)
            #expect(try await ledger.look("n", 4, by: two).token == 4)
            #expect(try await ledger.enter("free", 5, by: two).token != nil)
            #expect(try await ledger.enter("other", 6, by: one) == .fenced)
            #expect(try await ledger.leave("n", 1, by: one) == .left)
            #expect(try await ledger.look("n", 4, by: two).token == 4, "who has lost it cannot give it away")
        }
    }

    @Test("A lock lasts as long as its worker's lease, without a dispatcher too, by the database's clock")
    func leaseRunsOut() async throws {
        try await Ledger.with { ledger in
            let (one, two) = (try await ledger.worker("one"), try await ledger.worker("two"))
            #expect(try await ledger.enter("n", 1, by: one).token != nil)
            #expect(try await ledger.enter("n", 2, wait: Self.long, by: two) == .waiting)
            #expect(try await ledger.look("n", 2, by: two) == .waiting)
            try await ledger.pool.script("update gaia.worker set lease_until = now() where name = 'one'")
            #expect(try await ledger.store.locks().map(\.isLive) == [false])
            #expect(try await ledger.look("n", 2, by: two).token != nil)
        }
    }

    @Test("Only the worker whose turn it is hears of a release, and none when it is the one that releases")
    func hints() async throws {
        try await Ledger.with { ledger in
            let workers = [
                try await ledger.worker("a"), try await ledger.worker("b"), try await ledger.worker("c"),
            ]
            for (index, worker) in workers.enumerated() {
                _ = try await ledger.enter("n", Int64(index), wait: Self.long, by: worker)
            }
            let channels = workers.map { FleetStore.lockChannel(of: $0.worker) }
            let listener = PostgresListener(
                configuration: ledger.configuration, channels: channels, logger: Ledger.logger)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await listener.run() }
                var heard = listener.notifications.makeAsyncIterator()
                #expect(await heard.next() == .reconnected)
                try await ledger.leave("n", 0, by: workers[0])
                #expect(await heard.next() == .message(channel: channels[1], payload: "1"))
                #expect(try await ledger.enter("n", 7, wait: Self.long, by: workers[2]) == .waiting)
                try await ledger.leave("n", 1, by: workers[1])
                #expect(await heard.next() == .message(channel: channels[2], payload: "2"))
                let passed = try await ledger.leave("n", 2, by: workers[2])
                guard case .passed(request: 7, _) = passed else {
                    Issue.record("\(passed)")
                    return
                }
                try await ledger.pool.script("select pg_notify('\(channels[0])', 'end')")
                #expect(await heard.next() == .message(channel: channels[0], payload: "end"))
                await listener.close()
                try await group.waitForAll()
            }
        }
    }

    @Test("A batch may name one lock twice, and many locks; ten batches at once in different order do not deadlock")
    func batches() async throws {
        try await Ledger.with { ledger in
            let names = (0..<100).map { "lock-\($0)" }
            try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 0..<10 {
                    group.addTask {
                        let worker = try await ledger.worker("w\(number)")
                        let questions = names.shuffled().enumerated().map {
                            LockQuestion(name: $1, request: Int64($0), holder: "", wait: Self.long)
                        }
                        // A name that another batch holds up for long on a busy machine is asked for again.
                        var asked = questions
                        var taken = 0
                        while !asked.isEmpty {
                            let answers = try await ledger.store.enterLocks(asked, by: worker)
                            #expect(answers.allSatisfy { $0 == .waiting || $0 == .busy || $0.token != nil })
                            taken += answers.count { $0.token != nil }
                            asked = zip(asked, answers).filter { $1 == .busy }.map(\.0)
                        }
                        var open = questions.map { LockRequest(name: $0.name, request: $0.request) }
                        try await eventually("all to be let go") {
                            let left = try await ledger.store.leaveLocks(open, by: worker)
                            open = zip(open, left).filter { $1 == .busy }.map(\.0)
                            return open.isEmpty
                        }
                        return taken
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await ledger.count("gaia.lock") == 0)
            #expect(try await ledger.count("gaia.lock_waiter") == 0)
        }
    }

    @Test("A transaction left open on one name makes that name busy, and no other name of the batch")
    func openTransaction() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            try await ledger.pool.withTransaction { session in
                try await session.script("select gaia.lock_try('a', 'careless', interval '1 hour')")
                let answers = try await ledger.store.enterLocks(
                    ["a", "b"].enumerated().map {
                        LockQuestion(name: $1, request: Int64($0), holder: "", wait: Self.long)
                    }, by: worker)
                #expect(answers[0] == .busy)
                #expect(answers[1].token != nil)
                let error = await #expect(throws: PostgresError.self) {
                    _ = try await ledger.store.tryLock("a", holder: "x", lease: Self.long)
                }
                #expect(sqlState(error) == "55P03")
            }
            #expect(try await ledger.enter("a", 9, wait: Self.long, by: worker) == .waiting)
        }
    }

    @Test("So many may wait and no more")
    func crowded() async throws {
        try await Ledger.with { ledger in
            try await ledger.pool.script(
                "create or replace function gaia.lock_waiters_max() returns integer language sql as 'select 2'")
            let worker = try await ledger.worker()
            #expect(try await ledger.enter("n", 1, by: worker).token != nil)
            for request in 2...3 {
                #expect(try await ledger.enter("n", Int64(request), wait: Self.long, by: worker) == .waiting)
            }
            #expect(try await ledger.enter("n", 4, wait: Self.long, by: worker) == .crowded)
            let error = await #expect(throws: PostgresError.self) {
                _ = try await ledger.store.queueForLock("n", holder: "x", lease: Self.long, wait: Self.long)
            }
            #expect(sqlState(error) == "LK002")
            #expect(try await ledger.count("gaia.lock_waiter") == 2)
        }
    }

    @Test("An operator's release gives the lock to the next, and the former token is stale")
    func force() async throws {
        try await Ledger.with { ledger in
            let (store, worker) = (ledger.store, try await ledger.worker("w-1"))
            #expect(try await store.forceLock("n") == nil)
            let token = try #require(try await ledger.enter("n", 1, by: worker).token)
            #expect(try await ledger.enter("n", 2, wait: Self.long, by: worker) == .waiting)
            let record = try #require(try await store.locks().first)
            #expect((record.name, record.token, record.holder, record.worker) == ("n", token, "test/1", "w-1"))
            #expect((record.isLive, record.waiters) == (true, 1))
            #expect(try await store.forceLock("n", token: token + 100) == nil)
            let taken = try #require(try await store.forceLock("n", token: token))
            #expect((taken.token, taken.holder, taken.worker) == (token, "test/1", "w-1"))
            #expect((taken.heir, taken.heirToken) == ("test/2", token + 1))
            #expect(try await ledger.look("n", 2, by: worker) == .held(token: token + 1))
            #expect(try await ledger.look("n", 1, by: worker) == .gone)
            #expect(try await ledger.leave("n", 1, by: worker) == .left)
            #expect(try await store.locks().map(\.token) == [token + 1])
            #expect(try await store.locks(named: "other").isEmpty)
        }
    }
}

@Suite("Guarded writes", .timeLimit(.minutes(5)))
struct LockGuardTests {
    private static func check(_ ledger: Ledger, _ token: Int64) async throws {
        try await ledger.pool.withTransaction { try await FleetStore.checkLock("n", token: token, on: $0) }
    }

    private static func isStale(_ ledger: Ledger, _ token: Int64) async throws -> Bool {
        do {
            try await check(ledger, token)
            return false
        } catch let error as PostgresError where error.sqlState == FleetStore.staleTokenState {
            return true
        }
    }

    @Test("A token guards for as long as its lock lasts: release, expiry, a dead worker and force make it stale")
    func stale() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let released = try #require(try await ledger.store.tryLock("n", holder: "x", lease: .seconds(60)))
            #expect(try await !Self.isStale(ledger, released))
            #expect(try await Self.isStale(ledger, released + 1))
            #expect(try await ledger.store.unlock("n", token: released))
            #expect(try await Self.isStale(ledger, released))
            let expired = try #require(try await ledger.store.tryLock("n", holder: "x", lease: .seconds(60)))
            try await ledger.pool.script("update gaia.lock set expires_at = now()")
            #expect(try await Self.isStale(ledger, expired))
            let crashed = try #require(try await ledger.enter("n", 1, by: worker).token)
            #expect(try await !Self.isStale(ledger, crashed))
            // Nobody has asked for it yet.
            try await ledger.pool.script("update gaia.worker set lease_until = now()")
            #expect(try await Self.isStale(ledger, crashed))
            let forced = try #require(try await ledger.store.tryLock("n", holder: "x", lease: .seconds(60)))
            _ = try await ledger.store.forceLock("n")
            #expect(try await Self.isStale(ledger, forced))
        }
    }

    @Test("Until a guarded write commits nobody else gets the lock, though its holder died or was relieved")
    func outlasting() async throws {
        try await Ledger.with { ledger in
            let (one, two) = (try await ledger.worker("one"), try await ledger.worker("two"))
            let token = try #require(try await ledger.enter("n", 1, by: one).token)
            #expect(try await ledger.enter("n", 2, wait: .seconds(60), by: two) == .waiting)
            try await withThrowingTaskGroup(of: TakenLock?.self) { group in
                try await ledger.pool.withTransaction { session in
                    try await FleetStore.checkLock("n", token: token, on: session)
                    try await ledger.bury(one)
                    #expect(try await ledger.look("n", 2, by: two) == .waiting)
                    #expect(try await ledger.enter("n", 3, by: two) == .refused)
                    #expect(try await ledger.leave("n", 1, by: one) == .busy)
                    #expect(try await ledger.store.locks().map(\.isLive) == [false])
                    group.addTask { try await ledger.store.forceLock("n", token: token) }
                    try await eventually("the other to wait") {
                        try await ledger.count(
                            "pg_stat_activity where wait_event_type = 'Lock' and query like '%lock_force%'") == 1
                    }
                }
                let taken = try #require(try await group.next() ?? nil)
                #expect((taken.token, taken.heir) == (token, "test/2"))
            }
            #expect(try await ledger.look("n", 2, by: two).token == token + 1)
        }
    }

    @Test("A lease may be renewed while a guarded write is under way")
    func renewal() async throws {
        try await Ledger.with { ledger in
            let token = try #require(try await ledger.store.tryLock("n", holder: "x", lease: .seconds(60)))
            try await ledger.pool.withTransaction { session in
                try await FleetStore.checkLock("n", token: token, on: session)
                #expect(try await ledger.store.renewLock("n", token: token, lease: .seconds(600)))
            }
        }
    }
}

@Suite("Locks for other services", .timeLimit(.minutes(5)))
struct ForeignLockTests {
    @Test("A lease of one's own is renewed, expires, and is given back once")
    func lease() async throws {
        try await Ledger.with { ledger in
            let store = ledger.store
            let token = try #require(try await store.tryLock("n", holder: "billing", lease: .seconds(60)))
            #expect(try await store.renewLock("n", token: token, lease: .seconds(600)))
            #expect(try await store.locks().map(\.holder) == ["billing"])
            #expect(try await !store.renewLock("n", token: token + 1, lease: .seconds(60)))
            try await ledger.pool.script("update gaia.lock set expires_at = now()")
            #expect(try await !store.renewLock("n", token: token, lease: .seconds(60)), "what has ended is not revived")
            let next = try #require(try await store.tryLock("n", holder: "billing", lease: .seconds(60)))
            #expect(try await !store.unlock("n", token: token))
            #expect(try await store.unlock("n", token: next))
            #expect(try await !store.unlock("n", token: next))
        }
    }

    @Test("In line with the fleet's own jobs: a number has its turn, is told of it, and is void when it is given back")
    func line() async throws {
        try await Ledger.with { ledger in
            let (store, worker) = (ledger.store, try await ledger.worker())
            #expect(try await ledger.enter("n", 1, by: worker).token != nil)
            let first = try await store.queueForLock("n", holder: "x", lease: .seconds(60), wait: .seconds(60))
            let second = try await store.queueForLock("n", holder: "y", lease: .seconds(60), wait: .seconds(60))
            #expect(try await !store.hasTurn("n", number: first))
            #expect(try await store.unlock("n", token: first), "a place in line is given back like a lock")
            let error = await #expect(throws: PostgresError.self) { _ = try await store.hasTurn("n", number: first) }
            #expect(sqlState(error) == "LK001")
            let listener = PostgresListener(
                configuration: ledger.configuration, channels: ["gaia_lock"], logger: Ledger.logger)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await listener.run() }
                var heard = listener.notifications.makeAsyncIterator()
                #expect(await heard.next() == .reconnected)
                try await ledger.leave("n", 1, by: worker)
                #expect(await heard.next() == .message(channel: "gaia_lock", payload: "\(second)"))
                await listener.close()
                try await group.waitForAll()
            }
            #expect(try await store.hasTurn("n", number: second))
            #expect(try await store.renewLock("n", token: second, lease: .seconds(60)))
        }
    }

    @Test("What cannot be is refused with an SQLSTATE")
    func refusals() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let store = ledger.store
            func state(_ body: () async throws -> Void) async -> String? {
                do {
                    try await body()
                    return nil
                } catch { return sqlState(error) }
            }
            for name in ["", String(repeating: "n", count: 201)] {
                #expect(await state { _ = try await store.tryLock(name, holder: "x", lease: .seconds(1)) } == "22023")
            }
            for lease in [Duration.zero, .milliseconds(99), .seconds(86_401)] {
                #expect(await state { _ = try await store.tryLock("n", holder: "x", lease: lease) } == "22023")
            }
            let snapshot = await state {
                try await ledger.pool.withTransaction(isolation: .repeatableRead) { session in
                    try await session.script("select gaia.lock_try('n', 'x', interval '1 s')")
                }
            }
            #expect(snapshot == "LK003")
            #expect(try await ledger.count("gaia.lock") == 0)
        }
    }

    @Test("A role with usage of the schema can use the documented functions and nothing else")
    func rights() async throws {
        try await Ledger.with { ledger in
            let role = "service_" + String(UInt64.random(in: 0 ... .max), radix: 36)
            try await ledger.pool.script("create role \(role); grant usage on schema gaia to \(role)")
            try await ledger.pool.withConnection { session in
                try await session.script(
                    """
                    set role \(role);
                    do $$ declare number bigint; begin
                        number := gaia.lock_try('n', 'x', interval '1 minute');
                        perform gaia.lock_check('n', number), gaia.lock_renew('n', number, interval '1 minute');
                        perform gaia.lock_queue('n', 'y', interval '1 minute', interval '1 minute');
                        perform gaia.lock_turn('n', number), gaia.lock_release('n', number);
                    end $$;
                    """)
                for forbidden in ["gaia.lock", "gaia.lock_force('n', null)", "gaia.lock_leave(1, 1, '{n}', '{1}')"] {
                    let error = await #expect(throws: PostgresError.self) {
                        try await session.script("select * from \(forbidden)")
                    }
                    #expect(sqlState(error) == "42501", "\(forbidden)")
                }
                try await session.script("reset role")
            }
            try await ledger.pool.script("drop owned by \(role); drop role \(role)")
        }
    }
}
