import AMQPClient
import FleetBroker
import FleetModel
import FleetTestKit
import TestPatience
import Testing

@Suite("Repeats of a job", .timeLimit(.minutes(5)))
struct RepeatTests {
    @Test("A repeat of a finished job is answered with the stored result and does not run")
    func finished() async throws {
        let recorder = Recorder()
        try await TestFleet.use(definitions: [Work.definition(recorder)]) { fleet in
            try await fleet.enqueue(Work("a"), key: "k", correlationID: "first")
            let first = try await fleet.mailbox.reply("first")
            try await fleet.enqueue(Work("a"), key: "k", correlationID: "second")
            let second = try await fleet.mailbox.reply("second")
            #expect(second.document == first.document)
            #expect(second.id == first.id)
            #expect(recorder.runs.count == 1)
            #expect(Set(fleet.mailbox.now.results.map(\.id)) == ["test/k/succeeded"])
            #expect(try await fleet.leftover() == 0)
        }
    }

    @Test("A repeat that spells the same payload otherwise is no conflict")
    func spelling() async throws {
        let recorder = Recorder()
        try await TestFleet.use(definitions: [Work.definition(recorder)]) { fleet in
            for (correlation, payload) in [
                ("first", #"{"text":"a","number":1}"#), ("second", #"{ "number": 1, "text": "a" }"#),
            ] {
                try await fleet.enqueue([
                    Job(
                        type: Work.type, key: "k", payload: Array(payload.utf8), replyTo: fleet.mailbox.replyQueue,
                        correlationID: correlation)
                ])
                #expect(try await fleet.mailbox.reply(correlation).outcome == "succeeded")
            }
            #expect(recorder.runs.count == 1)
        }
    }

    @Test("A repeat of a job in flight on the same worker waits for it and gets its result")
    func inFlightHere() async throws {
        let (recorder, gate) = (Recorder(), Gate())
        let blocking = Work.definition(recorder) { work, _ in
            try await gate.pass()
            return work.text
        }
        try await TestFleet.use(workers: 0) { fleet in
            let worker = try await fleet.addWorker([blocking])
            try await fleet.enqueue(Work("a"), key: "k", correlationID: "first")
            try await recorder.awaitRun(of: "k")
            try await fleet.enqueue(Work("a"), key: "k", correlationID: "second")
            try await eventually("the repeat to be parked") { worker.counters.values.parked == 1 }
            #expect(fleet.mailbox.now.replies.isEmpty)
            gate.open()
            let first = try await fleet.mailbox.reply("first")
            let second = try await fleet.mailbox.reply("second")
            #expect(first.document == second.document)
            #expect(recorder.runs.count == 1)
            #expect(try await fleet.leftover() == 0)
        }
    }

    @Test("A repeat of a job in flight on another worker waits for it and gets its result")
    func inFlightElsewhere() async throws {
        let (recorder, gate) = (Recorder(), Gate())
        let blocking = Work.definition(recorder) { work, _ in
            try await gate.pass()
            return work.text
        }
        try await TestFleet.use(workers: 0) { fleet in
            // It must not hand back what it runs, however slow the machine is.
            let first = try await fleet.addWorker([blocking]) { $0.drain = .seconds(120) }
            try await fleet.enqueue(Work("a"), key: "k", correlationID: "first")
            try await recorder.awaitRun(of: "k")
            // It finishes what it runs and takes nothing more, so that the repeat must go to the other.
            await first.beginStop()
            // Not the queue's own count of consumers, in which one with unsettled deliveries stays.
            try await eventually("the first worker to have stopped consuming") {
                let consumers = try await fleet.place.stack.ask("GET", "/api/consumers/\(fleet.place.name)")
                return !consumers.contains(#""consumer_tag":"\#(first.name)""#)
            }
            let second = try await fleet.addWorker([blocking])
            try await fleet.enqueue(Work("a"), key: "k", correlationID: "second")
            try await eventually("the repeat to be parked") { second.counters.values.parked == 1 }
            gate.open()
            #expect(try await fleet.mailbox.reply("second").outcome == "succeeded")
            #expect(try await fleet.mailbox.reply("first").outcome == "succeeded")
            #expect(recorder.runs.count == 1)
            #expect(try await fleet.leftover() == 0)
        }
    }

    @Test("A hundred concurrent publishes of one key are one run and a hundred answers")
    func hundred() async throws {
        let (recorder, gate) = (Recorder(), Gate())
        let blocking = Work.definition(recorder) { work, _ in
            try await gate.pass()
            return work.text
        }
        try await TestFleet.use(workers: 2, dispatchers: 1, definitions: [blocking]) { fleet in
            let correlations = (0..<100).map { "question-\($0)" }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for correlation in correlations {
                    group.addTask { try await fleet.enqueue(Work("a"), key: "k", correlationID: correlation) }
                }
                try await group.waitForAll()
            }
            try await recorder.awaitRun(of: "k")
            gate.open()
            let contents = try await fleet.mailbox.wait(for: "a hundred answers") { contents in
                Set(contents.replies.compactMap(\.correlationID)).count >= 100
            }
            #expect(Set(contents.replies.compactMap(\.correlationID)) == Set(correlations))
            #expect(Set(contents.replies.map(\.document)).count == 1)
            #expect(Set(contents.results.map(\.id)) == ["test/k/succeeded"])
            #expect(recorder.runs.count == 1)
            #expect(try await fleet.leftover() == 0)
        }
    }

    @Test("A hundred concurrent publishes of one key with a hundred payloads are one run and ninety-nine conflicts")
    func hundredPayloads() async throws {
        let recorder = Recorder()
        try await TestFleet.use(workers: 2, dispatchers: 1, definitions: [Work.definition(recorder)]) { fleet in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<100 {
                    group.addTask {
                        try await fleet.enqueue(Work("text \(number)"), key: "k", correlationID: "question-\(number)")
                    }
                }
                try await group.waitForAll()
            }
            let contents = try await fleet.mailbox.wait(for: "a hundred answers") { $0.replies.count >= 100 }
            let outcomes = Dictionary(grouping: contents.replies.map(\.outcome)) { $0 }.mapValues(\.count)
            #expect(outcomes == ["succeeded": 1, "rejected": 99])
            #expect(recorder.runs.count == 1)
            let dead = try await fleet.dead(99)
            #expect(dead.allSatisfy { $0.properties.headers[JobHeader.reason] == .string("conflict") })
            #expect(try await fleet.leftover() == 0)
        }
    }

