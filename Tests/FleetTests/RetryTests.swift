import FleetBroker
import FleetModel
import FleetTestKit
import FleetWorker
import TestPatience
import Testing

@Suite("Failures and retries", .timeLimit(.minutes(5)))
struct RetryTests {
    @Test("A handler that fails twice and then succeeds takes three attempts")
    func transient() async throws {
        let recorder = Recorder()
        let failing = Work.definition(recorder) { work, context in
            if context.attempt < 3 { throw JobFailure(.transient, code: "busy", message: "not now") }
            return work.text
        }
        try await TestFleet.use(dispatchers: 1, definitions: [failing]) { fleet in
            try await fleet.enqueue(Work("a"), key: "k")
            let reply = try await fleet.mailbox.reply("k")
            #expect(reply.outcome == "succeeded")
            #expect(reply.attempt == 3)
            #expect(recorder.runs.map(\.context.attempt) == [1, 2, 3])
            #expect(recorder.runs.map(\.context.token) == [1, 2, 3])
            #expect(fleet.mailbox.now.replies.count == 1)

            let job = try #require(try await fleet.job("k"))
            #expect(job.state == "succeeded")
            #expect(job.attempt == 3)
            let errors = try JSONValue(Array(job.errors.utf8))
            #expect(errors.array?.map { $0["code"] } == [.string("busy"), .string("busy")])
            #expect(errors.array?.map { $0["attempt"] } == [.number(1), .number(2)])
            try await fleet.mailbox.wait(for: "the events of two retries") { contents in
                contents.events.map(\.type) == ["gaia.job.retrying", "gaia.job.retrying"]
            }
            #expect(try await fleet.leftover() == 0)
        }
    }

    @Test("A permanent failure is discarded at once, with a result that says why")
    func permanent() async throws {
        let recorder = Recorder()
        let failing = Work.definition(recorder) { _, _ in
            throw JobFailure(.permanent, code: "no-such-lesson", message: "a NUL: \0, and quotes: \"")
        }
        try await TestFleet.use(dispatchers: 1, definitions: [failing]) { fleet in
            try await fleet.enqueue(Work("a"), key: "k")
            let reply = try await fleet.mailbox.reply("k")
            #expect(reply.outcome == "discarded")
            #expect(reply.type == "gaia.job.discarded")
            #expect(reply.attempt == 1)
            #expect(reply.errorCode == "no-such-lesson")
            #expect(reply.document["data"]?["error"]?["kind"] == .string("permanent"))
            let result = try await fleet.mailbox.result(of: "k")
            #expect(result.delivery.routingKey == "test.work.v1.discarded")
            #expect(recorder.runs.count == 1)
            let job = try #require(try await fleet.job("k"))
            #expect(job.state == "discarded")
            #expect(job.payload == #"{"text":"a"}"#)
            #expect(try await fleet.leftover() == 0)
        }
    }

    @Test("A repeat of a discarded job is answered with the stored failure")
    func repeatOfDiscarded() async throws {
        let recorder = Recorder()
        let failing = Work.definition(recorder, retry: .never) { _, _ in
            throw JobFailure(.permanent, code: "never", message: "")
        }
        try await TestFleet.use(definitions: [failing]) { fleet in
            try await fleet.enqueue(Work("a"), key: "k", correlationID: "first")
            let first = try await fleet.mailbox.reply("first")
            try await fleet.enqueue(Work("a"), key: "k", correlationID: "second")
            let second = try await fleet.mailbox.reply("second")
            #expect(second.id == first.id)
            #expect(second.document["data"]?["error"] == first.document["data"]?["error"])
            #expect(recorder.runs.count == 1)
        }
    }

    @Test("When the attempts are spent the job is discarded, with every error kept", arguments: [nil, 2])
    func exhausted(asked: Int?) async throws {
        struct Unexpected: Error {}
        let recorder = Recorder()
        let failing = Work.definition(
            recorder, retry: RetryPolicy(backoff: .fixed(.milliseconds(10)), attemptsMax: 3)
        ) { _, _ in throw Unexpected() }
        try await TestFleet.use(dispatchers: 1, definitions: [failing]) { fleet in
            var job = try Job(Work("a"), key: "k", replyTo: fleet.mailbox.replyQueue)
            job.attemptsMax = asked
            try await fleet.enqueue([job])
            let reply = try await fleet.mailbox.reply("k")
            let attempts = asked ?? 3
            #expect(reply.outcome == "discarded")
            #expect(reply.attempt == attempts)
            #expect(reply.errorCode == "Unexpected")
            #expect(recorder.runs.map(\.context.attempt) == Array(1...attempts))
            let record = try #require(try await fleet.job("k"))
            #expect(try JSONValue(Array(record.errors.utf8)).array?.count == attempts)
        }
    }

    @Test("Being throttled spends no attempt, and the pause asked for is kept")
    func throttled() async throws {
        let recorder = Recorder()
        let throttled = Work.definition(recorder, retry: .never) { work, _ in
            if recorder.runs.count < 3 {
                throw JobFailure(.throttled(retryAfter: .milliseconds(300)), code: "api.429", message: "slow down")
            }
            return work.text
        }
        try await TestFleet.use(dispatchers: 1, definitions: [throttled]) { fleet in
            try await fleet.enqueue(Work("a"), key: "k")
            let reply = try await fleet.mailbox.reply("k")
            #expect(reply.outcome == "succeeded")
            #expect(reply.attempt == 1)
            #expect(recorder.runs.map(\.context.attempt) == [1, 1, 1])
            #expect(recorder.runs.map(\.context.token) == [1, 2, 3])
            let times = recorder.runs.map(\.at)
            try #require(times.count == 3)
            #expect(times[1] - times[0] >= .milliseconds(300))
            #expect(times[2] - times[1] >= .milliseconds(300))
        }
    }

