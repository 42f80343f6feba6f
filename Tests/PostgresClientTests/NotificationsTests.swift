import PostgresClient
import TestPatience
import Testing

@Suite("Notifications and dedicated connections")
struct NotificationsTests {
    /// Runs `body` with a listener that runs, and closes it afterwards.
    private func withListener(
        _ url: String, _ channels: [String], limit: Int = 1024, _ body: (PostgresListener) async throws -> Void
    ) async throws {
        var configuration = try PostgresConfiguration(url: url)
        configuration.maxBufferedNotifications = limit
        configuration.backoff = PostgresBackoff(initial: .milliseconds(10), max: .milliseconds(50))
        let listener = PostgresListener(configuration: configuration, channels: channels, logger: quietLogger())
        async let running: Void = listener.run()
        let result = await Result { () async throws in try await body(listener) }
        await listener.close()
        try await running
        try result.get()
    }

    @Test("Notifications come with channel and payload, after a mark that listening began; close() ends the sequence")
    func heard() async throws {
        try await withDatabase { pool, url in
            var reader: PostgresNotifications.AsyncIterator?
            try await withListener(url, ["jobs", "Odd \"name\""]) { listener in
                var iterator = listener.notifications.makeAsyncIterator()
                #expect(await iterator.next() == .reconnected)
                try await pool.script("notify jobs, 'one'")
                #expect(await iterator.next() == .message(channel: "jobs", payload: "one"))
                try await pool.execute(sql("select pg_notify('Odd \"name\"', 'grüezi')"))
                #expect(await iterator.next() == .message(channel: "Odd \"name\"", payload: "grüezi"))
                reader = iterator
            }
            #expect(await reader?.next() == nil)
        }
    }

    @Test("A listener whose backend is killed listens again and says so")
    func reconnected() async throws {
        try await withDatabase { pool, url in
            try await withListener(url, ["jobs"]) { listener in
                var iterator = listener.notifications.makeAsyncIterator()
                #expect(await iterator.next() == .reconnected)
                try await pool.execute(
                    sql(
                        "select pg_terminate_backend(pid) from pg_stat_activity where query like 'LISTEN%' and datname = current_database()"
                    ))
                #expect(await iterator.next() == .reconnected)
                try await pool.script("notify jobs, 'again'")
                #expect(await iterator.next() == .message(channel: "jobs", payload: "again"))
            }
        }
    }

    @Test("What a slow reader missed collapses into one word")
    func lagged() async throws {
        try await withDatabase { pool, url in
            try await withListener(url, ["jobs"], limit: 10) { listener in
                var iterator = listener.notifications.makeAsyncIterator()
                #expect(await iterator.next() == .reconnected)
                var heard: [PostgresNotification] = []
                // On a busy machine they may come no faster than they are read.
                for _ in 0..<100 where !heard.contains(.lagged) {
                    heard = []
                    try await pool.execute(sql("select pg_notify('jobs', g::text) from generate_series(1, 95) g"))
                    try await pool.script("notify jobs, 'last'")
                    repeat {
                        heard.append(try #require(await iterator.next()))
                    } while heard.last != .message(channel: "jobs", payload: "last")
                }
                #expect(heard.contains(.lagged))
                #expect(heard.count <= 96)
            }
        }
    }

    @Test("A reader whose task is cancelled gets nil")
    func cancelledReader() async throws {
        try await withListener(try sharedServerURL(), ["nothing_ever"]) { listener in
            let heard = await withTaskGroup(of: PostgresNotification?.self) { group in
                group.addTask {
                    var iterator = listener.notifications.makeAsyncIterator()
                    _ = await iterator.next()
                    return await iterator.next()
                }
                group.cancelAll()
                return await group.next() ?? .lagged
            }
            #expect(heard == nil)
        }
    }

    @Test("closed() returns why when the backend is killed, and the advisory lock is free at once")
    func dedicatedKilled() async throws {
        try await withDatabase { pool, url in
            let dedicated = PostgresDedicated(configuration: try PostgresConfiguration(url: url), logger: quietLogger())
            let session = try await dedicated.connect()
            try await session.execute(sql("select pg_advisory_lock(5)"))
            #expect(try await pool.execute(sql("select pg_try_advisory_lock(5)")).single().get(0) == false)
            #expect(try await failure { try await dedicated.connect() }.kind == .invalidConfiguration)
            async let closed = dedicated.closed()
            try await pool.terminate(session.backendProcessID())
            #expect(await closed?.kind == .connectionLost)
            try await eventually("the lock is free") {
                try await pool.execute(sql("select pg_try_advisory_xact_lock(5)")).single().get(0)
            }
            #expect(try await failure { try await session.execute(sql("select 1")) }.kind == .connectionLost)
            let again = try await dedicated.connect()
            #expect(try await again.execute(sql("select 1")).single().get(0) == 1)
            await dedicated.close()
        }
    }

    @Test("close() frees the lock at once, even with a statement under way, and closed() returns nil")
    func dedicatedClosed() async throws {
        try await withDatabase { pool, url in
            let dedicated = PostgresDedicated(configuration: try PostgresConfiguration(url: url), logger: quietLogger())
            let session = try await dedicated.connect()
            try await session.execute(sql("select pg_advisory_lock(6)"))
            async let closed = dedicated.closed()
            await dedicated.close()
            #expect(await closed == nil)
            try await eventually("the lock is free") {
                try await pool.execute(sql("select pg_try_advisory_xact_lock(6)")).single().get(0)
            }
        }
    }

    /// The refusal may come before the caller stands in line, and after.
    @Test("connect() says why it cannot, however soon it is refused")
    func dedicatedRefused() async throws {
        // Nothing listens on a port that only the system may take.
        let configuration = try PostgresConfiguration(url: "postgresql://nobody@127.0.0.1:1/none")
        try await withThrowingDiscardingTaskGroup { group in
            for _ in 0..<8 {
                group.addTask {
                    let dedicated = PostgresDedicated(configuration: configuration, logger: quietLogger())
                    for _ in 0..<200 {
                        let error = try await failure { _ = try await dedicated.connect() }
                        try #require(error.kind == .unavailable && error.isTransient, "\(error)")
                    }
                }
            }
        }
    }

    @Test("A quiet dedicated connection is asked for a sign of life and stays")
    func probed() async throws {
        var configuration = try PostgresConfiguration(url: try sharedServerURL())
        configuration.probeInterval = .milliseconds(20)
        let dedicated = PostgresDedicated(configuration: configuration, logger: quietLogger())
        let session = try await dedicated.connect()
        let process = session.backendProcessID()
        try await withPool(try sharedServerURL(), size: 1) { pool in
            try await eventually("a probe was seen") {
                try await !pool.execute(
                    sql("select 1 from pg_stat_activity where pid = $1 and query = 'SELECT 1'"), [.int32(process)]
                ).isEmpty
            }
        }
        #expect(try await session.execute(sql("select 2")).single().get(0) == 2)
        await dedicated.close()
    }
}
