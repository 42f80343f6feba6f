import FleetModel
import FleetStore
import PostgresClient
import Testing

@Suite("A look at the fleet that costs the same whatever is in the ledger", .timeLimit(.minutes(1)))
struct GlanceTests {
    @Test("It tells what is owed, due, held and given up, who leads, and who works")
    func tells() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            #expect(try await ledger.store.glance().leader == nil)
            _ = try await ledger.worker()
            try await ledger.pool.script(
                """
                select gaia.enqueue('test.work.v1', '{}', 'k-' || n, delay => interval '1 day') from generate_series(1, 5) n;
                select gaia.enqueue('test.work.v1', '{}', 'due-' || n) from generate_series(1, 3) n;
                """)
            let glance = try await ledger.store.glance()
            #expect((glance.agenda, glance.overdue, glance.held, glance.dead) == (8, 3, 0, 0))
            #expect(glance.workers == 1 && glance.leader == nil && glance.overdueSeconds >= 0)
            #expect(glance.sessions > 0 && glance.sessions < glance.sessionsMax)
        }
    }

    @Test("It counts no further than its limit")
    func bounded() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            try await ledger.pool.script(
                """
                insert into gaia.agenda (subsystem, key, due_at, reason)
                select 'test', 'k-' || n, now(), 'held' from generate_series(1, \(FleetGlance.countMax + 2_000)) n
                """)
            let glance = try await ledger.store.glance()
            #expect((glance.agenda, glance.overdue, glance.held) == (10_000, 10_000, 10_000))
        }
    }
}

@Suite("Durations counted by size")
struct LatencyCountsTests {
    @Test("A quantile is known to within its class, and of nothing there is none")
    func quantiles() throws {
        var counts = LatencyCounts()
        #expect(counts.quantile(0.5) == nil)
        for milliseconds in 1...1_000 { counts.add(.milliseconds(milliseconds)) }
        #expect(counts.total == 1_000)
        for share in [0.05, 0.5, 0.95, 0.99] {
            let quantile = try #require(counts.quantile(share))
            #expect(abs(quantile - share) / share < 0.05, "\(share): \(quantile)")
        }
        var long = LatencyCounts()
        long.add(.seconds(5_000))
        #expect(long.quantile(0.5) == 1_000)
    }

    @Test("A difference is of what came between, and there is none when a count has fallen")
    func differences() {
        var (earlier, later) = (LatencyCounts(), LatencyCounts())
        earlier.add(.milliseconds(1))
        later.add(earlier)
        later.add(.seconds(3))
        #expect(later.since(earlier)?.total == 1)
        #expect((later.since(earlier)?.quantile(0.5)).map { (2.5...4).contains($0) } == true)
        #expect(earlier.since(later) == nil)
    }
}
