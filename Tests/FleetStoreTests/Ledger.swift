import FleetModel
import FleetStore
import Glibc
import Logging
import PostgresClient
import Testing

/// A database of one test's own, on the server that `GAIA_TEST_DATABASE_URL` names.
struct Ledger: Sendable {
    let store: FleetStore
    let pool: PostgresPool
    let configuration: PostgresConfiguration

    static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// - Parameters:
    ///   - migrated: whether the schema is there already.
    ///   - body: runs with the database, which goes when it ends.
    static func with(migrated: Bool = true, _ body: @Sendable (Ledger) async throws -> Void) async throws {
        guard let variable = getenv("GAIA_TEST_DATABASE_URL") else { throw NoServer() }
        let server = String(cString: variable)
        await Turn.shared.take()
        do {
            try await withDatabase(server) { url in
                let configuration = try Self.configuration(url, poolSize: 8)
                try await withPool(configuration) { pool in
                    let ledger = Ledger(store: FleetStore(pool: pool), pool: pool, configuration: configuration)
                    if migrated { try await ledger.store.migrate() }
                    try await body(ledger)
                }
            }
        } catch {
            await Turn.shared.give()
            throw error
        }
        await Turn.shared.give()
    }

    private static func withDatabase(_ server: String, _ body: @Sendable (String) async throws -> Void) async throws {
        let name = "store_\(getpid())_" + String(UInt64.random(in: 0 ... .max), radix: 36)
        try await withPool(configuration(server, poolSize: 1)) { administration in
            try await administration.script("create database \(name) template template0")
            do {
                try await body(url(of: name, on: server))
            } catch {
                try await administration.script("drop database \(name) with (force)")
                throw error
            }
            try await administration.script("drop database \(name) with (force)")
        }
    }

    static func withPool(
        _ configuration: PostgresConfiguration, _ body: @Sendable (PostgresPool) async throws -> Void
    ) async throws {
        let pool = PostgresPool(configuration: configuration, logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await pool.run() }
            do {
                try await body(pool)
            } catch {
                await pool.close()
                throw error
            }
            await pool.close()
            try await group.waitForAll()
        }
    }

    private static func configuration(_ url: String, poolSize: Int) throws -> PostgresConfiguration {
        var configuration = FleetStore.keyed(try PostgresConfiguration(url: url))
        configuration.poolSize = poolSize
        return configuration
    }

    private static func url(of database: String, on server: String) throws -> String {
        let parts = server.split(separator: "?", maxSplits: 1)
        guard let slash = parts[0].lastIndex(of: "/") else { throw NoServer() }
        return parts[0][...slash] + database + (parts.count > 1 ? "?\(parts[1])" : "")
    }

    struct NoServer: Error, CustomStringConvertible {
        let description = "GAIA_TEST_DATABASE_URL must be the URL of a database server for tests; ./gaia test sets it"
    }
}

/// Few databases at a time, however many tests run: a server has only so many connections.
private actor Turn {
    static let shared = Turn(free: 3)
    private var free: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(free: Int) { self.free = free }

    func take() async {
        if free > 0 {
            free -= 1
        } else {
            await withCheckedContinuation { waiting.append($0) }
        }
    }

    func give() {
        if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() }
    }
}

// MARK: What tests do and see

extension Ledger {
    static let subsystem = "test"

    func worker(_ name: String = "w", lease: Duration = .seconds(3_600)) async throws -> WorkerEpoch {
        try await store.register(
            WorkerCard(name: name, host: "here", processID: 1, subsystems: [Self.subsystem], slots: 5), lease: lease)
    }

    static func identity(_ key: String) -> JobIdentity { JobIdentity(subsystem: subsystem, key: key) }

    static func request(
        _ key: String, type: JobType = "test.do.v1", payload: String = #"{"n":1}"#, replyTo: String? = nil,
        correlationID: String? = nil, deadline: Duration? = nil, attemptsMax: Int = 5
    ) -> ClaimRequest {
        let job = Job(
            type: type, key: key, payload: Array(payload.utf8), replyTo: replyTo, correlationID: correlationID,
            deadline: deadline)
        return ClaimRequest(job: job, payload: payload, attemptsMax: attemptsMax)
    }

    func claim(_ request: ClaimRequest, by owner: WorkerEpoch) async throws -> ClaimAnswer {
        try #require(try await store.claim([request], by: owner).first)
    }

    /// Claims a job that must be free.
    @discardableResult
    func own(_ key: String, by owner: WorkerEpoch, sourceLocation: SourceLocation = #_sourceLocation) async throws
        -> Ownership
    {
        let answer = try await claim(Self.request(key), by: owner)
        return try #require(answer.ownership, "\(key) is \(answer)", sourceLocation: sourceLocation)
    }

    func complete(_ key: String, _ ownership: Ownership, _ settlement: Settlement) async throws -> CompletionAnswer {
        let completion = Completion(
            identity: Self.identity(key), token: ownership.token, attempt: ownership.attempt, settlement: settlement)
        return try #require(try await store.complete([completion], worker: "w").first)
    }

    func record(_ key: String) async throws -> JobRecord {
        let records = try await store.job(key, subsystem: Self.subsystem)
        return try #require(records.first)
    }

    /// Moves a job's time into the past, and that of its row on the agenda, as if it had passed.
    func passTime(of key: String, hours: Int = 1) async throws {
        try await pool.script(
            """
            update gaia.job set not_before = not_before - interval '\(hours) hours' where key = '\(key)';
            update gaia.agenda set due_at = due_at - interval '\(hours) hours' where key = '\(key)';
            """)
    }

    struct AgendaRow: Equatable {
        var reason: String
        var worker: Int64?
        var epoch: Int32?
        /// From now, in milliseconds.
        var due: Int64
    }

    func agenda(_ key: String) async throws -> AgendaRow? {
        let statement = PostgresStatement(
            name: "test-agenda",
            sql: """
                select reason, worker, epoch, (extract(epoch from due_at - now()) * 1000)::int8
                from gaia.agenda where subsystem = $1 and key = $2
                """)
        return try await pool.execute(statement, [.text(Self.subsystem), .text(key)]).first.map { row in
            AgendaRow(reason: try row.get(0), worker: try row.get(1), epoch: try row.get(2), due: try row.get(3))
        }
    }

    func waiters(_ key: String) async throws -> [Waiter] { try await store.waiters(of: [Self.identity(key)]) }
}

extension ClaimAnswer {
    var ownership: Ownership? {
        if case .claimed(let ownership) = self { ownership } else { nil }
    }

    var result: JobResult? {
        if case .finished(let result) = self { result } else { nil }
    }

    /// The answer's name, for comparing.
    var word: String {
        switch self {
        case .claimed: "claimed"
        case .finished: "finished"
        case .ended(let result): "ended as \(result.state.rawValue)"
        case .parked: "parked"
        case .conflict(let type): "conflict with \(type)"
        case .again: "again"
        case .fenced: "fenced"
        }
    }
}
