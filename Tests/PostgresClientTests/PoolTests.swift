import PostgresClient
import TestPatience
import Testing

@Suite("Pool")
struct PoolTests {
    @Test("Who finds all connections taken waits for acquireTimeout and is told so")
    func exhaustion() async throws {
        try await withPool(try sharedServerURL(), size: 1, { $0.acquireTimeout = .milliseconds(300) }) { pool in
            try await eventually("it is connected") { pool.status.connected == 1 }
            try await pool.withConnection { session in
                let error = try await failure { try await pool.execute(sql("select 1")) }
                #expect(error.kind == .acquireTimeout)
                #expect(error.isTransient)
                // The session is its own and needs no line.
                #expect(try await session.execute(sql("select 1")).single().get(0) == 1)
            }
            #expect(try await pool.execute(sql("select 1")).single().get(0) == 1)
        }
    }

    @Test("A full line refuses at once")
    func fullLine() async throws {
        try await withPool(try sharedServerURL(), size: 1, { $0.maxWaiters = 1 }) { pool in
            let (held, done) = (Signal(), Signal())
            async let holder: Void = pool.withConnection { _ in
                held.set()
                await done.wait()
            }
            await held.wait()
            async let waiter = pool.execute(sql("select 1"))
            try await eventually("one waits") { pool.status.waiting == 1 }
            let error = try await failure { try await pool.execute(sql("select 2")) }
            #expect(error.kind == .acquireTimeout)
            done.set()
            #expect(try await waiter.single().get(0) == 1)
            try await holder
        }
    }

    @Test("Waiters are served in the order in which they came")
    func fairness() async throws {
        try await withPool(try sharedServerURL(), size: 1) { pool in
            let order = Journal<Int>()
            try await withThrowingTaskGroup(of: Void.self) { group in
                try await pool.withConnection { _ in
                    for number in 0..<20 {
                        group.addTask {
                            if number % 2 == 0 {
                                try await pool.withConnection { _ in order.append(number) }
                            } else {
                                try await pool.withTransaction { _ in order.append(number) }
                            }
                        }
                        try await eventually("waiter \(number) stands in line") { pool.status.waiting == number + 1 }
                    }
                }
                try await group.waitForAll()
            }
            #expect(order.entries == Array(0..<20))
        }
    }

    @Test("200 tasks share 4 connections and each gets its own answer")
    func manyTasks() async throws {
        try await withPool(try sharedServerURL(), size: 4) { pool in
            let statement = PostgresStatement(name: "echo", sql: "select $1::int8, pg_backend_pid()")
            let answers = try await withThrowingTaskGroup(of: (Int64, Int64, Int32).self) { group in
                for number in 0..<200 as Range<Int64> {
                    group.addTask {
                        let row = try await pool.execute(statement, [.int64(number)]).single()
                        return (number, try row.get(0), try row.get(1))
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers.count == 200)
            #expect(answers.allSatisfy { $0.0 == $0.1 })
            #expect(Set(answers.map(\.2)).count <= 4)
            // On a busy machine the work may be done before the last of them is there.
            #expect((1...4).contains(pool.status.connected))
        }
    }

    @Test("A cancelled task ends its statement on the server, and the same connection serves the next at once")
    func cancellation() async throws {
        try await withPool(try sharedServerURL(), size: 1) { pool in
            let process: Int32 = try await pool.execute(sql("select pg_backend_pid()")).single().get(0)
            let begin = ContinuousClock.now
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    let error = try await failure { try await pool.execute(sql("select pg_sleep(60)")) }
                    #expect(error.kind == .cancelled)
                }
                try await eventually("the statement runs") { pool.status.busy == 1 }
                group.cancelAll()
                try await group.waitForAll()
            }
            #expect(try await pool.execute(sql("select pg_backend_pid()")).single().get(0) == process)
            #expect(ContinuousClock.now - begin < .seconds(10))
        }
    }

