import FleetModel
import FleetStore
import PostgresClient
import Testing

extension Ledger {
    /// Asks for units of one name.
    func take(
        _ first: Double, of name: String, rule: String? = nil, wait: Duration = .zero, more: Double = 0,
        unused: Double = 0, by owner: WorkerEpoch
    ) async throws -> UnitsAnswer {
        let question = UnitsQuestion(
            name: name, rule: rule ?? name, first: first, wait: wait, more: more, unused: unused)
        return try #require(try await store.takeUnits([question], by: owner).first)
    }

    /// Says what is used and wanted of the places of one name.
    func share(
        _ name: String, used: Int, wanted: Int, turn: Int64, by owner: WorkerEpoch
    ) async throws -> PlacesAnswer {
        let question = PlacesQuestion(name: name, rule: name, used: used, wanted: wanted)
        return try #require(try await store.sharePlaces([question], turn: turn, by: owner).first)
    }
}

extension UnitsAnswer {
    fileprivate var units: Double { if case .granted(let units, _, _) = self { units } else { 0 } }
    /// From when they flow, in seconds from now.
    fileprivate var ahead: Double? { if case .granted(_, let ahead, _) = self { ahead } else { nil } }
}

@Suite("Limits", .timeLimit(.minutes(5)))
struct LimitTests {
    @Test("A burst is there at once; then units are promised one after the other, whoever asks")
    func units() async throws {
        try await Ledger.with { ledger in
            let (one, two) = (try await ledger.worker("one"), try await ledger.worker("two"))
            // So slow that the time which the test takes counts for nothing.
            try await ledger.store.setLimit("n", rate: 0.01, burst: 3)
            let first = try await ledger.take(2, of: "n", by: one)
            #expect(first.units == 2 && (first.ahead ?? 0) < -299)
            #expect(try await ledger.take(1, of: "n", by: two).units == 1)
            guard case .busy(let pause) = try await ledger.take(1, of: "n", by: one) else {
                Issue.record("more than the burst was to be had at once")
                return
            }
            #expect(pause > .seconds(90) && pause <= .seconds(100))
            let third = try await ledger.take(1, of: "n", wait: .seconds(101), by: one)
            #expect(third.units == 1 && abs(third.ahead ?? -1) < 10)
            let fourth = try await ledger.take(1, of: "n", wait: .seconds(201), by: two)
            #expect(fourth.units == 1 && abs((fourth.ahead ?? 0) - 100) < 10)
        }
    }

    @Test("What is given back is there for others; a large piece waits until as much has flowed")
    func unused() async throws {
        try await Ledger.with { ledger in
            let owner = try await ledger.worker()
            try await ledger.store.setLimit("n", rate: 0.01, burst: 3)
            #expect(try await ledger.take(3, of: "n", by: owner).units == 3)
            #expect(try await ledger.take(1, of: "n", unused: 2, by: owner).units == 1)
            #expect(try await ledger.take(1, of: "n", by: owner).units == 1)
            #expect(try await ledger.take(1, of: "n", by: owner).units == 0)
            // More than the burst comes back as no more than the burst.
            #expect(try await ledger.take(0, of: "n", unused: 1_000, by: owner).units == 0)
            #expect(try await ledger.take(4, of: "n", by: owner).units == 0)
            let piece = try await ledger.take(10, of: "n", wait: .seconds(701), by: owner)
            #expect(piece.units == 10 && abs((piece.ahead ?? 0) + 300) < 10)
        }
    }

    @Test("One who wants much gets half of what there is, so that the next finds some")
    func halves() async throws {
        try await Ledger.with { ledger in
            let (one, two) = (try await ledger.worker("one"), try await ledger.worker("two"))
            try await ledger.store.setLimit("n", rate: 100, burst: 1_000)
            let first = try await ledger.take(1, of: "n", wait: .seconds(5), more: 10_000, by: one).units
            let second = try await ledger.take(1, of: "n", wait: .seconds(5), more: 10_000, by: two).units
            #expect((500...600).contains(first) && (250...300).contains(second))
            // Nobody waits: only of what is saved up.
            try await ledger.store.setLimit("m", rate: 100, burst: 10)
            #expect(try await ledger.take(0, of: "m", more: 1_000, by: one).units == 5)
        }
    }

    @Test("A pattern holds for each name by itself; without its rule a name is unlimited; the dead get nothing")
    func patterns() async throws {
        try await Ledger.with { ledger in
            let owner = try await ledger.worker()
            try await ledger.store.setLimit("host.*", rate: 0.01, burst: 1)
            for name in ["host.a", "host.b"] {
                #expect(try await ledger.take(1, of: name, rule: "host.*", by: owner).units == 1)
                #expect(try await ledger.take(1, of: name, rule: "host.*", by: owner).units == 0)
            }
            #expect(try await ledger.take(1, of: "other", by: owner) == .unlimited)
            try await ledger.bury(owner)
            #expect(try await ledger.take(1, of: "host.c", rule: "host.*", by: owner) == .fenced)
            #expect(try await ledger.share("host.c", used: 0, wanted: 1, turn: 1, by: owner) == .fenced)
        }
    }

