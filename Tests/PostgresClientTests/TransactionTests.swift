import PostgresClient
import TestPatience
import Testing

@Suite("Transactions")
struct TransactionTests {
    private struct Refused: Error {}
    private let insert = PostgresStatement(name: "insert", sql: "insert into t values ($1)")
    private let count = PostgresStatement(name: "count", sql: "select count(*) from t")

    @Test("What the body did is there when it returns and gone when it throws")
    func commitAndRollback() async throws {
        try await withDatabase(size: 1) { pool, _ in
            try await pool.script("create table t (id int primary key)")
            let value = try await pool.withTransaction { session in
                try await session.execute(insert, [.int32(1)])
                try await session.script("insert into t values (2); insert into t values (3)")
                return "done"
            }
            #expect(value == "done")
            #expect(try await pool.execute(count).single().get(0) == 3)
            await #expect(throws: Refused.self) {
                try await pool.withTransaction { session in
                    try await session.script("insert into t values (4)")
                    try await session.execute(insert, [.int32(5)])
                    throw Refused()
                }
            }
            #expect(try await pool.execute(count).single().get(0) == 3)
            try await pool.withTransaction { _ in }
        }
    }

    @Test("A body that swallows a statement's failure is told that nothing was committed")
    func swallowedFailure() async throws {
        try await withDatabase(size: 1) { pool, _ in
            try await pool.script("create table t (id int primary key)")
            let error = try await failure {
                try await pool.withTransaction { session in
                    try await session.execute(insert, [.int32(1)])
                    _ = await Result { () async throws in try await session.execute(insert, [.int32(1)]) }
                }
            }
            #expect(error.sqlState == "25P02")
            #expect(try await pool.execute(count).single().get(0) == 0)
        }
    }

    @Test("After a first statement that was never sent nothing can slip out of the transaction")
    func firstStatementCancelled() async throws {
        try await withDatabase(size: 1) { pool, _ in
            try await pool.script("create table t (id int primary key)")
            let error = try await failure {
                try await pool.withTransaction { session in
                    let first = Task {
                        withUnsafeCurrentTask { $0?.cancel() }
                        return try await session.execute(sql("select 1"))
                    }
                    #expect(try await failure { try await first.value }.kind == .cancelled)
                    try await session.execute(insert, [.int32(1)])
                }
            }
            #expect(error.sqlState == "25P01")
            #expect(try await pool.execute(count).single().get(0) == 0)
        }
    }

    @Test("The isolation level is the one asked for", arguments: PostgresIsolation.allCases)
    func isolation(level: PostgresIsolation) async throws {
        try await withPool(try sharedServerURL(), size: 1) { pool in
            let set: String = try await pool.withTransaction(isolation: level) { session in
                try await session.execute(sql("select current_setting('transaction_isolation')")).single().get(0)
            }
            #expect(set.uppercased() == level.rawValue)
        }
    }

    @Test("A task cancelled in a transaction rolls it back and frees the connection")
    func cancelled() async throws {
        try await withDatabase(size: 1) { pool, _ in
            try await pool.script("create table t (id int primary key)")
            let inserted = Signal()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    let error = try await failure {
                        try await pool.withTransaction { session in
                            try await session.execute(insert, [.int32(1)])
                            inserted.set()
                            try await session.execute(sql("select pg_sleep(60)"))
                        }
                    }
                    #expect(error.kind == .cancelled)
                }
                await inserted.wait()
                group.cancelAll()
                try await group.waitForAll()
            }
            #expect(try await pool.execute(count).single().get(0) == 0)
        }
    }

    /// A table whose commit waits for the advisory lock 77, so that a test can act while a commit is under way.
    private static let slowCommit = """
        create table t (id int primary key);
        create function wait() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock(77); return null; end $$;
        create constraint trigger slow after insert on t deferrable initially deferred for each row execute function wait();
        """

    @Test(
        "A backend that dies while its COMMIT is under way leaves the outcome unknown, and reading back tells the truth"
    )
    func lostCommit() async throws {
        try await withDatabase(size: 3, { $0.lockTimeout = .zero }) { pool, _ in
            try await pool.script(Self.slowCommit)
            try await pool.withConnection { holder in
                try await holder.execute(sql("select pg_advisory_lock(77)"))
                let process = Signal.Value<Int32>()
                async let transaction = failure {
                    try await pool.withTransaction { session in
                        process.set(session.backendProcessID())
                        try await session.execute(insert, [.int32(1)])
                    }
                }
                try await eventually("the commit waits") { try await pool.someoneWaits(forLock: 77) }
                try await pool.terminate(try #require(process.value))
                #expect(try await transaction.kind == .outcomeUnknown)
                try await holder.execute(sql("select pg_advisory_unlock(77)"))
            }
            #expect(try await pool.execute(count).single().get(0) == 0)
        }
    }

    @Test("The same for a statement that is a transaction of its own")
    func lostAutocommit() async throws {
        try await withDatabase(size: 3, { $0.lockTimeout = .zero }) { pool, _ in
            try await pool.script(Self.slowCommit)
            try await pool.withConnection { holder in
                try await holder.execute(sql("select pg_advisory_lock(77)"))
                async let statement = failure { try await pool.execute(insert, [.int32(1)]) }
                try await eventually("the commit waits") { try await pool.someoneWaits(forLock: 77) }
                try await pool.execute(
                    sql("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and not granted"))
                #expect(try await statement.kind == .outcomeUnknown)
                try await holder.execute(sql("select pg_advisory_unlock(77)"))
            }
            #expect(try await pool.execute(count).single().get(0) == 0)
        }
    }

    @Test("A statement refused at its own commit is an ordinary error")
    func refusedAtCommit() async throws {
        try await withDatabase(size: 1) { pool, _ in
            try await pool.script(
                "create table p (id int primary key); create table t (id int references p deferrable initially deferred)"
            )
            let alone = try await failure { try await pool.execute(insert, [.int32(1)]) }
            #expect(alone.sqlState == "23503")
            let together = try await failure {
                try await pool.withTransaction { try await $0.execute(insert, [.int32(1)]) }
            }
            #expect(together.sqlState == "23503")
            #expect(try await pool.execute(count).single().get(0) == 0)
        }
    }

    @Test("A backend that dies in the midst of a transaction certainly applied nothing")
    func lostInside() async throws {
        try await withDatabase(size: 2) { pool, _ in
            try await pool.script("create table t (id int primary key)")
            let error = try await failure {
                try await pool.withTransaction { session in
                    try await session.execute(insert, [.int32(1)])
                    try await pool.terminate(session.backendProcessID())
                    try await eventually("the link is gone") {
                        try await session.execute(sql("select 1"))
                        return false
                    }
                }
            }
            #expect([.connectionLost, .server(sqlState: "57P01")].contains(error.kind), "\(error)")
            #expect(error.isTransient)
            #expect(try await pool.execute(count).single().get(0) == 0)
        }
    }
}
