import Glibc
import Logging
import PostgresClient
import Synchronization
import Testing

/// The shared server; a test makes a database of its own there.
func sharedServerURL() throws -> String {
    let url = try #require(getenv("GAIA_TEST_DATABASE_URL"), "GAIA_TEST_DATABASE_URL names no PostgreSQL server")
    return String(cString: url)
}

/// The same server and user, another database.
func url(_ url: String, database: String) -> String {
    String(url[..<(url.lastIndex(of: "/") ?? url.endIndex)]) + "/" + database
}

func quietLogger() -> Logger { Logger(label: "test") { _ in SwiftLogNoOpLogHandler() } }

func sql(_ text: String) -> PostgresStatement { PostgresStatement(name: String(text.prefix(40)), sql: text) }

/// Runs `body` with a pool that is connected to `url` and closes it afterwards.
func withPool<R: Sendable>(
    _ url: String, size: Int = 2, _ adjust: (inout PostgresConfiguration) -> Void = { _ in },
    _ body: @Sendable (PostgresPool) async throws -> R
) async throws -> R {
    var configuration = try PostgresConfiguration(url: url)
    configuration.poolSize = size
    configuration.applicationName = "test"
    configuration.backoff = PostgresBackoff(initial: .milliseconds(10), max: .milliseconds(100))
    adjust(&configuration)
    let pool = PostgresPool(configuration: configuration, logger: quietLogger())
    async let running: Void = pool.run()
    do {
        let result = try await body(pool)
        await pool.close()
        try await running
        return result
    } catch {
        await pool.close()
        // If the pool gave up, that is what the body has run into.
        try await running
        throw error
    }
}

extension Result where Failure == any Error {
    init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}

/// How many test databases exist at once: the server's connections are few.
private let places = Places(6)

/// Runs `body` with a new database on the shared server and a pool connected to it.
func withDatabase<R: Sendable>(
    size: Int = 2, _ adjust: (inout PostgresConfiguration) -> Void = { _ in },
    _ body: @Sendable (PostgresPool, _ url: String) async throws -> R
) async throws -> R {
    try await places.withPlace {
        let server = try sharedServerURL()
        let name = "pgtest_\(getpid())_\(databaseNumber.add(1, ordering: .relaxed).newValue)"
        try await withPool(server, size: 1) { try await $0.script("CREATE DATABASE \(name)") }
        let own = url(server, database: name)
        let result = await Result { () async throws in
            try await withPool(own, size: size, adjust) { try await body($0, own) }
        }
        try await withPool(server, size: 1) { try await $0.script("DROP DATABASE \(name) WITH (FORCE)") }
        return try result.get()
    }
}

private let databaseNumber = Atomic<Int>(0)

actor Places {
    private var free: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []
    init(_ count: Int) { free = count }

    nonisolated func withPlace<R>(_ body: () async throws -> R) async throws -> R {
        await take()
        let result = await Result { () async throws in try await body() }
        await giveBack()
        return try result.get()
    }

    private func take() async {
        if free > 0 {
            free -= 1
        } else {
            await withCheckedContinuation { waiting.append($0) }
        }
    }

    private func giveBack() {
        if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() }
    }
}

struct NeverHappened: Error, CustomStringConvertible {
    let description: String
}

/// The error `body` throws.
func failure<R>(_ body: () async throws -> R) async throws -> PostgresError {
    do {
        _ = try await body()
    } catch let error as PostgresError {
        return error
    }
    throw NeverHappened(description: "no error was thrown")
}

extension PostgresPool {
    /// Whether some session of this database waits for the advisory lock `key`.
    func someoneWaits(forLock key: Int64) async throws -> Bool {
        let rows = try await execute(
            sql("select 1 from pg_locks where locktype = 'advisory' and not granted and objid = $1::int8::oid"),
            [.int64(key)])
        return !rows.isEmpty
    }

    func terminate(_ process: Int32) async throws {
        try await execute(sql("select pg_terminate_backend($1)"), [.int32(process)])
    }
}

/// Set once, waited for by any number.
final class Signal: Sendable {
    private let state = Mutex<(isSet: Bool, waiting: [CheckedContinuation<Void, Never>])>((false, []))

    var isSet: Bool { state.withLock { $0.isSet } }

    func set() {
        let waiting = state.withLock { state in
            state.isSet = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    func wait() async {
        await withCheckedContinuation { continuation in
            let isSet = state.withLock { state in
                if !state.isSet { state.waiting.append(continuation) }
                return state.isSet
            }
            if isSet { continuation.resume() }
        }
    }
}

extension Signal {
    /// A value one task leaves for another.
    final class Value<Content: Sendable>: Sendable {
        private let content = Mutex<Content?>(nil)
        var value: Content? { content.withLock { $0 } }
        func set(_ value: Content) { content.withLock { $0 = value } }
    }
}

/// What happened, in order, from any task.
final class Journal<Entry: Sendable>: Sendable {
    private let state = Mutex<[Entry]>([])
    var entries: [Entry] { state.withLock { $0 } }
    func append(_ entry: Entry) { state.withLock { $0.append(entry) } }
}