    @Test("A pattern has so many buckets and no more: further names share one, and full ones are cleared away")
    func bounded() async throws {
        try await Ledger.with { ledger in
            let owner = try await ledger.worker()
            try await ledger.pool.script(
                "create or replace function gaia.limit_names_max() returns integer language sql immutable as 'select 3'"
            )
            try await ledger.store.setLimit("host.*", rate: 0.1, burst: 1)
            for name in ["host.1", "host.2", "host.3", "host.4"] {
                #expect(try await ledger.take(1, of: name, rule: "host.*", by: owner).units == 1)
            }
            #expect(try await ledger.take(1, of: "host.5", rule: "host.*", by: owner).units == 0)
            #expect(try await ledger.count("gaia.limit_bucket") == 4)
            let term = try await ledger.store.beginTerm(name: "d")
            try await ledger.pool.script(
                "update gaia.limit_bucket set at = at - interval '1 hour' where name <> 'host.2'")
            _ = try await ledger.store.retainRest(Retention(), term: term)
            #expect(try await ledger.count("gaia.limit_bucket") == 1)
            #expect(try await ledger.take(1, of: "host.5", rule: "host.*", by: owner).units == 1)
        }
    }

    @Test("Places are never more than there are, come free with an epoch, and are shared out by wishes")
    func places() async throws {
        try await Ledger.with { ledger in
            let (one, two, three) = (
                try await ledger.worker("one"), try await ledger.worker("two"), try await ledger.worker("three")
            )
            try await ledger.store.setLimit("n", rate: nil, places: 10)
            #expect(try await ledger.share("n", used: 0, wanted: 15, turn: 1, by: one) == .share(10))
            #expect(try await ledger.share("n", used: 0, wanted: 4, turn: 1, by: two) == .share(0))
            // The other's wish is known: what comes free is not for the one who has most.
            #expect(try await ledger.share("n", used: 10, wanted: 15, turn: 2, by: one) == .share(6))
            #expect(try await ledger.share("n", used: 0, wanted: 4, turn: 2, by: two) == .share(0))
            #expect(try await ledger.share("n", used: 7, wanted: 12, turn: 3, by: one) == .share(6))
            #expect(try await ledger.share("n", used: 0, wanted: 4, turn: 3, by: two) == .share(3))
            #expect(try await ledger.share("n", used: 6, wanted: 12, turn: 2, by: one) == .late)
            #expect(try await ledger.share("n", used: 6, wanted: 12, turn: 4, by: one) == .share(6))
            #expect(try await ledger.share("n", used: 3, wanted: 4, turn: 4, by: two) == .share(4))
            #expect(try await ledger.share("n", used: 0, wanted: 1, turn: 1, by: three) == .share(0))
            try await ledger.bury(one)
            #expect(try await ledger.share("n", used: 0, wanted: 9, turn: 2, by: three) == .share(6))
            #expect(try await ledger.share("n", used: 0, wanted: 0, turn: 5, by: two) == .share(0))
            #expect(try await ledger.share("n", used: 6, wanted: 9, turn: 3, by: three) == .share(9))
            // Fewer by an operator: nobody is thrown out, nobody comes in.
            try await ledger.store.setLimit("n", rate: nil, places: 2)
            #expect(try await ledger.share("n", used: 9, wanted: 9, turn: 4, by: three) == .share(2))
            #expect(try await ledger.share("n", used: 0, wanted: 1, turn: 6, by: two) == .share(0))
        }
    }

    @Test("Where there are more workers than places they have them in turns")
    func turns() async throws {
        try await Ledger.with { ledger in
            var workers: [WorkerEpoch] = []
            for number in 1...3 { workers.append(try await ledger.worker("w\(number)")) }
            try await ledger.store.setLimit("n", rate: nil, places: 1)
            var turn: Int64 = 0
            func ask(_ worker: Int, used: Int) async throws -> PlacesAnswer {
                turn += 1
                return try await ledger.share("n", used: used, wanted: 5, turn: turn, by: workers[worker])
            }
            #expect(try await ask(0, used: 0) == .share(1))
            #expect(try await ask(1, used: 0) == .share(0))
            #expect(try await ask(2, used: 0) == .share(0))
            #expect(try await ask(0, used: 1) == .share(0))
            #expect(try await ask(0, used: 0) == .share(0), "the others have waited for longer")
            #expect(try await ask(2, used: 0) == .share(0))
            #expect(try await ask(1, used: 0) == .share(1))
            #expect(try await ask(1, used: 0) == .share(0), "its turn is over")
            #expect(try await ask(2, used: 0) == .share(1))
            #expect(try await ask(2, used: 0) == .share(0))
            #expect(try await ask(0, used: 0) == .share(1))
        }
    }