    @Test(
        "The same key with another payload is reported as a conflict and set aside, whether its job is done or runs",
        arguments: [true, false])
    func conflict(isDone: Bool) async throws {
        let (recorder, gate) = (Recorder(), Gate())
        let blocking = Work.definition(recorder) { work, _ in
            try await gate.pass()
            return work.text
        }
        try await TestFleet.use(definitions: [blocking]) { fleet in
            try await fleet.enqueue(Work("a"), key: "k", correlationID: "first")
            try await recorder.awaitRun(of: "k")
            if isDone {
                gate.open()
                _ = try await fleet.mailbox.reply("first")
            }
            try await fleet.enqueue(Work("b"), key: "k", correlationID: "other")
            let refusal = try await fleet.mailbox.reply("other")
            #expect(refusal.type == "gaia.job.rejected")
            #expect(refusal.outcome == "rejected")
            #expect(refusal.document["data"]?["reason"] == .string("conflict"))
            #expect(refusal.document["data"]?["message"]?.string?.contains("give this job a key of its own") == true)

            let dead = try await fleet.dead(1)[0]
            #expect(dead.properties.headers[JobHeader.reason] == .string("conflict"))
            #expect(try JSONValue(dead.body)["text"] == .string("b"))
            #expect(dead.properties.messageID == "k")

            gate.open()
            #expect(try await fleet.mailbox.reply("first").output?["text"] == .string("a"))
            #expect(recorder.runs.map(\.work.text) == ["a"])
            #expect(try await fleet.leftover() == 0)
        }
    }
}
