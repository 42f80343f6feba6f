import FleetStore
import Foundation
import Logging
import PostgresClient

/// Looks at the database, in transactions that could not write if they tried.
struct DatabaseProbe: Sendable {
    private let configuration: PostgresConfiguration
    private let logger: Logger

    init(_ configuration: PostgresConfiguration, logger: Logger) {
        var readOnly = configuration
        readOnly.poolSize = 1
        readOnly.applicationName = "gaia doctor"
        readOnly.sessionSettings["default_transaction_read_only"] = "on"
        // Somebody waits at a terminal.
        readOnly.acquireTimeout = min(readOnly.acquireTimeout, .seconds(10))
        self.configuration = readOnly
        self.logger = logger
    }

    /// - Parameter unseen: gets what this role may not see.
    func look(_ unseen: inout [String]) async throws -> DatabaseState {
        // A connection of its own says at once why there is none; a statement would wait for one in the pool's line.
        let probe = PostgresDedicated(configuration: configuration, logger: logger)
        _ = try await probe.connect()
        await probe.close()
        let pool = PostgresPool(configuration: configuration, logger: logger)
        let running = Task { try await pool.run() }
        let result: Result<DatabaseState, any Error>
        do { result = .success(try await look(pool, &unseen)) } catch { result = .failure(error) }
        await pool.close()
        try await running.value
        return try result.get()
    }

    private func look(_ pool: PostgresPool, _ unseen: inout [String]) async throws -> DatabaseState {
        let store = FleetStore(pool: pool)
        // First, so that the next is measured on a connection that stands.
        let schema = try await store.schemaStatus()
        var state = DatabaseState(
            target: configuration.target, server: try await lookAtServer(pool, &unseen), schema: schema)
        if case .behind(version: 0, _) = schema { return state }
        state.roles = try await lookAtRoles(pool)
        if case .behind = schema { return state }
        state.fleet = try await lookAtFleet(pool, store)
        return state
    }

    private func lookAtServer(
        _ pool: PostgresPool, _ unseen: inout [String]
    ) async throws -> DatabaseState.Server {
        let asked = Date()
        let row = try await pool.execute(SQL.server).single()
        let answered = Date()
        func count(_ column: String) throws -> Int { Int(try row.get(column, as: Int64.self)) }
        if try !row.get("sees_transactions", as: Bool.self) {
            unseen.append("transactions of other roles: grant pg_read_all_stats, or use the role gaia_monitor")
        }
        let microseconds = try row.get("clock", as: PostgresTimestamp.self).microsecondsSinceUnixEpoch
        let clock = Date(timeIntervalSince1970: Double(microseconds) / 1e6)
        return DatabaseState.Server(
            version: try count("version"), isStandby: try row.get("standby"), encoding: try row.get("encoding"),
            fsync: try row.get("fsync"), fullPageWrites: try row.get("full_page_writes"),
            synchronousCommit: try row.get("synchronous_commit"), autovacuum: try row.get("autovacuum"),
            connections: DatabaseState.Usage(used: try count("used"), limit: try count("usable")),
            ownConnections: DatabaseState.Usage(used: try count("own_used"), limit: try count("own_limit")),
            oldestTransaction: try row.get("oldest_s", as: Double?.self).map { .seconds($0) },
            isRemote: try row.get("remote"), isEncrypted: try row.get("encrypted"),
            clockAhead: ClockReading(shown: clock...clock, asked: asked, answered: answered).ahead)
    }

    private func lookAtRoles(_ pool: PostgresPool) async throws -> [DatabaseState.Role] {
        let classes: [PostgresValue] = [.int32(FleetStore.livenessLockClass), .int32(FleetStore.leaderLockClass)]
        return try await pool.execute(SQL.roles, classes).map { row in
            DatabaseState.Role(
                name: try row.get("name"), part: try row.get("part"), wide: try row.get("wide"),
                missing: try row.get("missing"), commitsLoosely: try row.get("commits_loosely"))
        }
    }

    private func lookAtFleet(_ pool: PostgresPool, _ store: FleetStore) async throws -> DatabaseState.Fleet {
        let leader = try await store.leader()
        let overdue = try await pool.execute(SQL.overdue).single()
        return DatabaseState.Fleet(
            workers: try await store.workers().filter { $0.state == "live" && $0.leaseMilliseconds > 0 }.map {
                DatabaseState.Worker(name: $0.name, subsystems: $0.subsystems)
            },
            leader: leader.flatMap { $0.leads ? $0.name : nil }, pauses: try await store.pauses().map(\.scope),
            overdue: Int(try overdue.get("deliveries", as: Int64.self)),
            overdueFor: .seconds(try overdue.get("oldest_s", as: Double.self)))
    }
}

/// The statements, one file each.
private enum SQL {
    static let server = statement("server", PackageResources.server_sql)
    static let roles = statement("roles", PackageResources.roles_sql)
    static let overdue = statement("overdue", PackageResources.overdue_sql)

    private static func statement(_ name: String, _ text: [UInt8]) -> PostgresStatement {
        PostgresStatement(name: "gaia-doctor-\(name)", sql: String(decoding: text, as: UTF8.self))
    }
}
