import Synchronization

/// One connection, for the time of a scope. Several tasks may use it at once; their units are pipelined in the order in
/// which they arrive.
public final class PostgresSession: Sendable {
    private let engine: Engine
    private let lease: Lease
    private let transaction: PostgresIsolation?
    /// Whether BEGIN is on its way; it travels with the first statement.
    private let begun = Mutex(false)

    init(engine: Engine, lease: Lease, transaction: PostgresIsolation? = nil) {
        self.engine = engine
        self.lease = lease
        self.transaction = transaction
    }

    /// The server process that serves this session, as `pg_stat_activity` has it.
    public func backendProcessID() -> Int32 { lease.backendProcessID }

    /// Runs one statement; outside a transaction it is one of its own.
    @discardableResult
    public func execute(
        _ statement: PostgresStatement, _ parameters: [PostgresValue] = []
    ) async throws(PostgresError) -> PostgresRows {
        try await run([try WorkUnit.Call(statement, parameters)])[0]
    }

    /// Runs statements in one round trip. The first failure skips the rest.
    @discardableResult
    public func pipeline(
        _ units: [(PostgresStatement, [PostgresValue])]
    ) async throws(PostgresError) -> [PostgresRows] {
        if units.isEmpty { return [] }
        return try await run(try WorkUnit.Call.all(units))
    }

    /// Runs any number of statements without parameters.
    public func script(_ sql: String) async throws(PostgresError) {
        // A script is sent by another protocol and cannot carry the BEGIN along.
        if let isolation = transaction, takeBegin() {
            _ = try await engine.run(.calls([]), on: lease, setting: .inTransaction, begin: Self.begin(isolation)).get()
        }
        _ = try await engine.run(.script(sql), on: lease, setting: transaction == nil ? .alone : .inTransaction).get()
    }

    private func run(_ calls: [WorkUnit.Call]) async throws(PostgresError) -> [PostgresRows] {
        guard let isolation = transaction else { return try await engine.run(.calls(calls), on: lease).get() }
        let begin = takeBegin() ? Self.begin(isolation) : nil
        return try await engine.run(.calls(calls), on: lease, setting: .inTransaction, begin: begin).get()
    }

    private static func begin(_ isolation: PostgresIsolation) -> String {
        "BEGIN ISOLATION LEVEL \(isolation.rawValue)"
    }

    private func takeBegin() -> Bool {
        begun.withLock { begun in
            defer { begun = true }
            return !begun
        }
    }

    func commitAfter<R: Sendable>(
        actor: isolated (any Actor)? = #isolation, _ body: (PostgresSession) async throws -> R
    ) async throws -> R {
        let result: R
        do {
            result = try await body(self)
        } catch {
            // If this fails the connection is not in order and is thrown away, which rolls back too.
            if begun.withLock({ $0 }) { _ = await end(with: "ROLLBACK", setting: .inTransaction) }
            throw error
        }
        // A body that ran nothing has begun nothing.
        guard begun.withLock({ $0 }) else { return result }
        let rows = try await end(with: "COMMIT", setting: .commit).get()
        guard rows.first?.storage.commandTag == "COMMIT" else {
            throw PostgresError(
                kind: .server(sqlState: "25P02"),
                message: "the transaction was rolled back, for a statement in it had failed",
                hint: "let the statement's error leave the transaction's body")
        }
        return result
    }

    /// Not cancellable: whoever is cancelled still needs to know how it ended.
    private func end(with sql: String, setting: WorkUnit.Setting) async -> WorkUnit.Answer {
        await engine.run(.calls([.init(sql: sql)]), on: lease, setting: setting, cancellable: false)
    }
}
