import FleetStack
import Foundation
import PostgresClient
import TestPatience
import Testing

/// One after the other, on a server of their own that they may treat as they like.
@Suite("Outages", .serialized)
struct OutageTests {
    private let insert = PostgresStatement(name: "insert", sql: "insert into t values ($1)")
    private let count = PostgresStatement(name: "count", sql: "select count(*) from t")

    /// Gives `body` the suite's server, running, and the URL of a new database on it.
    private func withServer(_ body: @Sendable (PrivateDatabase, _ url: String) async throws -> Void) async throws {
        let server = try await OutageServer.running()
        let name = "outage_\(UUID().uuidString.prefix(8).lowercased())"
        let result = await Result { () async throws in try await body(server, try await server.createDatabase(name)) }
        if server.isRunning { try server.resume() }
        try result.get()
    }

    /// Retries what an outage may refuse, as a caller would, until it succeeds.
    private func retrying<R>(_ what: String, _ body: () async throws -> R) async throws -> R {
        var result: R?
        try await eventually(what) {
            do {
                result = try await body()
                return true
            } catch let error as PostgresError where error.isTransient { return false }
        }
        return try #require(result)
    }

    @Test("The pool, a listener and prepared statements recover from a restart and from an immediate stop")
    func restart() async throws {
        try await withServer { server, url in
            try await withPool(url, size: 3) { pool in
                var configuration = try PostgresConfiguration(url: url)
                configuration.backoff = PostgresBackoff(initial: .milliseconds(10), max: .milliseconds(100))
                let listener = PostgresListener(configuration: configuration, channels: ["jobs"], logger: quietLogger())
                let dedicated = PostgresDedicated(configuration: configuration, logger: quietLogger())
                async let listening: Void = listener.run()
                var heard = listener.notifications.makeAsyncIterator()
                #expect(await heard.next() == .reconnected)
                try await pool.script("create table t (id int primary key)")
                try await pool.execute(insert, [.int32(1)])
                try await dedicated.connect().execute(sql("select pg_advisory_lock(1)"))

                try await server.restart()
                #expect(await dedicated.closed() != nil)
                #expect(await heard.next() == .reconnected)
                #expect(
                    try await retrying("the pool works again") {
                        try await pool.execute(count).single().get(0, as: Int.self)
                    } == 1)
                try await pool.script("notify jobs, 'back'")
                #expect(await heard.next() == .message(channel: "jobs", payload: "back"))
                _ = try await dedicated.connect()

                try await server.stopImmediately()
                let absent = try await failure {
                    try await withPool(url, { $0.acquireTimeout = .milliseconds(100) }) { try await $0.execute(count) }
                }
                #expect(absent.kind == .unavailable)
                try await server.startAgain()
                #expect(await heard.next() == .reconnected)
                _ = try await retrying("a statement prepared before runs again") {
                    try await pool.execute(insert, [.int32(2)])
                }
                #expect(try await pool.execute(count).single().get(0) == 2)
                try await eventually("all connections are back") { pool.status.connected == 3 }
                await dedicated.close()
                await listener.close()
                try await listening
            }
        }
    }

    @Test("A pool that starts before its server waits for it")
    func startsFirst() async throws {
        try await withServer { server, url in
            try await server.stop()
            try await withPool(url) { pool in
                async let answer = pool.execute(sql("select 1"))
                try await eventually("it waits") { pool.status.waiting == 1 }
                try await server.startAgain()
                #expect(try await answer.single().get(0) == 1)
            }
        }
    }

    @Test("A statement under way when the server is killed has an unknown outcome, inside a transaction a certain one")
    func killed() async throws {
        try await withServer { server, url in
            try await withPool(url, size: 2) { pool in
                try await pool.script("create table t (id int primary key)")
                let begun = Signal()
                async let alone = failure { try await pool.execute(sql("insert into t select 1 from pg_sleep(60)")) }
                async let inside = failure {
                    try await pool.withTransaction { session in
                        try await session.execute(insert, [.int32(2)])
                        begun.set()
                        try await session.execute(sql("select pg_sleep(60)"))
                    }
                }
                await begun.wait()
                try await eventually("both run") {
                    try await server.psql(
                        "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and application_name = 'test' and state = 'active'"
                    ).hasPrefix("2")
                }
                try server.kill()
                #expect(try await alone.kind == .outcomeUnknown)
                #expect(try await inside.kind == .connectionLost)
                try await server.startAgain()
                #expect(
                    try await retrying("the pool works again") {
                        try await pool.execute(count).single().get(0, as: Int.self)
                    } == 0)
            }
        }
    }

    @Test("A commit whose answer is lost after it was applied is unknown too, and reading back finds it")
    func appliedButUnanswered() async throws {
        try await withServer { server, url in
            _ = try await server.psql("alter system set synchronous_standby_names = 'absent'")
            _ = try await server.psql("select pg_reload_conf()")
            // A commit is applied here and then waits for a standby that never comes; all but the one under test do not wait.
            try await withPool(url + "?options=-c%20synchronous_commit%3Dlocal", size: 2) { pool in
                try await pool.script("create table t (id int primary key)")
                let process = Signal.Value<Int32>()
                async let transaction = failure {
                    try await pool.withTransaction { session in
                        process.set(session.backendProcessID())
                        try await session.script("set local synchronous_commit = on")
                        try await session.execute(insert, [.int32(1)])
                    }
                }
                try await eventually("the commit waits for the standby") {
                    try await pool.execute(sql("select 1 from pg_stat_activity where wait_event = 'SyncRep'")).count
                        == 1
                }
                try await pool.terminate(try #require(process.value))
                #expect(try await transaction.kind == .outcomeUnknown)
                #expect(try await pool.execute(count).single().get(0) == 1)
            }
            _ = try await server.psql("alter system reset synchronous_standby_names")
            _ = try await server.psql("select pg_reload_conf()")
        }
    }

    @Test("A server that stops answering is given up in time, and used again once it goes on")
    func paused() async throws {
        try await withServer { server, url in
            try await withPool(
                url, size: 2,
                {
                    $0.statementTimeout = .milliseconds(500)
                    $0.answerMargin = .milliseconds(500)
                    $0.connectTimeout = .milliseconds(500)
                    $0.cancelTimeout = .milliseconds(300)
                    $0.acquireTimeout = .seconds(2)
                }
            ) { pool in
                try await pool.script("create table t (id int primary key)")
                try await eventually("both are connected") { pool.status.connected == 2 }
                var configuration = try PostgresConfiguration(url: url)
                configuration.probeInterval = .milliseconds(200)
                configuration.answerMargin = .milliseconds(200)
                configuration.statementTimeout = .milliseconds(200)
                let dedicated = PostgresDedicated(configuration: configuration, logger: quietLogger())
                _ = try await dedicated.connect()

                try await server.pause()
                let begin = ContinuousClock.now
                let unanswered = try await failure { try await pool.execute(insert, [.int32(1)]) }
                #expect(unanswered.kind == .outcomeUnknown)
                #expect(unanswered.message.contains("not answered"))
                try await eventually("the first is given up") { pool.status.connected == 1 && pool.status.busy == 0 }
                // A cancelled task does not wait for the statement timeout.
                let cancelled = Task { try await pool.execute(insert, [.int32(2)]) }
                try await eventually("it was sent") { pool.status.busy == 1 }
                cancelled.cancel()
                let given = try await failure { try await cancelled.value }
                #expect(given.kind == .outcomeUnknown, "\(given)")
                #expect(await dedicated.closed() != nil)
                let refused = try await failure { try await pool.execute(insert, [.int32(3)]) }
                #expect(refused.kind == .unavailable)
                #expect(ContinuousClock.now - begin < .seconds(15))

                try server.resume()
                let applied = try await retrying("the pool works again") {
                    try await pool.execute(count).single().get(0, as: Int.self)
                }
                #expect(applied <= 2)
            }
        }
    }

    @Test("Closing does not wait for a server that is stopped")
    func closeWhilePaused() async throws {
        try await withServer { server, url in
            try await withPool(url, size: 1, { $0.closeTimeout = .milliseconds(200) }) { pool in
                try await pool.script("create table t (id int primary key)")
                try await server.pause()
                async let lost = failure { try await pool.execute(insert, [.int32(1)]) }
                try await eventually("it was sent") { pool.status.busy == 1 }
                let begin = ContinuousClock.now
                await pool.close()
                #expect(ContinuousClock.now - begin < .seconds(10))
                #expect(try await lost.kind == .outcomeUnknown)
                try server.resume()
            }
        }
    }
}

/// The suite's server: started by the first test, started again by a test that finds it down, gone with the process.
private enum OutageServer {
    private static let starting = Task {
        // Not made here: the server's user must be able to pass through it, and the server sees to that.
        let directory = "/tmp/pgclient-\(UUID().uuidString.prefix(8))"
        return (try await PrivateDatabase.start(.init(directory: directory)), directory)
    }
    private static let made = Signal.Value<(PrivateDatabase, String)>()

    static func running() async throws -> PrivateDatabase {
        let (server, directory) = try await starting.value
        if made.value == nil {
            made.set((server, directory))
            // No suite has an end of its own to clean up at.
            atexit {
                guard let (server, directory) = OutageServer.made.value else { return }
                try? server.kill()
                try? FileManager.default.removeItem(atPath: directory)
            }
        }
        if !server.isRunning { try await server.startAgain() }
        return server
    }
}