    @Test("An attempt that takes too long is cancelled and counts as transient")
    func timeout() async throws {
        let (recorder, never) = (Recorder(), Gate())
        let slow = Work.definition(recorder, timeout: .milliseconds(200)) { work, context in
            if context.attempt == 1 { try await never.pass() }
            return work.text
        }
        try await TestFleet.use(dispatchers: 1, definitions: [slow]) { fleet in
            try await fleet.enqueue(Work("a"), key: "k")
            let reply = try await fleet.mailbox.reply("k")
            #expect(reply.outcome == "succeeded")
            #expect(reply.attempt == 2)
            #expect(recorder.runs.first?.end == .cancelled)
            let job = try #require(try await fleet.job("k"))
            let error = try JSONValue(Array(job.errors.utf8))[0]
            #expect(error?["code"] == .string("timeout"))
            #expect(error?["kind"] == .string("transient"))
        }
    }

    @Test("The job of a handler that ignores cancellation is settled, and its slot comes back when the handler ends")
    func stubborn() async throws {
        let (recorder, gate) = (Recorder(), Gate())
        let narrow: @Sendable (inout WorkerConfiguration) -> Void = { $0.slotsDefault = 1 }
        let stubborn = Work.definition(recorder, timeout: .milliseconds(100)) { work, context in
            if context.attempt == 1 { await gate.passStubbornly() }
            return work.text
        }
        try await TestFleet.use(
            dispatchers: 1, definitions: [stubborn], configure: narrow
        ) { fleet in
            try await fleet.enqueue(Work("a"), key: "k")
            try await eventually("the job to be settled without its handler") {
                try await fleet.job("k")?.errors.contains("timeout") == true
            }
            // The worker's only slot is taken, so the retry waits though it is due.
            try await eventually("the retry to be staged") { try await fleet.job("k")?.state == "queued" }
            #expect(recorder.runs.count == 1)
            gate.open()
            let reply = try await fleet.mailbox.reply("k")
            #expect(reply.outcome == "succeeded")
            #expect(reply.attempt == 2)
            #expect(recorder.runs.map(\.end) == [.returned, .returned])
        }
    }

    @Test("A job whose deadline passes while it runs is cancelled and discarded")
    func deadline() async throws {
        let (recorder, never) = (Recorder(), Gate())
        let slow = Work.definition(recorder) { work, _ in
            try await never.pass()
            return work.text
        }
        try await TestFleet.use(dispatchers: 1, definitions: [slow]) { fleet in
            var job = try Job(Work("a"), key: "k", replyTo: fleet.mailbox.replyQueue)
            job.deadline = .milliseconds(300)
            try await fleet.enqueue([job])
            let reply = try await fleet.mailbox.reply("k")
            #expect(reply.outcome == "discarded")
            #expect(reply.errorCode == "deadline")
            #expect(recorder.runs.map(\.end) == [.cancelled])
        }
    }

    @Test("A job whose deadline passed before its retry is discarded")
    func deadlineBeforeRetry() async throws {
        let (recorder, never) = (Recorder(), Gate())
        let failing = Work.definition(
            recorder, retry: RetryPolicy(backoff: .fixed(.milliseconds(400)), attemptsMax: 5)
        ) { work, context in
            if context.attempt == 1 { throw JobFailure(.transient, code: "busy", message: "") }
            try await never.pass()
            return work.text
        }
        try await TestFleet.use(dispatchers: 1, definitions: [failing]) { fleet in
            var job = try Job(Work("a"), key: "k", replyTo: fleet.mailbox.replyQueue)
            job.deadline = .milliseconds(200)
            try await fleet.enqueue([job])
            let reply = try await fleet.mailbox.reply("k")
            #expect(reply.outcome == "discarded")
            #expect(reply.errorCode == "deadline")
        }
    }

    @Test("An output over the limit is discarded, and the job is not run again")
    func outputTooLarge() async throws {
        let recorder = Recorder()
        let tight: @Sendable (inout WorkerConfiguration) -> Void = { $0.outputBytesMax = 1_000 }
        let definition = Work.definition(recorder) { work, _ in String(repeating: "x", count: work.number ?? 0) }
        try await TestFleet.use(
            dispatchers: 1, definitions: [definition], configure: tight
        ) { fleet in
            try await fleet.enqueue(Work(number: 10), key: "small")
            try await fleet.enqueue(Work(number: 2_000), key: "large")
            #expect(try await fleet.mailbox.reply("small").outcome == "succeeded")
            let reply = try await fleet.mailbox.reply("large")
            #expect(reply.outcome == "discarded")
            #expect(reply.errorCode == "output.too-large")
            #expect(reply.document["data"]?["error"]?["message"]?.string?.contains("limits.output_bytes") == true)
            #expect(recorder.runs(of: "large").count == 1)
        }
    }

    @Test("A failure that cannot be repeated safely leaves the job indeterminate, for an operator")
    func indeterminate() async throws {
        let recorder = Recorder()
        let failing = Work.definition(recorder) { _, _ in
            throw JobFailure(.unsafe, code: "half-paid", message: "the payment may have gone out")
        }
        try await TestFleet.use(dispatchers: 1, definitions: [failing]) { fleet in
            try await fleet.enqueue(Work("a"), key: "k")
            #expect(try await fleet.mailbox.reply("k").outcome == "indeterminate")
            #expect(recorder.runs.count == 1)
            #expect(try await fleet.job("k")?.state == "indeterminate")
        }
    }
}
