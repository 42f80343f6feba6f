import FleetTestKit
import Testing
@Suite struct JobPathTests {
    @Test func placeholder() async throws {
        let recorder = Recorder()
        try await TestFleet.use(definitions: [Work.definition(recorder)]) { fleet in
            try await fleet.enqueue(Work("a"), key: "k")
            let letter = try await fleet.mailbox.result(of: "k")
            #expect(letter.outcome == "succeeded")
        }
    }
}
