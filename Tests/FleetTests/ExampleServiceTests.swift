import FleetModel
import FleetTestKit
import Glibc
import TestPatience
import Testing

@Suite("A service with a job of its own", .timeLimit(.minutes(5)))
struct ExampleServiceTests {
    @Test("The example service greets whom it is told to, refuses what makes no sense, and drains")
    func greets() async throws {
        try await TestFleet.use(workers: 0) { fleet in
            let service = try Program.start(
                try Program.path("example-service"), [], environment: fleet.place.environment)
            let isReady = try await service.awaitOutput(containing: "serves hello.greet.v1", within: patienceOfTests)
            #expect(isReady, "\(service.capturedOutput)")
            for (key, payload) in [("ada", #"{"name":"Ada"}"#), ("nobody", #"{"name":""}"#)] {
                try await fleet.enqueue([
                    Job(
                        type: "hello.greet.v1", key: key, payload: Array(payload.utf8),
                        replyTo: fleet.mailbox.replyQueue)
                ])
            }
            let reply = try await fleet.mailbox.reply("ada")
            #expect(reply.outcome == "succeeded")
            #expect(reply.output == .object(["text": .string("Hello, Ada!")]))
            let refusal = try await fleet.mailbox.reply("nobody")
            #expect(refusal.document["data"]?["reason"] == .string("invalid-parameters"))
            #expect(refusal.document["data"]?["message"]?.string?.contains("1 to 100 characters") == true)
            #expect(try await service.stop(grace: .seconds(30)) == .exited(0))
            #expect(try await fleet.leftover(in: "gaia.jobs.hello") == 0)
        }
    }

    @Test("Without a broker the example service says which setting is missing")
    func unconfigured() async throws {
        let run = try await Program.run(try Program.path("example-service"), [])
        #expect(!run.status.isSuccess)
        #expect(run.output.contains("GAIA_AMQP_URL"))
    }
}