    @Test("A closed name yields nothing until its time is over or it is opened, and a longer closing stands")
    func closing() async throws {
        try await Ledger.with { ledger in
            let (store, owner) = (ledger.store, try await ledger.worker())
            try await store.setLimit("host.*", rate: 1_000)
            try await store.closeLimits([("host.a", .seconds(100)), ("other", .seconds(1))], reason: "429")
            try await store.closeLimits([("host.a", .seconds(10))], reason: "less")
            guard case .closed(let pause) = try await ledger.take(1, of: "host.a", rule: "host.*", by: owner) else {
                Issue.record("it is open")
                return
            }
            #expect(pause > .seconds(90))
            #expect(try await ledger.take(1, of: "host.b", rule: "host.*", by: owner).units == 1)
            #expect(try await Set(store.limitRules().closed.map(\.name)) == ["host.a", "other"])
            let listed = try #require(try await store.limits().first { $0.name == "host.a" })
            #expect(listed.reason == "429" && listed.closedUntil != nil)
            #expect(try await store.openLimit("host.a"))
            #expect(try await !store.openLimit("host.a"))
            #expect(try await ledger.take(1, of: "host.a", rule: "host.*", by: owner).units == 1)
        }
    }

    @Test("A limit is changed in part, keeps its burst in proportion, and is refused when it makes no sense")
    func setting() async throws {
        try await Ledger.with { ledger in
            let store = ledger.store
            try await store.setLimit("n", rate: 100)
            try await store.setLimit("n", rate: nil, places: 4)
            #expect(try await store.limitRules().rules == [LimitRule(name: "n", rate: 100, burst: 10, places: 4)])
            try await store.setLimit("n", rate: 2, burst: 30)
            #expect(try await store.limitRules().rules == [LimitRule(name: "n", rate: 2, burst: 30, places: 4)])
            try await store.setLimit("n", rate: 0)
            #expect(try await store.limitRules().rules == [LimitRule(name: "n", places: 4)])
            for (name, rate, burst, places) in [
                ("n", nil, nil, 0), ("n", nil, 5.0, nil), ("n", -1, nil, nil), ("a b", 1, nil, nil), ("", 1, nil, nil),
                ("a*", 1, nil, nil), ("*.a", 1, nil, nil), (String(repeating: "x", count: 201), 1, nil, nil),
                ("m", .nan, nil, nil), ("m", nil, nil, 1_000_001), ("m", nil, nil, nil),
            ] as [(String, Double?, Double?, Int?)] {
                let error = await #expect(throws: PostgresError.self, "\(name) \(String(describing: rate))") {
                    try await store.setLimit(name, rate: rate, burst: burst, places: places)
                }
                #expect(error?.sqlState == "22023", "\(String(describing: error))")
                #expect(!LimitBound.isName(name) || ["n", "m"].contains(name))
            }
            #expect(try await store.removeLimit("n"))
            #expect(try await !store.removeLimit("n"))
        }
    }

    @Test("Whoever has not been granted it may not set, close or use limits")
    func rights() async throws {
        try await Ledger.with { ledger in
            let role = "limits_\(UInt32.random(in: 0 ... .max))"
            try await ledger.pool.script("create role \(role); grant usage on schema gaia to \(role)")
            func attempt(_ sql: String) async -> String? {
                do {
                    try await ledger.pool.script("set role \(role); \(sql); reset role")
                    return nil
                } catch { return error.sqlState }
            }
            let calls = [
                "select gaia.limit_set('n', 1)", "select gaia.limit_close('n', interval '1 second')",
                "select gaia.limit_open('n')", "select gaia.limit_remove('n')",
            ]
            for call in calls + ["select * from gaia.limit_take(1, 1, '{}', '{}', '{}', '{}', '{}', '{}')"] {
                #expect(await attempt(call) == "42501", "\(call)")
            }
            try await ledger.pool.script(
                """
                reset role;
                grant execute on function gaia.limit_set, gaia.limit_close, gaia.limit_open, gaia.limit_remove to \(role)
                """)
            for call in calls { #expect(await attempt(call) == nil, "\(call)") }
            try await ledger.pool.script("reset role; drop owned by \(role); drop role \(role)")
        }
    }

    @Test("A claim is confirmed while its token and its epoch stand, and no longer")
    func confirmation() async throws {
        try await Ledger.with { ledger in
            let (one, two) = (try await ledger.worker("one"), try await ledger.worker("two"))
            let held = try await ledger.own("k", by: one)
            let identity = Ledger.identity("k")
            #expect(try await ledger.store.confirmClaim(identity, token: held.token, by: one))
            #expect(try await !ledger.store.confirmClaim(identity, token: held.token + 1, by: one))
            #expect(try await !ledger.store.confirmClaim(identity, token: held.token, by: two))
            try await ledger.bury(one)
            #expect(try await !ledger.store.confirmClaim(identity, token: held.token, by: one))
            let next = try await ledger.own("k", by: two)
            #expect(try await ledger.store.confirmClaim(identity, token: next.token, by: two))
            _ = try await ledger.complete("k", next, .succeed(output: "1"))
            #expect(try await !ledger.store.confirmClaim(identity, token: next.token, by: two))
        }
    }
}
