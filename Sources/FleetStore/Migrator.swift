import FleetModel
import PostgresClient

/// One step of the schema. Steps are only ever added; one that has been released never changes.
public struct Migration: Sendable, Equatable {
    public let version: Int32
    public let name: String
    let sql: String

    package init(version: Int32, name: String, sql: String) {
        self.version = version
        self.name = name
        self.sql = sql
    }

    package static let all: [Migration] = [
        Migration(version: 1, name: "ledger", sql: String(decoding: PackageResources.m0001_ledger_sql, as: UTF8.self)),
        Migration(version: 2, name: "locks", sql: String(decoding: PackageResources.m0002_locks_sql, as: UTF8.self)),
        Migration(
            version: 3, name: "control", sql: String(decoding: PackageResources.m0003_control_sql, as: UTF8.self)),
        Migration(
            version: 4, name: "enqueue", sql: String(decoding: PackageResources.m0004_enqueue_sql, as: UTF8.self)),
        Migration(
            version: 5, name: "operators", sql: String(decoding: PackageResources.m0005_operators_sql, as: UTF8.self)),
        Migration(
            version: 6, name: "leader-lease",
            sql: String(decoding: PackageResources.m0006_leader_lease_sql, as: UTF8.self)),
        Migration(
            version: 7, name: "lost-queues",
            sql: String(decoding: PackageResources.m0007_lost_queues_sql, as: UTF8.self)),
        Migration(version: 8, name: "limits", sql: String(decoding: PackageResources.m0008_limits_sql, as: UTF8.self)),
    ]
}

/// What the database's schema is, compared with what this program needs.
public enum SchemaStatus: Sendable, Equatable {
    case current(version: Int32)
    /// `gaia migrate` is due.
    case behind(version: Int32, needed: Int32)
    /// A newer program has been here. Its steps only add, so this one may go on.
    case ahead(version: Int32, known: Int32)
}

extension FleetStore {
    /// Brings the schema up to date. Many may call it at once: one works, the others wait and find nothing to do. All
    /// steps are one transaction, so a failing one leaves the schema as it was.
    ///
    /// - Returns: the steps that were taken.
    @discardableResult
    public func migrate() async throws -> [Migration] { try await migrate(Migration.all) }

    @discardableResult
    package func migrate(_ steps: [Migration]) async throws -> [Migration] {
        try await pool.withTransaction { session in
            _ = try await session.execute(Self.migrationLockStatement, [.int64(Self.migrationLock)])
            try await session.script(
                """
                set local client_min_messages = warning;
                create schema if not exists gaia;
                create table if not exists gaia.migration (
                    version integer primary key,
                    name text not null,
                    applied_at timestamptz not null default now()
                );
                """)
            let applied = try await Self.version(session)
            let missing = steps.filter { $0.version > applied }
            for migration in missing {
                try await session.script(migration.sql)
                _ = try await session.execute(
                    Self.recordMigration, [.int32(migration.version), .text(migration.name)])
            }
            return missing
        }
    }

    public func schemaStatus() async throws -> SchemaStatus {
        let needed = Migration.all.last?.version ?? 0
        let exists = try await pool.execute(Self.migrationTableExists)
        let version: Int32 =
            try exists.first?.get(0, as: Bool.self) == true
            ? try await pool.execute(Self.latestMigration).first?.get(0, as: Int32.self) ?? 0 : 0
        if version < needed { return .behind(version: version, needed: needed) }
        return version > needed ? .ahead(version: version, known: needed) : .current(version: version)
    }

    private static func version(_ session: PostgresSession) async throws -> Int32 {
        try await session.execute(latestMigration).first?.get(0, as: Int32.self) ?? 0
    }

    private static let migrationLockStatement = PostgresStatement(
        name: "gaia-migration-lock", sql: "select pg_advisory_xact_lock($1::int8)")
    private static let migrationTableExists = PostgresStatement(
        name: "gaia-migration-exists", sql: "select to_regclass('gaia.migration') is not null")
    private static let latestMigration = PostgresStatement(
        name: "gaia-migration-latest", sql: "select coalesce(max(version), 0)::int4 from gaia.migration")
    private static let recordMigration = PostgresStatement(
        name: "gaia-migration-record", sql: "insert into gaia.migration (version, name) values ($1, $2)")
}