    @Test("A task cancelled while it waits, or before it asked, leaves the line")
    func cancelledWaiter() async throws {
        try await withPool(try sharedServerURL(), size: 1) { pool in
            try await pool.withConnection { _ in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        let error = try await failure { try await pool.execute(sql("select 1")) }
                        #expect(error.kind == .cancelled)
                    }
                    try await eventually("one waits") { pool.status.waiting == 1 }
                    group.cancelAll()
                    group.addTask {
                        let error = try await failure { try await pool.execute(sql("select 1")) }
                        #expect(error.kind == .cancelled)
                    }
                    try await group.waitForAll()
                }
                try await eventually("nobody waits") { pool.status.waiting == 0 }
            }
        }
    }

    @Test("Cancelling again and again never hits a neighbour's statement")
    func cancellationIsAimed() async throws {
        try await withPool(try sharedServerURL(), size: 2) { pool in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<60 {
                    group.addTask {
                        await withTaskGroup(of: Void.self) { inner in
                            inner.addTask {
                                _ = await Result { () async throws in
                                    try await pool.execute(sql("select pg_sleep(0.002)"))
                                }
                            }
                            inner.addTask { await Task.yield() }
                            await inner.next()
                            inner.cancelAll()
                        }
                    }
                    group.addTask {
                        let seven: Int = try await pool.execute(sql("select 7")).single().get(0)
                        #expect(seven == 7)
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test("Cancelling one unit of a session spares the others under way with it")
    func cancellationInSession() async throws {
        try await withPool(try sharedServerURL(), size: 1) { pool in
            try await pool.withConnection { session in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    let others = (0..<5).map { number in
                        Task {
                            try await session.execute(sql("select \(number) from pg_sleep(0.01)")).single().get(
                                0, as: Int.self)
                        }
                    }
                    group.addTask {
                        let error = try await failure { try await session.execute(sql("select pg_sleep(60)")) }
                        #expect(error.kind == .cancelled)
                    }
                    try await eventually("the statement runs") {
                        !others.isEmpty && pool.status.busy == 1
                    }
                    group.cancelAll()
                    try await group.waitForAll()
                    for (number, other) in others.enumerated() { #expect(try await other.value == number) }
                }
            }
        }
    }

    @Test("A connection that comes back with a transaction open is replaced")
    func dirtyConnection() async throws {
        try await withDatabase(size: 1) { pool, _ in
            let process = try await pool.withConnection { session in
                try await session.script("begin")
                return session.backendProcessID()
            }
            #expect(try await pool.execute(sql("select pg_backend_pid()")).single().get(0) != process)
            // The same when a single statement opens it.
            let second: Int32 = try await pool.execute(sql("select pg_backend_pid()")).single().get(0)
            try await pool.execute(sql("begin"))
            #expect(try await pool.execute(sql("select pg_backend_pid()")).single().get(0) != second)
        }
    }

    @Test("A session used after its scope is refused")
    func sessionAfterScope() async throws {
        try await withPool(try sharedServerURL(), size: 1) { pool in
            let session = try await pool.withConnection { $0 }
            let error = try await failure { try await session.execute(sql("select 1")) }
            #expect(error.kind == .closed)
        }
    }

    @Test("A wrong password and an absent database end run() with a typed error, for those who wait too")
    func permanentErrors() async throws {
        let server = try sharedServerURL()
        let wrongPassword = server.replacing(try Regex("//[^@]*@"), with: "//gaia:gewiss-falsch@")
        for (wrong, states) in [(wrongPassword, ["28P01"]), (url(server, database: "there_is_none"), ["3D000"])] {
            let pool = PostgresPool(configuration: try PostgresConfiguration(url: wrong), logger: quietLogger())
            async let running = failure { try await pool.run() }
            async let waiting = failure { try await pool.execute(sql("select 1")) }
            for error in [try await running, try await waiting] {
                #expect(states.contains(error.sqlState ?? ""), "\(error)")
                #expect(!error.isTransient)
                #expect(!error.description.contains("gewiss-falsch"))
                #expect(!error.description.contains("LOCATION"))
            }
            let late = try await failure { try await pool.execute(sql("select 1")) }
            #expect(states.contains(late.sqlState ?? ""), "who comes later hears the reason too: \(late)")
        }
    }

    @Test("With no server the pool keeps trying, callers are told, and close() ends it at once")
    func absentServer() async throws {
        // Port 1 refuses: nothing but root may listen there, and nothing does.
        try await withPool("postgres://gaia:x@127.0.0.1:1/none", { $0.acquireTimeout = .milliseconds(100) }) { pool in
            try await eventually("callers are told why") {
                let error = try await failure { try await pool.execute(sql("select 1")) }
                #expect(error.kind == .unavailable)
                #expect(error.isTransient)
                return error.message.contains("refused")
            }
            let begin = ContinuousClock.now
            await pool.close()
            #expect(ContinuousClock.now - begin < .seconds(10))
            #expect(try await failure { try await pool.execute(sql("select 1")) }.kind == .closed)
        }
    }

    @Test("Of several hosts the first that answers is taken")
    func severalHosts() async throws {
        let server = try sharedServerURL()
        let two = server.replacing(try Regex("@([^/]*)/")) { "@127.0.0.1:1,\($0.output[1].substring ?? "")/" }
        let one: Int = try await withPool(two) { pool in try await pool.execute(sql("select 1")).single().get(0) }
        #expect(one == 1)
    }

    @Test("Cancelling run() closes the pool, and what runs may finish first")
    func cancelRun() async throws {
        let pool = PostgresPool(
            configuration: try PostgresConfiguration(url: try sharedServerURL()), logger: quietLogger())
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await pool.run() }
            _ = try await pool.execute(sql("select 1"))
            async let last = pool.execute(sql("select 5 from pg_sleep(2)"))
            try await eventually("it runs") { pool.status.busy == 1 }
            group.cancelAll()
            #expect(try await last.single().get(0) == 5)
            try await group.waitForAll()
        }
    }
}
