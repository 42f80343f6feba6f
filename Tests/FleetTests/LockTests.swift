import FleetModel
import FleetStack
import FleetStore
import FleetTestKit
import FleetWorker
import Foundation
import Glibc
import PostgresClient
import TestPatience
import Testing

/// `withLock` in a worker of this process.
@Suite("Locks in handlers", .timeLimit(.minutes(5)))
struct HandlerLockTests {
    private struct Broken: Error {}

    @Test("Jobs of two workers hold one lock one after the other, each under a higher token")
    func exclusive() async throws {
        let inside = Watched((now: 0, most: 0, tokens: [Int64]()))
        let definition = Work.definition(Recorder()) { work, context in
            try await context.withLock("one", within: .seconds(60)) { lock in
                inside.update {
                    $0.now += 1
                    $0.most = max($0.most, $0.now)
                    $0.tokens.append(lock.token)
                }
                for _ in 0..<20 { await Task.yield() }
                inside.update { $0.now -= 1 }
                return work.text
            }
        }
        try await TestFleet.use(workers: 2, definitions: [definition]) { fleet in
            for number in 0..<30 { try await fleet.enqueue(Work("x"), key: "k\(number)") }
            for number in 0..<30 {
                #expect(try await fleet.mailbox.reply("k\(number)").outcome == "succeeded")
            }
            #expect(try await fleet.store.locks().isEmpty)
        }
        #expect(inside.value.most == 1)
        #expect(inside.value.tokens.count == 30)
        #expect(inside.value.tokens == inside.value.tokens.sorted())
    }

    @Test("A handler that throws, and one that is out of time, have given their locks back")
    func released() async throws {
        let recorder = Recorder()
        let definition = Work.definition(recorder, retry: .never, timeout: .milliseconds(500)) { work, context in
            try await context.withLock("one") { _ in
                if work.text == "throws" { throw Broken() }
                if work.text == "hangs" { try await Gate().pass() }
                return work.text
            }
        }
        try await TestFleet.use(definitions: [definition]) { fleet in
            for text in ["throws", "hangs", "fine"] {
                try await fleet.enqueue(Work(text), key: text)
                #expect(try await fleet.mailbox.reply(text).outcome == (text == "fine" ? "succeeded" : "discarded"))
                try await eventually("the lock to be free") { try await fleet.store.locks().isEmpty }
            }
        }
    }

    @Test("A job that does not get its lock in time comes again later and has spent no attempt")
    func busy() async throws {
        let definition = Work.definition(Recorder(), retry: RetryPolicy(attemptsMax: 1)) { work, context in
            try await context.withLock("one", within: .milliseconds(200)) { _ in work.text }
        }
        try await TestFleet.use(dispatchers: 1, definitions: [definition]) { fleet in
            let token = try #require(try await fleet.store.tryLock("one", holder: "test", lease: .seconds(600)))
            try await fleet.enqueue(Work("x"), key: "k")
            try await eventually("the job to be tried again") { () -> Bool in
                guard let job = try await fleet.job("k") else { return false }
                return job.errors.contains("lock.busy") && job.token >= 2
            }
            try await fleet.store.unlock("one", token: token)
            let reply = try await fleet.mailbox.reply("k")
            #expect(reply.outcome == "succeeded")
            #expect(reply.attempt == 1)
        }
    }

    @Test("A handler given up as stubborn keeps its lock until it ends")
    func stubborn() async throws {
        let gate = Gate()
        let recorder = Recorder()
        let definition = Work.definition(recorder, retry: .never, timeout: .milliseconds(200)) { work, context in
            try await context.withLock("one") { _ in
                await gate.passStubbornly()
                return work.text
            }
        }
        try await TestFleet.use(definitions: [definition]) { fleet in
            try await fleet.enqueue(Work("x"), key: "k")
            #expect(try await fleet.mailbox.reply("k").outcome == "discarded")
            #expect(try await fleet.store.locks().map(\.holder) == ["test/k"])
            gate.open()
            try await eventually("the lock to be free") { try await fleet.store.locks().isEmpty }
        }
    }

