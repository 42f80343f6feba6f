import FleetModel
import FleetStore
import PostgresClient
import Testing

/// A fleet's statements are planned when it starts, which is when its tables are empty, and the plans stay.
@Suite("Plans that were made on empty tables", .timeLimit(.minutes(1)))
struct PlanTests {
    private static let jobs = 2_000
    /// Rows that a statement may read which is asked for ten.
    private static let rowsMax: Int64 = 100

    @Test("A small question is not answered by reading all that is owed, or the whole ledger")
    func small() async throws {
        try await Ledger.with { ledger in
            var single = ledger.configuration
            // Statistics are each connection's own until it hands them in.
            single.poolSize = 1
            try await Ledger.withPool(single) { pool in
                let store = FleetStore(pool: pool)
                let term = try await store.beginTerm(name: "d")
                let owner = try await ledger.worker()
                func ask() async throws {
                    _ = try await store.due(atMost: 10)
                    _ = try await store.calledOff(owner)
                    _ = try await store.releaseOrphans(term: term)
                }
                try await ask()
                let fill = PostgresStatement(
                    name: "fill",
                    sql: """
                        select gaia.enqueue('test.work.v1', '{}', 'k-' || n, delay => case when n % 2 = 0 then
                            interval '0' else interval '1 day' end)
                        from generate_series(1, \(Self.jobs)) n
                        """)
                _ = try await pool.execute(fill)
                let before = try await rowsRead(pool)
                try await ask()
                let after = try await rowsRead(pool)
                for (table, rows) in after {
                    let read = rows - before[table, default: 0]
                    #expect(read <= Self.rowsMax, "\(read) rows of \(table) were read")
                }
                #expect(try await store.due(atMost: Self.jobs).count == Self.jobs / 2)
            }
        }
    }

    /// By table, since the statistics began.
    private func rowsRead(_ pool: PostgresPool) async throws -> [String: Int64] {
        _ = try await pool.execute(PostgresStatement(name: "flush", sql: "select pg_stat_force_next_flush()::text"))
        let rows = try await pool.execute(
            PostgresStatement(
                name: "read",
                sql: """
                    select relname::text, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
                    from pg_stat_user_tables where relname in ('job', 'agenda', 'cancellation')
                    """))
        return try Dictionary(
            uniqueKeysWithValues: rows.map { (try $0.get(0, as: String.self), try $0.get(1, as: Int64.self)) })
    }
}
