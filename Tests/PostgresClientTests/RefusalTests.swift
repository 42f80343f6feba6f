import PostgresClient
import Testing

@Suite("Connections that are refused")
struct RefusalTests {
    @Test("What comes after a pool has given up hears why it did")
    func pool() async throws {
        let configuration = try PostgresConfiguration(url: url(sharedServerURL(), database: "no_such_database"))
        let pool = PostgresPool(configuration: configuration, logger: quietLogger())
        let end = try await failure { try await pool.run() }
        #expect(end.kind == .server(sqlState: "3D000"))
        let late = try await failure { try await pool.execute(sql("select 1")) }
        #expect(late.kind == end.kind, "\(late)")
    }

    /// The refusal may come before the caller stands in line, and after.
    @Test("A connection outside any pool tells why there is none, however soon it is refused")
    func dedicated() async throws {
        // Nothing listens on a port that only the system may take.
        let configuration = try PostgresConfiguration(url: "postgresql://nobody@127.0.0.1:1/none")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    let dedicated = PostgresDedicated(configuration: configuration, logger: quietLogger())
                    for _ in 0..<200 {
                        let error = try await failure { _ = try await dedicated.connect() }
                        #expect(error.kind == .unavailable, "\(error)")
                        #expect(error.isTransient)
                    }
                }
            }
            try await group.waitForAll()
        }
    }
}