    @Test("A worker that drains lets its jobs have their locks, and leaves none behind")
    func drained() async throws {
        let recorder = Recorder()
        let definition = Work.definition(recorder) { work, context in
            try await context.withLock("one", within: .seconds(60)) { _ in work.text }
        }
        // Its state is written with its lease, every third of it.
        try await TestFleet.use(definitions: [definition], configure: { $0.lease = .seconds(3) }) { fleet in
            let token = try #require(try await fleet.store.tryLock("one", holder: "test", lease: .seconds(600)))
            try await fleet.enqueue(Work("x"), key: "k")
            try await eventually("the job to wait") { try await fleet.store.locks().map(\.waiters) == [1] }
            try await withThrowingTaskGroup(of: Int.self) { group in
                group.addTask { try await fleet.leftover() }
                try await eventually("the worker to drain") {
                    try await fleet.store.workers().map(\.state) == ["draining"]
                }
                try await fleet.store.unlock("one", token: token)
                #expect(try await group.next() == 0)
            }
            #expect(try await fleet.mailbox.reply("k").outcome == "succeeded")
            #expect(try await fleet.store.locks().isEmpty)
        }
    }
}

/// Worker processes that die or stall while their jobs hold locks.
@Suite("Locks of processes that end", .serialized, .timeLimit(.minutes(5)))
struct LockCrashTests {
    private struct Effect: Equatable {
        var key: String
        var token: Int64
        var refused: Bool
    }

    /// The test's own side of the locking service.
    private struct Scene: Sendable {
        let fleet: TestFleet
        let pool: PostgresPool

        func make() async throws {
            try await pool.script(
                """
                create table public.held (id bigint generated always as identity, key text, token bigint);
                create table public.gate (key text);
                create table public.effect (id bigint generated always as identity, key text, token bigint, refused text);
                """)
        }

        func enqueue(_ key: String, _ type: JobType = "test.guarded.v1") async throws {
            try await fleet.enqueue([
                Job(
                    type: type, key: key, payload: Array(#"{"lock":"ledger"}"#.utf8),
                    replyTo: fleet.mailbox.replyQueue)
            ])
        }

        func open(_ key: String) async throws { try await pool.script("insert into public.gate values ('\(key)')") }

        /// The token under which the job holds the lock, for the `times`th time.
        func held(_ key: String, times: Int = 1) async throws -> Int64 {
            try await eventually("\(key) to hold the lock, time \(times)", within: .seconds(60)) {
                let rows = try await pool.execute(
                    PostgresStatement(
                        name: "test-held", sql: "select token from public.held where key = $1 order by id"),
                    [.text(key)])
                return rows.count >= times ? try rows[times - 1].get(0, as: Int64.self) : nil
            }
        }

        func effects() async throws -> [Effect] {
            try await pool.execute(
                PostgresStatement(
                    name: "test-effects", sql: "select key, token, refused is not null from public.effect order by id")
            ).map { Effect(key: try $0.get(0), token: try $0.get(1), refused: try $0.get(2)) }
        }

        func waiters(_ count: Int) async throws {
            try await eventually("\(count) to wait") { try await fleet.store.locks().first?.waiters == count }
        }
    }

    private func service(
        _ fleet: TestFleet, _ name: String, _ settings: [String: String] = [:]
    ) async throws -> ChildProcess {
        let process = try Program.start(
            try Program.path("locking-service"), [],
            environment: fleet.place.environment.merging(["GAIA_WORKER_NAME": name]) { $1 }.merging(settings) { $1 })
        let isReady = try await process.awaitOutput(containing: "\(name) serves", within: patienceOfTests)
        try #require(isReady, "\(process.capturedOutput)")
        return process
    }

    private func play(_ body: (Scene, ProgramGroup) async throws -> Void) async throws {
        try await TestFleet.use(workers: 0) { fleet in
            try await fleet.place.withPool { pool in
                let scene = Scene(fleet: fleet, pool: pool)
                try await scene.make()
                try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                    _ = try await programs.serve("dispatcher", "dispatcher")
                    try await body(scene, programs)
                }
            }
        }
    }

