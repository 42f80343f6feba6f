import PostgresClient
import TestPatience
import Testing

@Suite("Statements")
struct StatementsTests {
    @Test("A syntax error names its statement and leaves the session usable")
    func syntaxError() async throws {
        try await withPool(try sharedServerURL(), size: 1) { pool in
            try await pool.withConnection { session in
                let process = session.backendProcessID()
                let error = try await failure {
                    try await session.execute(PostgresStatement(name: "typo", sql: "selec 1"))
                }
                #expect(error.kind == .server(sqlState: "42601"))
                #expect(error.sqlState == "42601")
                #expect(error.severity == "ERROR")
                #expect(error.statement == "typo")
                #expect(!error.isTransient)
                // A statement that could not be prepared is tried afresh, not taken for prepared.
                let again = try await failure {
                    try await session.execute(PostgresStatement(name: "typo", sql: "selec 1"))
                }
                #expect(again.sqlState == "42601")
                #expect(try await session.execute(sql("select pg_backend_pid()")).single().get(0) == process)
            }
        }
    }

    @Test("A unique violation tells constraint and detail")
    func uniqueViolation() async throws {
        try await withDatabase(size: 1) { pool, _ in
            try await pool.script("create table t (id int constraint t_once primary key)")
            let insert = PostgresStatement(name: "insert", sql: "insert into t values ($1)")
            #expect(try await pool.execute(insert, [.int32(1)]).affectedRows == 1)
            let error = try await failure { try await pool.execute(insert, [.int32(1)]) }
            #expect(error.sqlState == "23505")
            #expect(error.constraint == "t_once")
            #expect(error.detail?.contains("already exists") == true)
            #expect(error.statement == "insert")
            #expect(try await pool.execute(insert, [.int32(2)]).affectedRows == 1)
        }
    }

    @Test("A pipeline is one transaction in which each statement sees the ones before it")
    func pipelineIsOneTransaction() async throws {
        try await withDatabase(size: 2) { pool, _ in
            try await pool.script("create table t (id int primary key)")
            let insert = PostgresStatement(name: "insert", sql: "insert into t values ($1)")
            let count = PostgresStatement(name: "count", sql: "select count(*) from t")
            let results = try await pool.pipeline([
                (insert, [.int32(1)]), (count, []), (insert, [.int32(2)]), (count, []),
            ])
            #expect(try results.map { $0.isEmpty ? nil : try $0[0].get(0, as: Int.self) } == [nil, 1, nil, 2])
            let error = try await failure {
                try await pool.pipeline([(insert, [.int32(3)]), (insert, [.int32(1)]), (count, [])])
            }
            #expect(error.sqlState == "23505")
            #expect(try await pool.execute(count).single().get(0) == 2)
            #expect(try await pool.pipeline([]).isEmpty)
        }
    }

    @Test("Of three units under way on one connection the middle one fails, and its neighbours succeed")
    func failureBetweenNeighbours() async throws {
        try await withDatabase(size: 1) { pool, _ in
            try await pool.script("create table t (id int primary key); insert into t values (1)")
            let insert = PostgresStatement(name: "insert", sql: "insert into t values ($1) returning id")
            try await pool.withConnection { session in
                // All three are handed over while the first still sleeps, so they are in flight together.
                async let first = session.pipeline([(sql("select pg_sleep(0.05)"), []), (insert, [.int32(2)])])
                async let second = Result { () async throws in
                    try await session.pipeline([(insert, [.int32(3)]), (insert, [.int32(1)])])
                }
                async let third = session.execute(insert, [.int32(4)])
                #expect(try await first[1][0].get(0) == 2)
                #expect(try await third[0].get(0) == 4)
                let middle = await second
                let outcome = try await failure { _ = try middle.get() }
                #expect(outcome.sqlState == "23505")
                let ids = try await session.execute(sql("select array_agg(id order by id) from t")).single().get(
                    0, as: [Int].self)
                #expect(ids == [1, 2, 4])
            }
        }
    }

