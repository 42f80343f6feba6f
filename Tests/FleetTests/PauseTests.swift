import FleetBroker
import FleetModel
import FleetTestKit
import FleetWorker
import TestPatience
import Testing

@Suite("Pausing", .timeLimit(.minutes(5)))
struct PauseTests {
    /// A second type of the same subsystem.
    private struct Other: JobParameters {
        static let type: JobType = "test.other.v1"
        var text: String
    }

    private func definitions(_ recorder: Recorder) -> [JobDefinition] {
        [
            Work.definition(recorder) { work, _ in work.text },
            JobDefinition(Other.self) { other, _ in other.text },
        ]
    }

    private func gaia(_ fleet: TestFleet, _ arguments: String...) async throws -> (Int32, String) {
        let (status, output) = try await Program.run(
            try Program.gaia, arguments, environment: fleet.place.environment)
        guard case .exited(let code) = status else { throw NotInTime("gaia \(arguments) ended by \(status)") }
        return (code, output)
    }

    @Test("A type that rests is held in the ledger, while others of its subsystem go on; resumed, it runs")
    func type() async throws {
        let recorder = Recorder()
        try await TestFleet.use(dispatchers: 1, definitions: definitions(recorder)) { fleet in
            #expect(try await gaia(fleet, "pause", Work.type.name, "--reason", "a faulty release").0 == 0)
            var probes = 0
            try await eventually("the worker to hear of it") {
                probes += 1
                let probe = "probe-\(probes)"
                try await fleet.enqueue([try Job(Work("a"), key: probe)])
                return try await eventually("the probe to be seen") {
                    switch try await fleet.job(probe)?.state {
                    case "scheduled": true
                    case "succeeded": false
                    default: nil
                    }
                }
            }
            let early = recorder.runs.count
            let keys = (1...20).map { "k-\($0)" }
            try await fleet.enqueue(keys.map { try Job(Work("a"), key: $0, replyTo: "reply") })
            try await eventually("all to be held") {
                try await fleet.store.states(of: keys.map { JobIdentity(subsystem: "test", key: $0) }).values
                    .count { $0 == .scheduled } == keys.count
            }
            try await fleet.enqueue([try Job(Other(text: "b"), key: "other", replyTo: "reply")])
            #expect(try await fleet.mailbox.reply("other").outcome == "succeeded")
            #expect(recorder.runs.count == early)
            let list = try await gaia(fleet, "pause")
            #expect(list.1.contains("test.work.v1") && list.1.contains("a faulty release"), "\(list.1)")
            #expect(try await gaia(fleet, "resume", Work.type.name).0 == 0)
            for key in keys { #expect(try await fleet.mailbox.reply(key).attempt == 1) }
            try await eventually("the probe to run") { recorder.runs.count == early + keys.count + 1 }
            #expect(try await gaia(fleet, "resume", Work.type.name).0 == 66)
            #expect(try await fleet.leftover() == 0)
        }
    }

    @Test(
        "A subsystem or the fleet that rests leaves its jobs in their queue, also for a worker that starts then",
        arguments: ["test", "all"])
    func subsystem(_ scope: String) async throws {
        let recorder = Recorder()
        let queue = FleetBroker.jobsQueue("test")
        try await TestFleet.use(dispatchers: 1, definitions: definitions(recorder)) { fleet in
            #expect(try await gaia(fleet, "pause", scope).0 == 0)
            #expect(try await gaia(fleet, "pause", scope).1.contains("already"))
            try await eventually("nobody to consume") {
                try await fleet.place.withBroker { try await $0.queueStatus(queue) }?.consumers == 0
            }
            let keys = (1...50).map { "k-\($0)" }
            try await fleet.enqueue(keys.map { try Job(Work("a"), key: $0, replyTo: "reply") })
            try await fleet.addWorker(definitions(recorder))
            try await eventually("all to wait in the queue") { try await fleet.place.ready(in: queue) == keys.count }
            #expect(recorder.runs.isEmpty)
            #expect(try await gaia(fleet, "resume", scope).0 == 0)
            for key in keys { #expect(try await fleet.mailbox.reply(key).outcome == "succeeded") }
            #expect(recorder.runs.count == keys.count)
            #expect(try await fleet.leftover() == 0)
        }
    }

    @Test("What a worker has prefetched when its subsystem is paused goes back; what runs ends")
    func prefetched() async throws {
        let recorder = Recorder()
        let gate = Gate()
        let slow = Work.definition(recorder) { work, _ in
            try await gate.pass()
            return work.text
        }
        let queue = FleetBroker.jobsQueue("test")
        try await TestFleet.use(dispatchers: 1, definitions: [slow], configure: { $0.slotsDefault = 2 }) { fleet in
            let keys = (1...30).map { "k-\($0)" }
            try await fleet.enqueue(keys.map { try Job(Work("a"), key: $0, replyTo: "reply") })
            try await eventually("all to be prefetched") { try await fleet.place.ready(in: queue) == 0 }
            try await recorder.awaitRun(of: "k-2")
            #expect(try await fleet.store.pause("test", reason: ""))
            try await eventually("what waits to be given back") { try await fleet.place.ready(in: queue) == 28 }
            gate.open()
            for key in ["k-1", "k-2"] { #expect(try await fleet.mailbox.reply(key).outcome == "succeeded") }
            #expect(recorder.runs.count == 2)
            #expect(try await fleet.store.resume("test"))
            for key in keys { #expect(try await fleet.mailbox.reply(key).outcome == "succeeded") }
            #expect(recorder.runs.count == 30)
        }
    }

    @Test("What is no scope is refused", arguments: ["Nonsense", "api.request", ""])
    func refused(_ scope: String) async throws {
        try await TestFleet.use(workers: 0) { (fleet: TestFleet) async throws -> Void in
            #expect(try await gaia(fleet, "pause", scope).0 == 64)
        }
    }
}
