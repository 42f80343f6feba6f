import FleetStore
import Logging
import PostgresClient

/// Looks at the ledger again and again, and says what it saw or why it saw nothing.
struct LedgerWatch: Sendable {
    let database: PostgresConfiguration
    let interval: Duration

    /// How long a look may take before it counts as failed.
    static let lookLimit: Duration = .seconds(5)

    func run(_ tell: @escaping @Sendable (Result<LedgerSight, WatchFault>) -> Void) async {
        while !Task.isCancelled {
            do { try await watch(tell) } catch {
                if Task.isCancelled { return }
                tell(.failure(WatchFault(error)))
            }
            try? await Task.sleep(for: max(interval, .seconds(1)))
        }
    }

    /// Ends only with what time cannot mend, such as a refused password.
    private func watch(_ tell: @escaping @Sendable (Result<LedgerSight, WatchFault>) -> Void) async throws {
        var database = database
        database.poolSize = 1
        database.acquireTimeout = Self.lookLimit
        database.statementTimeout = Self.lookLimit
        database.closeTimeout = .seconds(1)
        database.backoff.max = .seconds(1)
        // What a log would say is on the screen.
        let pool = PostgresPool(
            configuration: database, logger: Logger(label: "gaia top") { _ in SwiftLogNoOpLogHandler() })
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await pool.run() }
            group.addTask {
                let store = FleetStore(pool: pool)
                while !Task.isCancelled {
                    let begun = ContinuousClock.now
                    do { tell(.success(try await look(store))) } catch {
                        if Task.isCancelled { return }
                        tell(.failure(WatchFault(error)))
                    }
                    try await Task.sleep(until: begun + interval, clock: .continuous)
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func look(_ store: FleetStore) async throws -> LedgerSight {
        if case .behind = try await store.schemaStatus() {
            throw WatchFault("it has no current schema; run: gaia migrate")
        }
        let sight = LedgerSight(
            glance: try await store.glance(), workers: try await store.workers(), pauses: try await store.pauses())
        // For the next look.
        try await store.askForReports()
        return sight
    }
}

/// Why a look failed, on one line.
struct WatchFault: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }

    init(_ error: any Error) {
        description = "\(error)".split(whereSeparator: \.isNewline).joined(separator: " ")
    }
}