    @Test("A statement is prepared once per connection and again on a connection made anew")
    func preparedAgain() async throws {
        try await withDatabase(size: 1) { pool, url in
            let statement = PostgresStatement(name: "kept", sql: "select $1::int4 + 1")
            let prepared = sql("select count(*) from pg_prepared_statements where name like 'kept#%'")
            for number in 1...3 as ClosedRange<Int32> {
                #expect(try await pool.execute(statement, [.int32(number)]).single().get(0) == number + 1)
            }
            #expect(try await pool.execute(prepared).single().get(0) == 1)
            let process: Int32 = try await pool.execute(sql("select pg_backend_pid()")).single().get(0)
            try await withPool(url, size: 1) { other in try await other.terminate(process) }
            try await eventually("another process serves the pool") {
                let result = await Result { () async throws in
                    try await pool.execute(sql("select pg_backend_pid()")).single().get(0, as: Int32.self)
                }
                return (try? result.get()).map { $0 != process } ?? false
            }
            #expect(try await pool.execute(statement, [.int32(8)]).single().get(0) == 9)
        }
    }

    @Test("A prepared statement the server has forgotten is prepared again without the caller noticing")
    func forgottenStatement() async throws {
        try await withDatabase(size: 1) { pool, _ in
            let statement = PostgresStatement(name: "kept", sql: "select $1::int4 + 1")
            #expect(try await pool.execute(statement, [.int32(1)]).single().get(0) == 2)
            try await pool.script("deallocate all")
            #expect(try await pool.execute(statement, [.int32(2)]).single().get(0) == 3)
            try await pool.script("deallocate all")
            let value = try await pool.withTransaction {
                try await $0.execute(statement, [.int32(3)]).single().get(0, as: Int.self)
            }
            #expect(value == 4)
        }
    }

