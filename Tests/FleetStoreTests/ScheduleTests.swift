import FleetModel
import FleetStore
import PostgresClient
import Testing

@Suite("Jobs by the clock")
struct ScheduleTests {
    private func schedule(
        _ every: String, zone: String = "UTC", catchUp: CronSchedule.CatchUp = .skip
    ) throws -> CronSchedule {
        CronSchedule(
            name: "n", expression: try CronExpression(every), zone: zone, type: "test.do.v1", payload: "{}",
            catchUp: catchUp)
    }

    /// Sets the next tick, makes all ticks that are due, and says which jobs there are and when the next tick is.
    private func run(_ ledger: Ledger, from start: String, term: Int64) async throws -> (keys: [String], next: String) {
        try await ledger.pool.script("update gaia.cron set next_at = \(start)")
        for _ in 0..<200 {
            let due = try await ledger.store.dueTicks(atMost: 10)
            if due.isEmpty { break }
            for tick in due { _ = try await ledger.store.make(tick, term: term) }
        }
        let keys = try await ledger.pool.execute(
            PostgresStatement(name: "test-keys", sql: "select key from gaia.job order by key")
        ).map { try $0.get(0, as: String.self) }
        return (keys, try #require(try await ledger.store.schedules().first?.nextAt))
    }

    @Test("A tick makes one job, on the agenda at once, however many dispatchers see it")
    func once() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let term = try await ledger.store.beginTerm(name: "d")
            try await ledger.store.put(try schedule("* * * * *"))
            try await ledger.pool.script("update gaia.cron set next_at = date_trunc('minute', now())")
            let ticks = try await ledger.store.dueTicks(atMost: 10)
            let tick = try #require(ticks.first)
            let made = try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<8 { group.addTask { try await ledger.store.make(tick, term: term) } }
                return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(made == 1)
            let due = try await ledger.store.due(atMost: 10)
            #expect(due.count == 1 && due[0].job.key.hasPrefix("cron/n/2"))
            #expect(try await ledger.store.dueTicks(atMost: 10).isEmpty)
        }
    }

    @Test("A deposed leader makes none")
    func deposed() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let old = try await ledger.store.beginTerm(name: "old")
            _ = try await ledger.store.beginTerm(name: "young")
            try await ledger.store.put(try schedule("* * * * *"))
            try await ledger.pool.script("update gaia.cron set next_at = now()")
            for tick in try await ledger.store.dueTicks(atMost: 10) {
                #expect(try await !ledger.store.make(tick, term: old))
            }
            #expect(try await ledger.store.due(atMost: 10).isEmpty)
        }
    }

    @Test(
        "Missed ticks are skipped, or the last is made up for, or each",
        arguments: [(CronSchedule.CatchUp.skip, 0), (.last, 1), (.all, 6)])
    func missed(_ catchUp: CronSchedule.CatchUp, _ expected: Int) async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let term = try await ledger.store.beginTerm(name: "d")
            // Every ten minutes, in such a phase that the last tick was about five minutes ago, whatever the time is now.
            let clock = PostgresStatement(name: "test-minute", sql: "select extract(minute from now())::int4")
            let minute: Int32 = try await ledger.pool.execute(clock).single().get(0)
            try await ledger.store.put(try schedule("\((minute + 5) % 10)-59/10 * * * *", catchUp: catchUp))
            let start = "date_trunc('minute', now()) - interval '55 minutes'"
            let (keys, _) = try await run(ledger, from: start, term: term)
            #expect(keys.count == expected)
            #expect(try await ledger.store.dueTicks(atMost: 10).isEmpty)
        }
    }

    /// By the clock of Berlin: 2024-03-31 02:00 to 03:00 is left out, 2024-10-27 02:00 to 03:00 comes twice.
    @Test(
        "Clocks that are set forward or back lose no tick and double none, and hours go on as they pass",
        arguments: [
            ("30 2 * * *", "2024-03-30 01:30Z", ["2024-03-30T01:30Z", "2024-03-31T01:30Z", "2024-04-01T00:30Z"]),
            ("30 2 * * *", "2024-10-26 00:30Z", ["2024-10-26T00:30Z", "2024-10-27T00:30Z", "2024-10-28T01:30Z"]),
            (
                "0 * * * *", "2024-10-26 23:00Z",
                ["2024-10-26T23:00Z", "2024-10-27T00:00Z", "2024-10-27T01:00Z", "2024-10-27T02:00Z"]
            ),
            ("0 * * * *", "2024-03-31 00:00Z", ["2024-03-31T00:00Z", "2024-03-31T01:00Z", "2024-03-31T02:00Z"]),
        ])
    func clocks(_ every: String, _ start: String, _ ticks: [String]) async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let term = try await ledger.store.beginTerm(name: "d")
            try await ledger.store.put(try schedule(every, zone: "Europe/Berlin", catchUp: .all))
            try await ledger.pool.script("update gaia.cron set next_at = '\(start)'")
            for _ in ticks {
                for tick in try await ledger.store.dueTicks(atMost: 10) {
                    _ = try await ledger.store.make(tick, term: term)
                }
            }
            let keys = try await ledger.pool.execute(
                PostgresStatement(name: "test-keys", sql: "select key from gaia.job order by key")
            ).map { try $0.get(0, as: String.self) }
            #expect(keys == ticks.map { "cron/n/\($0)" })
        }
    }

    @Test("A schedule that somebody has written by hand and that is none is named, so that it can be set aside")
    func unfit() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            try await ledger.store.put(try schedule("* * * * *"))
            for damage in ["expression = '* * 31 feb *'", "type = 'nonsense'"] {
                try await ledger.pool.script("update gaia.cron set next_at = now(), \(damage)")
                let error = await #expect(throws: UnfitSchedule.self) { try await ledger.store.dueTicks(atMost: 10) }
                #expect(error?.name == "n")
            }
        }
    }

    @Test("A time zone that is none is refused; a schedule can rest, go on and be removed")
    func life() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let store = ledger.store
            await #expect(throws: UnknownZone.self) { try await store.put(try schedule("@daily", zone: "Mars/Base")) }
            try await store.put(try schedule("@daily", zone: "Europe/Berlin"))
            #expect(try await store.pauseSchedule("n", true))
            try await ledger.pool.script("update gaia.cron set next_at = now()")
            #expect(try await store.dueTicks(atMost: 10).isEmpty)
            #expect(try await store.pauseSchedule("n", false))
            #expect(try await store.dueTicks(atMost: 10).count == 1)
            #expect(try await store.removeSchedule("n"))
            #expect(try await !store.removeSchedule("n"))
        }
    }
}