    @Test("A worker is killed while its job holds a lock: who waits has it within seconds, under a higher token")
    func killed() async throws {
        try await play { scene, _ in
            let first = try await service(scene.fleet, "first", ["GAIA_WORKER_SUBSYSTEMS": "test"])
            try await scene.enqueue("a")
            let lost = try await scene.held("a")
            let second = try await service(scene.fleet, "second")
            try await scene.enqueue("b", "other.guarded.v1")
            try await scene.waiters(1)
            let killedAt = ContinuousClock.now
            try first.signal(SIGKILL)
            let token = try await scene.held("b")
            #expect(token > lost)
            #expect(ContinuousClock.now - killedAt < .seconds(10))
            for key in ["b", "a"] {
                try await scene.open(key)
                #expect(try await scene.fleet.mailbox.reply(key).outcome == "succeeded")
            }
            let effects = try await scene.effects()
            #expect(effects.map(\.key) == ["b", "a"])
            #expect(effects[1].token > token && !effects.contains(where: \.refused))
            #expect(try await second.stop(grace: .seconds(30)) == .exited(0))
            #expect(try await scene.fleet.store.locks().isEmpty)
        }
    }

    @Test("A worker stopped past its lease goes on as if it held the lock: its guarded write is refused")
    func stalled() async throws {
        try await play { scene, _ in
            // The broker gives up a silent connection after two heartbeats.
            let url = "\(scene.fleet.place.amqpURL)?heartbeat=2"
            let first = try await service(
                scene.fleet, "first",
                ["GAIA_WORKER_SUBSYSTEMS": "test", "GAIA_WORKER_LEASE_MS": "2000", "GAIA_AMQP_URL": url])
            try await scene.enqueue("a")
            let stale = try await scene.held("a")
            let second = try await service(scene.fleet, "second")
            try await scene.enqueue("b", "other.guarded.v1")
            try await scene.waiters(1)
            #expect(try await first.pause())
            let token = try await scene.held("b")
            #expect(token > stale)
            try await scene.open("a")
            try first.signal(SIGCONT)
            try await eventually("the stale write") { try await !scene.effects().isEmpty }
            #expect(try await scene.effects() == [Effect(key: "a", token: stale, refused: true)])
            try await scene.open("b")
            for key in ["b", "a"] {
                #expect(try await scene.fleet.mailbox.reply(key, within: .seconds(60)).outcome == "succeeded")
            }
            let effects = try await scene.effects()
            #expect(effects.filter { !$0.refused }.map(\.key) == ["b", "a"])
            #expect(effects.filter { !$0.refused }.map(\.token).min() == token)
            for process in [first, second] { #expect(try await process.stop(grace: .seconds(30)) == .exited(0)) }
            #expect(try await scene.fleet.store.locks().isEmpty)
        }
    }

    @Test("An operator sees a lock, takes it away, and the holder's guarded write is refused")
    func forced() async throws {
        try await play { scene, _ in
            func gaia(_ arguments: String...) async throws -> (status: ChildProcess.ExitStatus, output: String) {
                try await Program.run(
                    try Program.gaia, ["lock"] + arguments, environment: scene.fleet.place.environment)
            }
            #expect(try await gaia("list").output == "no lock is held\n")
            #expect(try await gaia("release", "ledger").status == .exited(66))
            let service = try await service(scene.fleet, "first")
            try await scene.enqueue("a")
            let token = try await scene.held("a")
            try await scene.enqueue("b")
            try await scene.waiters(1)

            let list = try JSONValue(Array(try await gaia("list", "--json").output.utf8))
            #expect(list[0]?["name"] == .string("ledger"))
            #expect(list[0]?["token"]?.int.map(Int64.init) == token)
            #expect(list[0]?["holder"] == .string("test/a"))
            #expect(list[0]?["worker"] == .string("first"))
            #expect(list[0]?["waiters"]?.int == 1)
            #expect(list[0]?["live"] == .bool(true))
            let table = try await gaia("list").output
            #expect(table.contains("ledger") && table.contains("test/a") && table.contains("WAITERS"))
            let wrong = try await gaia("release", "ledger", "--token", "\(token + 1)")
            #expect(wrong.status == .exited(66) && wrong.output.contains("test/a has token \(token)"))

            let release = try await gaia("release", "ledger", "--token", "\(token)")
            #expect(release.status == .exited(0))
            #expect(release.output.contains("taken from test/a on first: token \(token)"))
            #expect(release.output.contains("now held by test/b"))
            #expect(try await scene.held("b") > token)
            try await scene.open("a")
            try await eventually("the stale write") { try await !scene.effects().isEmpty }
            #expect(try await scene.effects() == [Effect(key: "a", token: token, refused: true)])
            try await scene.open("b")
            #expect(try await scene.fleet.mailbox.reply("b").outcome == "succeeded")
            #expect(try await scene.fleet.mailbox.reply("a", within: .seconds(60)).outcome == "succeeded")
            #expect(try await service.stop(grace: .seconds(30)) == .exited(0))
        }
    }
}

/// What docs/locks.md and docs/examples tell other services to do, as it stands there.
@Suite("Examples of locks", .timeLimit(.minutes(5)))
struct LockExampleTests {
    @Test("The session of psql in docs/locks.md runs as it is printed, and its write is guarded")
    func session() async throws {
        let page = try String(contentsOfFile: "\(Program.root)/docs/locks.md", encoding: .utf8)
        let blocks = page.components(separatedBy: "```sql\n").dropFirst().compactMap {
            $0.components(separatedBy: "```").first
        }
        #expect(blocks.count == 1)
        try await Isolated.use { (place: Isolated) async throws -> Void in
            let file = "\(temporaryDirectory("docs")).sql"
            defer { unlink(file) }
            func run(_ script: String) async throws -> (status: ChildProcess.ExitStatus, output: String) {
                try script.write(toFile: file, atomically: true, encoding: .utf8)
                return try await Program.run("psql", [place.databaseURL, "-X", "-v", "ON_ERROR_STOP=1", "-f", file])
            }
            let table = "create table report (month text, total integer);\n"
            let good = try await run(table + blocks.joined())
            #expect(good.status == .exited(0), "\(good.output)")
            try await place.withPool { (pool: PostgresPool) async throws -> Void in
                let rows = try await pool.execute(
                    PostgresStatement(name: "test-report", sql: "select count(*) from report"))
                #expect(try rows.single().get(0, as: Int64.self) == 1)
            }
            // Somebody takes the lock away before the write.
            let forced = blocks.joined().replacing(
                "begin;", with: "select * from gaia.lock_force('report/2024-11', null);\nbegin;")
            let stale = try await run(forced)
            #expect(stale.status == .exited(3))
            #expect(stale.output.contains("the lock 'report/2024-11' is not held under token"))
        }
    }

