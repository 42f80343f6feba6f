import Logging

/// Connections shared by many tasks.
///
///     let pool = PostgresPool(configuration: try .init(url: url), logger: logger)
///     async let serving: Void = pool.run()
///     let rows = try await pool.execute(PostgresStatement(name: "now", sql: "select now()"))
///
/// Every call waits in line for a free connection, at most ``PostgresConfiguration/acquireTimeout``, then for its answer.
/// Cancelling the task cancels the statement on the server.
public final class PostgresPool: Sendable {
    private let engine: Engine

    /// - Parameter onAnswer: told of each answer how long it took, the wait for a connection included, and why there is none;
    ///   on a thread that must not be held up.
    public init(
        configuration: PostgresConfiguration, logger: Logger,
        onAnswer: (@Sendable (Duration, PostgresError?) -> Void)? = nil
    ) {
        precondition(configuration.poolSize > 0, "a pool needs a connection")
        engine = Engine(
            configuration: configuration, plan: Engine.Plan(size: configuration.poolSize), logger: logger,
            onAnswer: onAnswer)
    }

    deinit { engine.closeWithoutWaiting() }

    /// Connects, and connects again whatever is lost, until ``close()`` or the task's cancellation.
    ///
    /// - Throws: what time cannot mend (password refused, database absent), and only if no connection has ever succeeded.
    ///   A server that cannot be reached is tried again for ever.
    public func run() async throws(PostgresError) {
        engine.post(.start)
        let end = await withTaskCancellationHandler {
            await engine.end.waitUncancelled()
        } onCancel: {
            engine.closeWithoutWaiting()
        }
        if let end { throw end }
    }

    /// Lets finish what runs, at most ``PostgresConfiguration/closeTimeout``, and disconnects. Those who wait are refused.
    public func close() async { await engine.close() }

    /// For health checks and metrics, as of the IO thread's last turn.
    public struct Status: Sendable, Hashable {
        public var connected: Int
        /// Connections running something or held by a session.
        public var busy: Int
        public var waiting: Int
    }

    public var status: Status {
        let counts = engine.counts.withLock { $0 }
        return Status(connected: counts.connected, busy: counts.busy, waiting: counts.waiting)
    }

    /// Runs one statement, which is a transaction of its own.
    ///
    /// - Throws: ``PostgresError/Kind/outcomeUnknown`` if the link was lost after sending.
    @discardableResult
    public func execute(
        _ statement: PostgresStatement, _ parameters: [PostgresValue] = []
    ) async throws(PostgresError) -> PostgresRows {
        let call = try WorkUnit.Call(statement, parameters)
        return try await engine.run(.calls([call])).get()[0]
    }

    /// Runs statements in one round trip and one implicit transaction: all are applied or none. Each sees what the ones
    /// before it did. They must not contain transaction control.
    @discardableResult
    public func pipeline(
        _ units: [(PostgresStatement, [PostgresValue])]
    ) async throws(PostgresError) -> [PostgresRows] {
        if units.isEmpty { return [] }
        return try await engine.run(.calls(try WorkUnit.Call.all(units))).get()
    }

    /// Runs any number of statements without parameters, as a migration does: one implicit transaction, unless the script
    /// begins and commits its own. ``PostgresConfiguration/statementTimeout`` holds for each statement.
    public func script(_ sql: String) async throws(PostgresError) { _ = try await engine.run(.script(sql)).get() }

    /// Keeps one connection for the time of `body`. What the body sets on the session (`set`, temporary tables, advisory
    /// locks) stays on the connection; an open transaction has it thrown away.
    public func withConnection<R: Sendable>(
        actor: isolated (any Actor)? = #isolation, _ body: (PostgresSession) async throws -> R
    ) async throws -> R {
        let lease = try await acquire()
        defer { engine.post(.release(lease)) }
        return try await body(PostgresSession(engine: engine, lease: lease))
    }

    /// Runs `body` inside a transaction: committed when it returns, rolled back when it throws.
    ///
    /// - Throws: what `body` throws; ``PostgresError/Kind/outcomeUnknown`` if the link was lost while the commit was under
    ///   way; `25P02` if a statement had failed and the body returned all the same.
    public func withTransaction<R: Sendable>(
        isolation: PostgresIsolation = .readCommitted, actor: isolated (any Actor)? = #isolation,
        _ body: (PostgresSession) async throws -> R
    ) async throws -> R {
        let lease = try await acquire()
        defer { engine.post(.release(lease)) }
        let session = PostgresSession(engine: engine, lease: lease, transaction: isolation)
        return try await session.commitAfter(body)
    }

    private func acquire() async throws(PostgresError) -> Lease {
        let lease = Lease()
        let granted = await engine.run(.lease(lease))
        if case .failure(let error) = granted { throw error }
        return lease
    }
}

public enum PostgresIsolation: String, Sendable, Hashable, CaseIterable {
    case readCommitted = "READ COMMITTED"
    case repeatableRead = "REPEATABLE READ"
    case serializable = "SERIALIZABLE"
}

extension WorkUnit.Call {
    init(_ statement: PostgresStatement, _ parameters: [PostgresValue]) throws(PostgresError) {
        do {
            self.init(sql: statement.sql, statement: statement.name, parameters: try EncodedParameters(parameters))
        } catch {
            throw error.inStatement(statement.name)
        }
    }

    static func all(_ units: [(PostgresStatement, [PostgresValue])]) throws(PostgresError) -> [WorkUnit.Call] {
        var calls: [WorkUnit.Call] = []
        calls.reserveCapacity(units.count)
        for (statement, parameters) in units { calls.append(try WorkUnit.Call(statement, parameters)) }
        return calls
    }
}
