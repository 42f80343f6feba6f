import FleetConfiguration
import FleetModel
import FleetService
import FleetStore
import FleetWorker
import Logging
import PostgresClient
import ServiceLifecycle

/// A worker for the tests that kill and stop it: each of its jobs holds a lock until the test opens the gate, and then
/// makes a guarded write, deaf to cancellation, as a handler would that was stopped in its midst.
///
/// The test has made the tables `public.held (key, token)`, `public.gate (key)` and
/// `public.effect (key, token, refused)`.
@main
enum LockingService {
    static func main() async throws {
        let settings = try FleetConfiguration.load()
        let configuration = try WorkerConfiguration(settings)
        let logger = Logger(label: "locking-service") { StreamLogHandler.standardError(label: $0) }
        let pool = PostgresPool(configuration: configuration.database, logger: logger)
        let journal = Journal(pool: pool)
        let definitions = [GuardedWrite.definition(journal), OtherWrite.definition(journal)]
        let served = settings.workerSubsystems
        let worker = Worker(
            configuration,
            definitions: definitions.filter { served.isEmpty || served.contains($0.type.subsystem) }, logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await pool.run() }
            try await ServiceGroup(services: [worker], gracefulShutdownSignals: [.sigterm], logger: logger).run()
            await pool.close()
            try await group.waitForAll()
        }
    }
}

/// Two types, so that a test can say which of two workers runs a job.
struct GuardedWrite: LockingParameters {
    static let type: JobType = "test.guarded.v1"
    var lock: String
}

struct OtherWrite: LockingParameters {
    static let type: JobType = "other.guarded.v1"
    var lock: String
}

protocol LockingParameters: JobParameters {
    var lock: String { get }
}

extension LockingParameters {
    static func definition(_ journal: Journal) -> JobDefinition {
        JobDefinition(Self.self) { (parameters: Self, context: JobContext) -> Int64 in
            try await context.withLock(parameters.lock, within: .seconds(60)) { lock in
                try await Task {
                    try await journal.hold(context.key, lock.token)
                    while try await !journal.isOpen(context.key) { try await Task.sleep(for: .milliseconds(20)) }
                    try await journal.write(context.key, lock)
                }.value
                return lock.token
            }
        }
    }
}

struct Journal: Sendable {
    let pool: PostgresPool

    private static let held = PostgresStatement(
        name: "held", sql: "insert into public.held (key, token) values ($1, $2)")
    private static let gate = PostgresStatement(
        name: "gate", sql: "select exists (select from public.gate where key = $1)")
    private static let effect = PostgresStatement(
        name: "effect", sql: "insert into public.effect (key, token, refused) values ($1, $2, $3)")

    func hold(_ key: String, _ token: Int64) async throws {
        try await pool.execute(Self.held, [.text(key), .int64(token)])
    }

    func isOpen(_ key: String) async throws -> Bool {
        try await pool.execute(Self.gate, [.text(key)]).single().get(0)
    }

    func write(_ key: String, _ lock: LockGrant) async throws {
        do {
            try await pool.withTransaction { session in
                try await FleetStore.checkLock(lock.name, token: lock.token, on: session)
                try await session.execute(Self.effect, [.text(key), .int64(lock.token), .null])
            }
        } catch let error as PostgresError where error.sqlState == FleetStore.staleTokenState {
            try await pool.execute(Self.effect, [.text(key), .int64(lock.token), .text(error.message)])
            throw error
        }
    }
}
