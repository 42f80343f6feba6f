import FleetModel
import FleetStore
import FleetTestKit
import FleetWorker
import PostgresClient
import Synchronization
import TestPatience
import Testing

/// Workers without a broker, for their locks alone.
private struct Crew: Sendable {
    struct Member: Sendable {
        let keeper: LockKeeper
        let owner: WorkerEpoch

        func claimant(_ key: String) -> LockClaimant {
            LockClaimant(job: JobIdentity(subsystem: "test", key: key), token: 1, owner: owner)
        }

        func acquire(_ name: String, as key: String, within limit: Duration = .seconds(60)) async throws -> Int64 {
            try await keeper.acquire(name, for: claimant(key), within: limit)
        }

        func release(_ name: String, as key: String) async { await keeper.release(name, for: claimant(key)) }
    }

    let members: [Member]
    let store: FleetStore
    let pool: PostgresPool

    /// - Parameters:
    ///   - poll: long where a test is about hints.
    ///   - deaf: whether the keepers' listeners find no server.
    static func use(
        _ count: Int = 1, poll: Duration = .seconds(1), deaf: Bool = false, _ body: (Crew) async throws -> Void
    ) async throws {
        try await Isolated.use { place in
            var configuration = FleetStore.keyed(place.database)
            configuration.poolSize = 4
            var listening = configuration
            if deaf { listening = try PostgresConfiguration(url: "postgres://nobody@127.0.0.1:1/nothing") }
            try await withPool(configuration) { pool in
                let store = FleetStore(pool: pool)
                var members: [Member] = []
                for number in 1...count {
                    let card = WorkerCard(
                        name: "w\(number)", host: "test", processID: 1, subsystems: ["test"], slots: 1)
                    members.append(
                        Member(
                            keeper: LockKeeper(store: store, database: listening, poll: poll, logger: testLogger),
                            owner: try await store.register(card, lease: .seconds(3_600))))
                }
                let running = Task { [members] in
                    await withDiscardingTaskGroup { group in
                        for member in members {
                            group.addTask { await member.keeper.run(worker: member.owner.worker) }
                        }
                    }
                }
                let result: Result<Void, any Error>
                do {
                    result = .success(try await body(Crew(members: members, store: store, pool: pool)))
                } catch { result = .failure(error) }
                for member in members { member.keeper.end() }
                running.cancel()
                await running.value
                try result.get()
            }
        }
    }

    func count(_ table: String) async throws -> Int {
        try await pool.execute(PostgresStatement(name: "test-count-\(table)", sql: "select count(*) from \(table)"))
            .single().get(0)
    }

    func awaitWaiters(_ count: Int) async throws {
        try await eventually("\(count) to wait") { try await self.count("gaia.lock_waiter") == count }
    }
}

@Suite("Waiting for locks", .timeLimit(.minutes(5)))
struct LockKeeperTests {
    /// What is known of a lock outside of the database.
    private final class Witness: Sendable {
        struct Seen {
            var holders = 0
            var together = 0
            var tokens: [Int64] = []
            var turns: [String: Int] = [:]
            var leastWhenFirstWasDone = 0
        }

        let seen = Mutex(Seen())

        func enter(_ key: String, _ token: Int64, of rounds: Int, among count: Int) {
            seen.withLock { seen in
                seen.holders += 1
                seen.together = max(seen.together, seen.holders)
                seen.tokens.append(token)
                seen.turns[key, default: 0] += 1
                if seen.turns[key] == rounds, seen.leastWhenFirstWasDone == 0 {
                    seen.leastWhenFirstWasDone = seen.turns.count < count ? 0 : seen.turns.values.min() ?? 0
                }
            }
        }

        func leave() { seen.withLock { $0.holders -= 1 } }
    }

    @Test("A hundred contenders of four workers: one at a time, tokens rising, and nobody starves")
    func contention() async throws {
        let (count, rounds) = (100, 5)
        let witness = Witness()
        try await Crew.use(4) { crew in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<count {
                    let (member, key) = (crew.members[number % 4], "job-\(number)")
                    group.addTask {
                        for _ in 0..<rounds {
                            let token = try await member.acquire("n", as: key)
                            witness.enter(key, token, of: rounds, among: count)
                            // Room for another to come in, if it could.
                            for _ in 0..<10 { await Task.yield() }
                            witness.leave()
                            await member.release("n", as: key)
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await crew.count("gaia.lock") == 0)
            #expect(try await crew.count("gaia.lock_waiter") == 0)
        }
        let seen = witness.seen.withLock { $0 }
        #expect(seen.together == 1)
        #expect(seen.tokens.count == count * rounds)
        #expect(seen.tokens == Set(seen.tokens).sorted())
        // In a line all have had it as often as the first, but for those who asked a little later.
        #expect(seen.leastWhenFirstWasDone >= rounds - 2)
    }

    @Test("A wait ends with its time, and leaves no place in line")
    func timeout() async throws {
        try await Crew.use(2) { crew in
            let (one, two) = (crew.members[0], crew.members[1])
            _ = try await one.acquire("n", as: "holder")
            let begin = ContinuousClock.now
            let error = await #expect(throws: LockError.self) {
                _ = try await two.acquire("n", as: "late", within: .milliseconds(700))
            }
            let waited = ContinuousClock.now - begin
            guard case .busy("n", _) = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(waited >= .milliseconds(700) && waited < .seconds(10))
            try await crew.awaitWaiters(0)
            await #expect(throws: LockError.self) { _ = try await two.acquire("n", as: "now", within: .zero) }
            await one.release("n", as: "holder")
            _ = try await two.acquire("n", as: "now", within: .zero)
        }
    }

    @Test("Who is cancelled while waiting leaves no place in line, and does not get the lock")
    func cancelled() async throws {
        try await Crew.use { crew in
            let member = crew.members[0]
            _ = try await member.acquire("n", as: "holder")
            let waiting = Task { try await member.acquire("n", as: "cancelled") }
            try await crew.awaitWaiters(1)
            waiting.cancel()
            await #expect(throws: CancellationError.self) { _ = try await waiting.value }
            try await crew.awaitWaiters(0)
            await member.release("n", as: "holder")
            #expect(try await crew.count("gaia.lock") == 0)
        }
    }

    @Test("Of a hundred that are cancelled at any moment none keeps the lock or a place in line")
    func cancelledAnytime() async throws {
        try await Crew.use(2) { crew in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<100 {
                    let (member, key) = (crew.members[number % 2], "job-\(number)")
                    let task = Task {
                        _ = try await member.acquire("n", as: key)
                        await member.release("n", as: key)
                    }
                    group.addTask {
                        for _ in 0..<(number * 20) { await Task.yield() }
                        task.cancel()
                        do { try await task.value } catch is CancellationError {}
                    }
                }
                try await group.waitForAll()
            }
            _ = try await crew.members[0].acquire("n", as: "after")
            try await crew.awaitWaiters(0)
        }
    }

