import NetworkClient
import Testing

@Suite("A gate", .timeLimit(.minutes(2)))
struct GateTests {
    @Test("Who has no time to wait is turned away, also when that time is over before he stands in line")
    func noTime() async throws {
        let gate = Gate(places: 1, waitingMax: 100)
        try await gate.withPlace {
            try await withThrowingDiscardingTaskGroup { group in
                for _ in 0..<8 {
                    group.addTask {
                        for _ in 0..<5_000 {
                            let error = await #expect(throws: NetworkError.self) {
                                try await gate.withPlace(within: .zero) {}
                            }
                            try #require(error?.kind == .overloaded)
                        }
                    }
                }
            }
            #expect(gate.waiting == 0)
        }
        #expect(try await gate.withPlace(within: .zero) { true }, "the place is free again")
    }
}
