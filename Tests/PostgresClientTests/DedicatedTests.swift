import Logging
import Testing

@testable import PostgresClient

@Suite("A connection outside any pool")
struct DedicatedTests {
    /// A port below 1024 that nothing listens on here refuses at once.
    private static func refused() throws -> PostgresConfiguration {
        try PostgresConfiguration(url: "postgresql://nobody@127.0.0.1:1/none")
    }

    @Test("It can be refused before the caller stands in line, who hears the reason all the same")
    func refusedFirst() async throws {
        let engine = Engine(
            configuration: try Self.refused(), plan: Engine.Plan(size: 1, reconnects: false), logger: quietLogger())
        engine.post(.start)
        let end = try #require(await engine.end.waitUncancelled())
        #expect(end.kind == .unavailable)
        guard case .failure(let error) = await engine.run(.lease(Lease())) else {
            Issue.record("there is no server")
            return
        }
        #expect(error.kind == .unavailable, "\(error)")
        #expect(error.isTransient)
    }

    @Test("It tells why there is none, each time it is asked")
    func unreachable() async throws {
        let dedicated = PostgresDedicated(configuration: try Self.refused(), logger: quietLogger())
        for _ in 0..<100 {
            let error = try await failure { _ = try await dedicated.connect() }
            #expect(error.kind == .unavailable, "\(error)")
        }
    }
}