    @Test("A waiter hears of its turn long before it would look for it")
    func hint() async throws {
        try await Crew.use(2, poll: .seconds(3_600)) { crew in
            let (one, two) = (crew.members[0], crew.members[1])
            for round in 0..<5 {
                _ = try await one.acquire("n", as: "holder")
                let waiting = Task { try await two.acquire("n", as: "waiter-\(round)") }
                try await crew.awaitWaiters(1)
                await one.release("n", as: "holder")
                _ = try await waiting.value
                await two.release("n", as: "waiter-\(round)")
            }
        }
    }

    @Test("Two jobs of one worker pass a lock on without a notification")
    func within() async throws {
        try await Crew.use(poll: .seconds(3_600), deaf: true) { crew in
            let member = crew.members[0]
            _ = try await member.acquire("n", as: "a")
            let waiting = Task { try await member.acquire("n", as: "b") }
            try await crew.awaitWaiters(1)
            await member.release("n", as: "a")
            #expect(try await waiting.value > 0)
        }
    }

    @Test("Without a listening connection a waiter gets its lock by looking")
    func deaf() async throws {
        try await Crew.use(2, poll: .milliseconds(200), deaf: true) { crew in
            let (one, two) = (crew.members[0], crew.members[1])
            _ = try await one.acquire("n", as: "holder")
            let waiting = Task { try await two.acquire("n", as: "waiter") }
            try await crew.awaitWaiters(1)
            await one.release("n", as: "holder")
            _ = try await waiting.value
        }
    }

    @Test("A listening connection that is cut listens again, and what was said meanwhile is looked up")
    func cut() async throws {
        try await Crew.use(2, poll: .seconds(3_600)) { crew in
            let (one, two) = (crew.members[0], crew.members[1])
            _ = try await one.acquire("n", as: "holder")
            let waiting = Task { try await two.acquire("n", as: "waiter") }
            let listeners = "pg_stat_activity where application_name = 'gaia locks' and query like 'LISTEN%'"
            try await eventually("the waiter to listen") { try await crew.count(listeners) == 1 }
            // Both in one statement: the notification is sent while nobody listens.
            try await crew.pool.script(
                """
                select pg_terminate_backend(pid) from \(listeners);
                select * from gaia.lock_leave(\(one.owner.worker), \(one.owner.epoch), '{n}', '{1}');
                """)
            _ = try await waiting.value
        }
    }

    @Test("A job that asks for what it has gets an error; another job of the same worker waits")
    func nested() async throws {
        try await Crew.use { crew in
            let member = crew.members[0]
            let first = try await member.acquire("n", as: "a")
            await #expect(throws: LockError.nested(name: "n")) { _ = try await member.acquire("n", as: "a") }
            let other = Task { try await member.acquire("n", as: "b") }
            try await crew.awaitWaiters(1)
            await member.release("n", as: "a")
            #expect(try await other.value > first)
        }
    }

    @Test("Under an epoch that has ended nothing is had, and the worker is told")
    func fenced() async throws {
        try await Crew.use { crew in
            let member = crew.members[0]
            let waiting = try await {
                _ = try await member.acquire("n", as: "a")
                return Task { try await member.acquire("n", as: "b") }
            }()
            try await crew.awaitWaiters(1)
            _ = try await crew.store.beginEpoch(worker: member.owner.worker, lease: .seconds(60))
            await #expect(throws: LockError.fenced(name: "n")) { _ = try await waiting.value }
            await #expect(throws: LockError.fenced(name: "m")) { _ = try await member.acquire("m", as: "a") }
        }
    }

    @Test("A database that goes for a while costs neither lock nor place in line, and nothing is left held")
    func outage() async throws {
        try await Crew.use(2) { crew in
            let (one, two) = (crew.members[0], crew.members[1])
            _ = try await one.acquire("n", as: "holder")
            let waiting = Task { try await two.acquire("n", as: "waiter") }
            try await crew.awaitWaiters(1)
            let cutting = Task {
                for _ in 0..<10 {
                    _ = try? await crew.pool.script(
                        """
                        select pg_terminate_backend(pid) from pg_stat_activity
                        where datname = current_database() and pid <> pg_backend_pid()
                        """)
                }
            }
            await one.release("n", as: "holder")
            _ = try await waiting.value
            await cutting.value
            await two.release("n", as: "waiter")
            try await eventually("nothing to be held") {
                (try? await crew.count("gaia.lock")) == 0
            }
        }
    }
}
