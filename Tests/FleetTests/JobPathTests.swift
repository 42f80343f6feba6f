import FleetBroker
import FleetModel
import FleetTestKit
import Testing

@Suite("The path of a job", .timeLimit(.minutes(5)))
struct JobPathTests {
    @Test("A typed job goes in over AMQP and its result comes out on gaia.results and on reply_to")
    func typedJob() async throws {
        let recorder = Recorder()
        let shout = Work.definition(recorder) { work, _ in work.text.uppercased() }
        try await TestFleet.use(definitions: [shout]) { fleet in
            try await fleet.enqueue(Work("hello"), key: "greeting", correlationID: "question-1")

            let reply = try await fleet.mailbox.reply("question-1")
            let result = try await fleet.mailbox.result(of: "greeting")
            #expect(result.delivery.routingKey == "test.work.v1.succeeded")
            #expect(result.delivery.exchange == FleetBroker.resultsExchange)
            #expect(result.correlationID == "question-1")
            #expect(result.document == reply.document)

            let properties = reply.delivery.properties
            #expect(properties.contentType == "application/cloudevents+json")
            #expect(properties.type == "gaia.job.succeeded")
            #expect(properties.messageID == "test/greeting/succeeded")
            #expect(properties.persistent)

            let event = reply.document
            #expect(event["specversion"] == .string("1.0"))
            #expect(event["id"] == .string("test/greeting/succeeded"))
            #expect(event["source"] == .string("/gaia/test"))
            #expect(event["type"] == .string("gaia.job.succeeded"))
            #expect(event["subject"] == .string("greeting"))
            #expect(event["datacontenttype"] == .string("application/json"))
            #expect(event["time"]?.string?.hasSuffix("Z") == true)
            #expect(event["data"]?["job"] == .string("test.work.v1"))
            #expect(reply.key == "greeting")
            #expect(reply.outcome == "succeeded")
            #expect(reply.attempt == 1)
            #expect(reply.output == .object(["text": .string("HELLO"), "attempt": .number(1)]))

            let run = try #require(recorder.runs.first)
            #expect(recorder.runs.count == 1)
            #expect(run.work == Work("hello"))
            #expect(run.context.idempotencyKey == "greeting")
            let job = try #require(try await fleet.job("greeting"))
            #expect(job.state == "succeeded")
            #expect(job.token == 1)
            #expect(try await fleet.leftover() == 0)
        }
    }

    @Test("A job without correlation id is answered under its key, and one without reply_to on gaia.results alone")
    func withoutReplyTo() async throws {
        try await TestFleet.use(definitions: [Work.definition(Recorder())]) { fleet in
            try await fleet.enqueue([Job(Work("a"), key: "mute")])
            try await fleet.enqueue(Work("b"), key: "asked")
            #expect(try await fleet.mailbox.reply("asked").key == "asked")
            #expect(try await fleet.mailbox.result(of: "mute").correlationID == "mute")
            #expect(fleet.mailbox.now.replies.map(\.key) == ["asked"])
        }
    }

    @Test("The handler is told for whom the job is, its trace and its key")
    func context() async throws {
        let recorder = Recorder()
        try await TestFleet.use(definitions: [Work.definition(recorder)]) { fleet in
            var job = try Job(Work("a"), key: "k", subject: "lesson-7")
            job.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
            try await fleet.enqueue([job])
            try await fleet.mailbox.result(of: "k")
            let context = try #require(recorder.runs.first?.context)
            #expect(context.subject == "lesson-7")
            #expect(context.traceparent == job.traceparent)
            #expect(context.type == "test.work.v1")
            #expect(context.attempt == 1)
        }
    }

    @Test("A reply queue that nobody has does not hold the job up")
    func replyQueueGone() async throws {
        try await TestFleet.use(definitions: [Work.definition(Recorder())]) { fleet in
            try await fleet.enqueue([Job(Work("a"), key: "k", replyTo: "nobody-listens")])
            #expect(try await fleet.mailbox.result(of: "k").outcome == "succeeded")
            #expect(try await fleet.leftover() == 0)
        }
    }

    @Test("Many jobs on two workers are each run once")
    func manyJobs() async throws {
        let recorder = Recorder()
        try await TestFleet.use(workers: 2, definitions: [Work.definition(recorder)]) { fleet in
            let keys = (0..<500).map { "job-\($0)" }
            try await fleet.enqueue(keys.map { try Job(Work($0), key: $0) })
            let contents = try await fleet.mailbox.wait(for: "all results") { $0.results.count >= keys.count }
            #expect(Set(contents.results.compactMap(\.key)) == Set(keys))
            #expect(contents.results.count == keys.count)
            #expect(recorder.runs.count == keys.count)
            #expect(try await fleet.leftover() == 0)
        }
    }
}