    @Test("A plan whose result type has changed is made again, alone and at the start of a transaction")
    func stalePlan() async throws {
        try await withDatabase(size: 1) { pool, _ in
            try await pool.script("create table t (id int); insert into t values (1)")
            let all = PostgresStatement(name: "all", sql: "select * from t")
            #expect(try await pool.execute(all).columnNames == ["id"])
            try await pool.script("alter table t add column name text default 'x'")
            #expect(try await pool.execute(all).columnNames == ["id", "name"])
            try await pool.script("alter table t add column more int")
            #expect(try await pool.withTransaction { try await $0.execute(all).columnNames } == ["id", "name", "more"])
            try await pool.script(
                "alter table t alter column name drop default, alter column name type bytea using name::bytea")
            let error = try await failure {
                try await pool.withTransaction { session in
                    try await session.execute(sql("select 1"))
                    try await session.execute(all)
                }
            }
            // In the midst of a transaction nothing can be repeated by itself; the caller may.
            #expect(error.sqlState == "0A000")
            #expect(error.isTransient)
            #expect(
                try await pool.withTransaction { session in
                    try await session.execute(sql("select 1"))
                    return try await session.execute(all)[0].get("name", as: [UInt8].self)
                } == [UInt8]("x".utf8))
            let left: Int = try await pool.execute(
                sql("select count(*) from pg_prepared_statements where name like 'all#%'")
            )
            .single().get(0)
            // In the transaction that failed nothing could be dropped, so one may be left behind.
            #expect(left <= 2)
        }
    }

    @Test("The same name with other parameter types, or another text, is prepared anew")
    func changedTypes() async throws {
        try await withPool(try sharedServerURL(), size: 1) { pool in
            let statement = PostgresStatement(name: "typed", sql: "select $1 is null, pg_typeof($1)::text")
            let type: String = try await pool.execute(statement, [.int32(1)]).single().get(1)
            #expect(type == "integer")
            #expect(try await pool.execute(statement, [.null]).single().get(0) == true)
            #expect(try await pool.execute(statement, [.int64(1)]).single().get(1) == "bigint")
            #expect(try await pool.execute(statement, [.text("")]).single().get(1) == "text")
            #expect(try await pool.execute(PostgresStatement(name: "typed", sql: "select 5")).single().get(0) == 5)
        }
    }

    @Test("No more statements stay prepared than allowed")
    func boundedPreparation() async throws {
        try await withPool(try sharedServerURL(), size: 1, { $0.maxPreparedStatements = 4 }) { pool in
            for number in 0..<20 {
                #expect(
                    try await pool.execute(PostgresStatement(name: "s\(number)", sql: "select \(number)")).single().get(
                        0) == number)
            }
            let count: Int = try await pool.execute(
                PostgresStatement(name: "count", sql: "select count(*) from pg_prepared_statements")
            )
            .single().get(0)
            #expect(count <= 5)
        }
    }

    @Test("Statement and lock timeouts are the server's, typed, and harmless to the connection")
    func timeouts() async throws {
        try await withDatabase(
            size: 2,
            {
                $0.statementTimeout = .milliseconds(400)
                $0.lockTimeout = .milliseconds(50)
            }
        ) { pool, _ in
            let late = try await failure { try await pool.execute(sql("select pg_sleep(30)")) }
            #expect(late.kind == .timeout)
            #expect(late.sqlState == "57014")
            #expect(late.isTransient)
            try await pool.script("create table t (id int)")
            try await pool.withTransaction { holder in
                try await holder.execute(sql("lock table t in access exclusive mode"))
                let locked = try await failure { try await pool.execute(sql("select * from t")) }
                #expect(locked.kind == .server(sqlState: "55P03"))
                #expect(locked.isTransient)
            }
            let name: String = try await pool.execute(sql("select current_setting('application_name')")).single().get(0)
            #expect(name == "test")
        }
    }

    @Test("Of two in a deadlock one is told 40P01, which is transient, and the other goes on")
    func deadlock() async throws {
        try await withDatabase(size: 3) { pool, _ in
            try await pool.script("create table t (id int primary key, n int); insert into t values (1, 0), (2, 0)")
            let update = PostgresStatement(name: "update", sql: "update t set n = n + 1 where id = $1")
            let (firstHas, secondHas) = (Signal(), Signal())
            @Sendable func cross(_ own: Int32, _ others: Int32, has: Signal, other: Signal) async -> Result<
                Void, any Error
            > {
                await Result { () async throws in
                    try await pool.withTransaction { session in
                        try await session.script("set local deadlock_timeout = '20ms'")
                        try await session.execute(update, [.int32(own)])
                        has.set()
                        await other.wait()
                        try await session.execute(update, [.int32(others)])
                    }
                }
            }
            async let first = cross(1, 2, has: firstHas, other: secondHas)
            async let second = cross(2, 1, has: secondHas, other: firstHas)
            let errors = [await first, await second].compactMap { result -> PostgresError? in
                if case .failure(let error) = result { return error as? PostgresError }
                return nil
            }
            #expect(errors.map(\.sqlState) == ["40P01"])
            #expect(errors.first?.isTransient == true)
            #expect(try await pool.execute(sql("select sum(n)::int4 from t")).single().get(0) == 2)
        }
    }

    @Test("COPY is refused and its connection replaced")
    func copy() async throws {
        try await withDatabase(size: 1) { pool, _ in
            try await pool.script("create table t (id int)")
            for attempt in [
                { @Sendable in _ = try await pool.execute(sql("copy t from stdin")) },
                { @Sendable in try await pool.script("copy t to stdout") },
            ] {
                let error = try await failure { try await attempt() }
                #expect(error.sqlState == "0A000", "\(error)")
                #expect(try await pool.execute(sql("select 1")).single().get(0) == 1)
            }
        }
    }

    @Test("A result larger than any buffer comes whole, and so goes a parameter")
    func large() async throws {
        try await withPool(try sharedServerURL(), size: 1) { pool in
            let bytes = [UInt8](repeating: 1, count: 5 << 20) + [UInt8](repeating: 2, count: 3 << 20)
            let rows = try await pool.execute(sql("select $1::bytea, length($1)"), [.bytes(bytes)])
            #expect(try rows[0].get(1) == bytes.count)
            #expect(try rows[0].get(0) == bytes)
        }
    }
}