@Suite("Enqueueing by SQL")
struct SQLEnqueueTests {
    private func enqueue(_ ledger: Ledger, _ arguments: String) async throws -> String {
        try await ledger.pool.execute(
            PostgresStatement(name: "test-\(arguments.hashValue)", sql: "select gaia.enqueue(\(arguments))")
        ).single().get(0)
    }

    @Test("A job enqueued in a transaction is there after the commit, and never was after a rollback")
    func transactional() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            struct Undo: Error {}
            await #expect(throws: Undo.self) {
                try await ledger.pool.withTransaction { session in
                    try await session.script("select gaia.enqueue('test.do.v1', '{}', 'k')")
                    throw Undo()
                }
            }
            #expect(try await ledger.store.due(atMost: 10).isEmpty)
            #expect(try await enqueue(ledger, "'test.do.v1', '{}', 'k'") == "scheduled")
            #expect(try await ledger.store.due(atMost: 10).map(\.job.key) == ["k"])
            #expect(try await enqueue(ledger, "'test.do.v1', '{}', 'k'") == "duplicate")
        }
    }

    @Test("It is published in canonical form, and then claimed like any other")
    func sealed() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let term = try await ledger.store.beginTerm(name: "d")
            let worker = try await ledger.worker()
            _ = try await enqueue(ledger, #"'test.do.v1', '{"zebra": 1, "a": {"c": [1, 2.50], "b": "ä"}}', 'k'"#)
            let canonical = #"{"a":{"b":"ä","c":[1,2.50]},"zebra":1}"#
            // Nobody may claim it before, and another payload is a conflict already.
            #expect(try await ledger.claim(Ledger.request("k", payload: canonical), by: worker).word == "again")
            #expect(
                try await ledger.claim(Ledger.request("k", payload: #"{"a":1}"#), by: worker).word
                    == "conflict with test.do.v1")
            let found = try await ledger.store.due(atMost: 10)
            #expect(try await ledger.store.seal(found, term: term - 1).isEmpty)
            #expect(try await ledger.store.due(atMost: 10).map(\.isUnsealed) == [true])
            // What may be published at once is what the ledger has from then on.
            for due in [try await ledger.store.seal(found, term: term), try await ledger.store.due(atMost: 10)] {
                #expect(due.map(\.isUnsealed) == [false])
                #expect(due.map { String(decoding: $0.job.payload, as: UTF8.self) } == [canonical])
            }
            // Somebody else has sealed it: to be read again.
            #expect(try await ledger.store.seal(found, term: term).isEmpty)
            #expect(try await ledger.claim(Ledger.request("k", payload: canonical), by: worker).word == "claimed")
        }
    }

    @Test(
        "What cannot become a job is refused in the caller's transaction, saying why",
        arguments: [
            ("'Bad', '{}', 'k'", "22023"), ("'urgent.do.v1', '{}', 'k'", "22023"), ("'test.do', '{}', 'k'", "22023"),
            ("'test.do.v1', '[]', 'k'", "22023"), ("'test.do.v1', '{}', ''", "22023"),
            ("'test.do.v1', '{}', repeat('k', 201)", "22023"), ("'test.do.v1', '{}', E'a\\nb'", "22023"),
            ("'test.do.v1', '{}', 'k', max_attempts => 1001", "22023"),
            ("'test.do.v1', '{}', 'k', delay => interval '-1 s'", "22023"),
            ("'test.do.v1', '{}', 'k', backoff => 'now and then'", "22023"),
            ("'test.do.v1', '{}', 'k', backoff => 'fixed 1s 2s'", "22023"),
            ("'test.do.v1', '{\"other\": 1}', 'taken'", "23505"), ("'test.other.v1', '{}', 'taken'", "23505"),
        ])
    func refused(_ arguments: String, _ state: String) async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            _ = try await enqueue(ledger, "'test.do.v1', '{}', 'taken'")
            let error = await #expect(throws: PostgresError.self) { try await enqueue(ledger, arguments) }
            #expect(error?.sqlState == state)
        }
    }

    @Test("One that cannot be run as it was given ends by itself, says why, and holds up no other")
    func flawed() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let term = try await ledger.store.beginTerm(name: "d")
            let worker = try await ledger.worker()
            // Two days are more than a pause may be; SQL does not know that.
            _ = try await enqueue(ledger, "'test.do.v1', '{}', 'flawed', backoff => 'fixed 2d'")
            _ = try await enqueue(ledger, "'test.do.v1', '{}', 'sound', backoff => 'fixed 5s'")
            let sealed = try await ledger.store.seal(try await ledger.store.due(atMost: 10), term: term)
            #expect(sealed.map(\.job.key) == ["sound"])
            let due = try await ledger.store.due(atMost: 10)
            #expect(Set(due.map(\.job.key)) == ["flawed", "sound"])
            #expect(due.first { $0.job.key == "sound" }?.job.backoff == .fixed(.seconds(5)))
            let result = try #require(
                try await ledger.claim(Ledger.request("flawed", payload: "{}"), by: worker).result)
            #expect(result.state == .discarded && result.error?.contains("fixed 2d") == true)
            #expect(try await ledger.claim(Ledger.request("sound", payload: "{}"), by: worker).word == "claimed")
        }
    }

    @Test("A delay keeps it, a deadline and a lane go with it")
    func options() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            _ = try await enqueue(
                ledger,
                """
                'test.do.v1', '{}', 'k', delay => interval '1 hour', reply_to => 'r', correlation_id => 'c',
                subject => 's', max_attempts => 3, deadline => interval '1 minute', backoff => 'fixed 1s', urgent => true
                """)
            #expect(try await ledger.store.due(atMost: 10).isEmpty)
            let record = try await ledger.record("k")
            #expect((record.state, record.attemptsMax, record.isUrgent) == ("scheduled", 3, true))
            #expect((record.replyTo, record.correlationID, record.subject) == ("r", "c", "s"))
            #expect(record.deadlineAt != nil && record.backoff == "fixed 1s" && record.producer == "sql")
        }
    }
}
