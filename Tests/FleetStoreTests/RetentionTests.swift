import FleetModel
import FleetStore
import PostgresClient
import Testing

@Suite("Retention")
struct RetentionTests {
    private static let all: Range<Int64> = 0..<1_000_000

    @Test("What is finished goes when its time is over; what is not, what is in doubt, and what is owed stays")
    func ages() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let worker = try await ledger.worker()
            let term = try await ledger.store.beginTerm(name: "d")
            let failure = JobFailure(.permanent, code: "p", message: "")
            let endings: [(String, Settlement)] = [
                ("done", .succeed(output: "1")), ("off", .cancel(failure)), ("given-up", .discard(failure)),
                ("doubtful", .doubt(failure)), ("owed", .succeed(output: "1")), ("young", .succeed(output: "1")),
                ("waiting", .retry(failure, delay: .seconds(1), spendsAttempt: true)),
            ]
            for (key, settlement) in endings {
                let owned = try await ledger.own(key, by: worker)
                _ = try await ledger.complete(key, owned, settlement)
            }
            try await ledger.own("running", by: worker)
            try await ledger.pool.script(
                """
                update gaia.job set finished_at = now() - interval '8 days' where key <> 'young';
                insert into gaia.agenda (subsystem, key, due_at, reason) values ('test', 'owed', now(), 'answer');
                """)
            func keys() async throws -> [String] {
                try await ledger.pool.execute(
                    PostgresStatement(name: "test-keys", sql: "select key from gaia.job order by key")
                ).map { try $0.get(0, as: String.self) }
            }
            #expect(try await ledger.store.retain(pages: Self.all, Retention(), term: term - 1).removed == 0)
            #expect(try await ledger.store.retain(pages: 1_000..<2_000, Retention(), term: term).removed == 0)
            #expect(try await ledger.store.retain(pages: Self.all, Retention(), term: term).removed == 2)
            #expect(try await keys() == ["doubtful", "given-up", "owed", "running", "waiting", "young"])
            let short = Retention(succeededHours: 1, discardedHours: 1)
            #expect(try await ledger.store.retain(pages: Self.all, short, term: term).removed == 1)
            #expect(try await keys() == ["doubtful", "owed", "running", "waiting", "young"])
        }
    }

    @Test("A job that was called off too late takes that wish with it: the next of its key runs")
    func calledOffTooLate() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let worker = try await ledger.worker()
            let term = try await ledger.store.beginTerm(name: "d")
            let owned = try await ledger.own("k", by: worker)
            #expect(try await ledger.store.cancel(Ledger.identity("k"), reason: "") == .requested)
            _ = try await ledger.complete("k", owned, .succeed(output: "1"))
            try await ledger.pool.script("update gaia.job set finished_at = now() - interval '8 days'")
            #expect(try await ledger.store.retain(pages: Self.all, Retention(), term: term).removed == 1)
            #expect(try await ledger.claim(Ledger.request("k"), by: worker).word == "claimed")
        }
    }

    @Test("Rows of workers, waiters and callings-off that are long over go too")
    func rest() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let (old, young) = (try await ledger.worker("old"), try await ledger.worker("young"))
            let term = try await ledger.store.beginTerm(name: "d")
            for worker in [old, young] { try await ledger.store.release(worker) }
            _ = try await ledger.store.cancel(Ledger.identity("never-came"), reason: "")
            try await ledger.pool.script(
                """
                update gaia.worker set gone_at = now() - interval '8 days' where name = 'old';
                update gaia.cancellation set requested_at = now() - interval '8 days';
                """)
            #expect(try await ledger.store.retainRest(Retention(), term: term - 1) == 0)
            #expect(try await ledger.store.retainRest(Retention(), term: term) == 2)
            #expect(try await ledger.store.workers().map(\.name) == ["young"])
        }
    }
}
