import FleetModel
import FleetTestKit
import Foundation
import TestPatience
import Testing

@Suite("A client in another language", .timeLimit(.minutes(5)))
struct ForeignClientTests {
    /// A Python that has pika.
    private static func python() async throws -> String {
        let named = ProcessInfo.processInfo.environment["GAIA_TEST_PYTHON"]
        for candidate in [named, "python3", "/usr/bin/python3"].compactMap({ $0 }) {
            if try await Program.run(candidate, ["-c", "import pika"]).status.isSuccess { return candidate }
        }
        throw NotInTime("no Python with pika: apt install python3-pika, or name one in GAIA_TEST_PYTHON")
    }

    private let script = "\(Program.root)/docs/examples/enqueue.py"

    @Test("The example for Python publishes a job with pika and reads its result from a reply queue of its own")
    func example() async throws {
        let python = try await Self.python()
        let recorder = Recorder()
        try await TestFleet.use(definitions: [Work.definition(recorder)]) { fleet in
            let arguments = [script, Work.type.name, "from-python", #"{"text": "hello"}"#]
            let environment = ["GAIA_AMQP_URL": fleet.place.amqpURL]
            let first = try await Program.run(python, arguments, environment: environment)
            #expect(first.status.isSuccess, "\(first.output)")
            let event = try JSONValue(Array(first.output.utf8))
            #expect(event["specversion"] == .string("1.0"))
            #expect(event["type"] == .string("gaia.job.succeeded"))
            #expect(event["data"]?["key"] == .string("from-python"))
            #expect(event["data"]?["output"]?["text"] == .string("hello"))

            // What it sends is a job like any other: a repeat, even from Swift, gets the same result.
            try await fleet.enqueue(Work("hello"), key: "from-python")
            #expect(try await fleet.mailbox.reply("from-python").document == event)
            let second = try await Program.run(python, arguments, environment: environment)
            #expect(try JSONValue(Array(second.output.utf8)) == event)
            #expect(recorder.runs.count == 1)
        }
    }

    @Test("The example for Python tells of a job that the fleet refused")
    func refused() async throws {
        let python = try await Self.python()
        try await TestFleet.use(definitions: [Work.definition(Recorder())]) { fleet in
            let run = try await Program.run(
                python, [script, Work.type.name, "bad", #"{"text": 5}"#],
                environment: ["GAIA_AMQP_URL": fleet.place.amqpURL])
            #expect(run.status == .exited(1))
            #expect(run.output.contains("invalid-parameters"))
            #expect(run.output.contains("'text' is not of type string"))
        }
    }
}
