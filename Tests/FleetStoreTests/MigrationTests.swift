import FleetStore
import PostgresClient
import Testing

@Suite("Migrations")
struct MigrationTests {
    private static let latest = Migration.all.map(\.version).max() ?? 0

    private static func tables(_ ledger: Ledger) async throws -> Int {
        let statement = PostgresStatement(
            name: "test-tables", sql: "select count(*) from information_schema.tables where table_schema = 'gaia'")
        return try await ledger.pool.execute(statement).single().get(0)
    }

    @Test("Eight migrate at once: one takes each step, the others find nothing to do")
    func together() async throws {
        try await Ledger.with(migrated: false) { ledger in
            #expect(try await ledger.store.schemaStatus() == .behind(version: 0, needed: Self.latest))
            let taken = try await withThrowingTaskGroup(of: [Migration].self) { group in
                for _ in 0..<8 { group.addTask { try await ledger.store.migrate() } }
                return try await group.reduce(into: [[Migration]]()) { $0.append($1) }
            }
            #expect(taken.filter { !$0.isEmpty } == [Migration.all])
            #expect(try await ledger.store.schemaStatus() == .current(version: Self.latest))
            let rows = try await ledger.pool.execute(
                PostgresStatement(name: "test-steps", sql: "select version from gaia.migration order by 1"))
            #expect(try rows.map { try $0.get(0, as: Int32.self) } == Migration.all.map(\.version))
            #expect(try await ledger.store.migrate() == [])
        }
    }

    @Test("A step that fails leaves nothing behind, not even the steps before it")
    func failing() async throws {
        try await Ledger.with(migrated: false) { (ledger: Ledger) async throws -> Void in
            let broken = Migration(version: 99, name: "broken", sql: "create table gaia.half (); select 1 / 0;")
            let error = await #expect(throws: PostgresError.self) {
                try await ledger.store.migrate(Migration.all + [broken])
            }
            #expect(error?.sqlState == "22012")
            #expect(try await ledger.store.schemaStatus() == .behind(version: 0, needed: Self.latest))
            #expect(try await Self.tables(ledger) == 0)
            #expect(try await ledger.store.migrate() == Migration.all)
            await #expect(throws: PostgresError.self) { try await ledger.store.migrate(Migration.all + [broken]) }
            #expect(try await ledger.store.schemaStatus() == .current(version: Self.latest))
        }
    }

    @Test("A newer program's schema is no hindrance, a missing one says what to run")
    func readiness() async throws {
        try await Ledger.with(migrated: false) { ledger in
            let error = await #expect(throws: NotReady.self) {
                try await ledger.store.awaitReady(ledger.configuration, limit: .seconds(20), logger: Ledger.logger)
            }
            #expect(error?.description.contains("run: gaia migrate") == true)
            try await ledger.store.migrate()
            try await ledger.store.awaitReady(ledger.configuration, limit: .seconds(20), logger: Ledger.logger)
            try await ledger.pool.script("insert into gaia.migration (version, name) values (1000, 'later')")
            #expect(try await ledger.store.schemaStatus() == .ahead(version: 1_000, known: Self.latest))
            try await ledger.store.awaitReady(ledger.configuration, limit: .seconds(20), logger: Ledger.logger)
            #expect(try await ledger.store.migrate() == [])
        }
    }

    @Test("Steps are numbered from 1 without a gap")
    func numbers() { #expect(Migration.all.map(\.version) == (1...Int32(Migration.all.count)).map { $0 }) }
}