    @Test("Commands under docs/examples/with-lock.sh run one after the other, with rising tokens, and leave no lock")
    func script() async throws {
        try await Isolated.use { (place: Isolated) async throws -> Void in
            let directory = temporaryDirectory("script")
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            // A second command in at the same time would find the directory of the first.
            let command =
                "mkdir \(directory)/inside && echo token $GAIA_LOCK_TOKEN && sleep 0.2 && rmdir \(directory)/inside"
            let outputs = try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        let run = try await Program.run(
                            "bash", ["\(Program.root)/docs/examples/with-lock.sh", "it's one", "sh", "-c", command],
                            environment: ["GAIA_DATABASE_URL": place.databaseURL])
                        #expect(run.status == .exited(0), "\(run.output)")
                        return run.output
                    }
                }
                return try await group.reduce(into: [String]()) { $0.append($1) }
            }
            try FileManager.default.removeItem(atPath: directory)
            #expect(Set(outputs).count == 4, "\(outputs)")
            #expect(outputs.allSatisfy { $0.hasPrefix("token ") })
            try await place.withStore { (store: FleetStore) async throws -> Void in
                #expect(try await store.locks().isEmpty)
            }
            let failed = try await Program.run(
                "bash", ["\(Program.root)/docs/examples/with-lock.sh", "other", "sh", "-c", "exit 7"],
                environment: ["GAIA_DATABASE_URL": place.databaseURL])
            #expect(failed.status == .exited(7))
        }
    }
}
