import FleetBroker
import FleetModel
import FleetTestKit
import FleetWorker
import TestPatience
import Testing

@Suite("Sharing slots on a fleet", .timeLimit(.minutes(5)))
struct SharingTests {
    /// What the fleet promises: it takes about three seconds.
    private static let limit = patienceOfTests

    private struct Other: JobParameters {
        static let type: JobType = "other.do.v1"
        var text = ""
    }

    @Test("A backlog of one subsystem is taken up by idle slots of four workers, and given back for another's jobs")
    func fourWorkers() async throws {
        let recorder = Recorder()
        let (gate, otherGate) = (Gate(), Gate())
        let others = Watched(0)
        let definitions = [
            Work.definition(recorder) { work, _ in
                try await gate.pass()
                return work.text
            },
            JobDefinition(Other.self) { (_: Other, _: JobContext) -> Void in
                others.update { $0 += 1 }
                try await otherGate.pass()
            },
        ]
        try await TestFleet.use(workers: 4, definitions: definitions, configure: { $0.slotsDefault = 8 }) { fleet in
            // More than three could prefetch, should the fourth come late.
            let jobs = 400
            try await fleet.enqueue((1...jobs).map { try Job(Work("a"), key: "k-\($0)", replyTo: "reply") })
            // Each has eight of its own and of the other's all but two.
            try await eventually("idle slots to be lent", within: Self.limit) { recorder.runs.count == 4 * 14 }
            try await fleet.enqueue((1...64).map { try Job(Other(), key: "o-\($0)", replyTo: "reply") })
            // Two of each worker are free at once; the rest as jobs of the borrower end.
            try await others.wait(for: "the reserve") { $0 == 4 * 2 }
            gate.open()
            try await others.wait(for: "the lender to have its own back", within: Self.limit) { $0 >= 4 * 8 }
            otherGate.open()
            for number in 1...jobs { #expect(try await fleet.mailbox.reply("k-\(number)").attempt == 1) }
            for number in 1...64 { #expect(try await fleet.mailbox.reply("o-\(number)").attempt == 1) }
            #expect(recorder.runs.count == jobs && others.value == 64)
            #expect(try await fleet.leftover() == 0)
        }
    }

    @Test("A worker that joins takes its share at once; one that leaves hands over what it had not begun")
    func joinAndLeave() async throws {
        let recorder = Recorder()
        let gate = Gate()
        let slow = Work.definition(recorder) { work, _ in
            try await gate.pass()
            return work.text
        }
        let configure: @Sendable (inout WorkerConfiguration) -> Void = { $0.slotsDefault = 10 }
        try await TestFleet.use(definitions: [slow], configure: configure) { fleet in
            let jobs = 300
            try await fleet.enqueue((1...jobs).map { try Job(Work("a"), key: "k-\($0)", replyTo: "reply") })
            try await eventually("the first to be full") { recorder.runs.count == 10 }
            try await fleet.addWorker([slow], configure: configure)
            try await eventually("the second to be full") { recorder.runs.count == 20 }
            async let leaving: Void = fleet.stopFirstWorker()
            gate.open()
            try await leaving
            for number in 1...jobs { #expect(try await fleet.mailbox.reply("k-\(number)").attempt == 1) }
            #expect(recorder.runs.count == jobs)
            #expect(try await fleet.leftover() == 0)
        }
    }
}
