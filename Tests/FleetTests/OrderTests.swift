import FleetBroker
import FleetModel
import FleetStore
import FleetTestKit
import FleetWorker
import PostgresClient
import TestPatience
import Testing

@Suite("Orders to running jobs", .timeLimit(.minutes(5)))
struct OrderTests {
    private let identity = JobIdentity(subsystem: "test", key: "k")

    @Test("A running job that is called off is cancelled within a second, and says why")
    func cancelRunning() async throws {
        let recorder = Recorder()
        let never = Gate()
        let waiting = Work.definition(recorder) { work, _ in
            try await never.pass()
            return work.text
        }
        try await TestFleet.use(dispatchers: 1, definitions: [waiting]) { fleet in
            // A machine that all tests are run on at once may hold up some, and not seven of ten.
            var times: [Duration] = []
            while times.count(where: { $0 < .seconds(1) }) < 3, times.count < 10 {
                let key = "k\(times.count)"
                try await fleet.enqueue(Work("a"), key: key)
                try await recorder.awaitRun(of: key)
                let asked = ContinuousClock.now
                #expect(
                    try await fleet.store.cancel(JobIdentity(subsystem: "test", key: key), reason: "the bell rang")
                        == .requested)
                let reply = try await fleet.mailbox.reply(key)
                times.append(.now - asked)
                #expect((reply.outcome, reply.errorCode) == ("cancelled", "cancelled"))
                #expect(reply.description.contains("the bell rang"))
                #expect(try await fleet.job(key)?.state == "cancelled")
            }
            #expect(times.count(where: { $0 < .seconds(1) }) == 3, "\(times)")
            let count = times.count
            #expect(recorder.runs.map(\.end) == [Recorder.End?](repeating: .cancelled, count: count))
            try await fleet.mailbox.wait(for: "the events") { contents in
                contents.events.count { $0.type == "gaia.job.cancelled" } == count
            }
            #expect(try await fleet.leftover() == 0)
        }
        never.open()
    }

    @Test("A job that waits for its retry is cancelled at once, and whoever waits for its result gets it")
    func cancelWaiting() async throws {
        let recorder = Recorder()
        let failing = Work.definition(
            recorder, retry: RetryPolicy(backoff: .fixed(.seconds(3_600)), attemptsMax: 5)
        ) { _, _ in throw JobFailure(.transient, code: "busy", message: "not now") }
        try await TestFleet.use(dispatchers: 1, definitions: [failing]) { fleet in
            try await fleet.enqueue(Work("a"), key: "k")
            try await eventually("the job to wait for its retry") { try await fleet.job("k")?.state == "retrying" }
            #expect(try await fleet.store.cancel(identity, reason: "never mind") == .cancelled)
            #expect(try await fleet.mailbox.reply("k").outcome == "cancelled")
            #expect(recorder.runs.count == 1)
            #expect(try await fleet.leftover() == 0)
        }
    }

    @Test("A snoozed job comes again, with its first attempt still unspent")
    func snooze() async throws {
        let recorder = Recorder()
        let snoozing = Work.definition(recorder) { work, context in
            if context.token < 3 { throw JobSnooze(for: .milliseconds(20)) }
            return work.text
        }
        try await TestFleet.use(dispatchers: 1, definitions: [snoozing]) { fleet in
            try await fleet.enqueue(Work("a"), key: "k")
            let reply = try await fleet.mailbox.reply("k")
            #expect((reply.outcome, reply.attempt) == ("succeeded", 1))
            #expect(recorder.runs.map(\.context.attempt) == [1, 1, 1])
            #expect(try await fleet.job("k")?.errors == "[]")
        }
    }

    @Test("A message may bring its own backoff, which also holds when the retry is published by the dispatcher")
    func backoff() async throws {
        let recorder = Recorder()
        let failing = Work.definition(
            recorder, retry: RetryPolicy(backoff: .fixed(.seconds(3_600)), attemptsMax: 3)
        ) { _, _ in throw JobFailure(.transient, code: "busy", message: "not now") }
        try await TestFleet.use(dispatchers: 1, definitions: [failing]) { fleet in
            var job = try Job(Work("a"), key: "k", replyTo: fleet.mailbox.replyQueue)
            job.backoff = .schedule([.milliseconds(10), .milliseconds(20)])
            try await fleet.enqueue([job])
            #expect(try await fleet.mailbox.reply("k").outcome == "discarded")
            #expect(recorder.runs.count == 3)
            #expect(try await fleet.job("k")?.backoff == "schedule 10ms 20ms")
        }
    }

    @Test("A handler's progress stands in the ledger and goes out as an event")
    func progress() async throws {
        let recorder = Recorder()
        let go = Gate()
        let reporting = Work.definition(recorder) { work, context in
            for step in 1...10 { context.progress(Double(step) / 20, "step \(step)") }
            try await go.pass()
            return work.text
        }
        try await TestFleet.use(dispatchers: 0, definitions: [reporting]) { fleet in
            try await fleet.enqueue(Work("a"), key: "k")
            let contents = try await fleet.mailbox.wait(for: "the event") { contents in
                contents.events.contains { $0.type == "gaia.job.progress" }
            }
            let progress = contents.events.first?.document["data"]?["progress"]
            #expect(progress?["fraction"] == .number(0.5) && progress?["note"] == .string("step 10"))
            #expect(try await fleet.job("k")?.progress?.contains("step 10") == true)
            go.open()
            #expect(try await fleet.mailbox.reply("k").outcome == "succeeded")
        }
    }

    @Test("A handler that must not be repeated and is broken off leaves its job to an operator, who has it run again")
    func unrepeatable() async throws {
        let recorder = Recorder()
        let never = Gate()
        let careful = JobDefinition(Work.self, isRepeatable: false) { (work: Work, context: JobContext) in
            recorder.note(work, context)
            if recorder.runs.count == 1 { try await never.pass() }
        }
        try await TestFleet.use(
            dispatchers: 1, definitions: [careful], configure: { $0.drain = .zero }
        ) { fleet in
            try await fleet.enqueue(Work("a"), key: "k")
            try await recorder.awaitRun(of: "k")
            try await fleet.stopFirstWorker()
            let reply = try await fleet.mailbox.reply("k")
            #expect(reply.outcome == "indeterminate")
            #expect(try await fleet.job("k")?.state == "indeterminate")
            try await fleet.addWorker([careful])
            #expect(try await fleet.store.resolve(identity, as: .retry, reason: "it never left the house") == nil)
            let result = try await fleet.mailbox.wait(for: "the second result") { contents in
                contents.results.contains { $0.outcome == "succeeded" }
            }
            #expect(Set(result.results.map(\.id)) == ["test/k/indeterminate", "test/k/succeeded"])
            #expect(recorder.runs.count == 2)
        }
        never.open()
    }

    @Test("An urgent job behind a backlog of normal ones begins before them, and the normal lane goes on")
    func urgent() async throws {
        let recorder = Recorder()
        let go = Gate()
        let work = Work.definition(recorder) { work, context in
            if context.key == "opener" { try await go.pass() }
            return work.text
        }
        try await TestFleet.use(definitions: [work], configure: { $0.slotsDefault = 1 }) { fleet in
            try await fleet.enqueue(Work("a"), key: "opener")
            try await recorder.awaitRun(of: "opener")
            try await fleet.enqueue((1...1_000).map { try Job(Work("a"), key: "normal-\($0)") })
            try await fleet.enqueue(
                (1...20).map {
                    var job = try Job(Work("a"), key: "urgent-\($0)")
                    job.isUrgent = true
                    return job
                })
            try await eventually("the urgent jobs to be with the worker") {
                try await fleet.place.ready(in: FleetBroker.urgentQueue("test")) == 0
            }
            go.open()
            let runs = try await recorder.wait(for: "the urgent jobs") { runs in
                runs.count { $0.context.key.hasPrefix("urgent") } == 20
            }
            let before = runs.prefix { _ in true }.filter { $0.context.key.hasPrefix("normal") }.count
            #expect((1...6).contains(before), "one slot in eight goes to a normal job: \(before)")
        }
    }

    @Test("A job enqueued by SQL runs soon after its commit, with a delay after it, and answers like any other")
    func bySQL() async throws {
        let recorder = Recorder()
        try await TestFleet.use(dispatchers: 1, definitions: [Work.definition(recorder)]) { fleet in
            try await fleet.place.withPool { pool in
                try await pool.script(
                    """
                    select gaia.enqueue('test.work.v1', '{"text": "b"}', 'k', reply_to => 'reply');
                    select gaia.enqueue('test.work.v1', '{"text": "c"}', 'later', delay => interval '300 ms',
                        reply_to => 'reply', urgent => true);
                    """)
            }
            #expect(try await fleet.mailbox.reply("k").outcome == "succeeded")
            #expect(try await fleet.mailbox.reply("later").outcome == "succeeded")
            #expect(Set(recorder.runs.map(\.work.text)) == ["b", "c"])
            #expect(try await fleet.job("later")?.isUrgent == true)
            // By the database's clock, and not by which of the two came first: the machine may have stood still meanwhile.
            let delayed = PostgresStatement(
                name: "delayed",
                sql: "select claimed_at - created_at >= interval '300 ms' from gaia.job where key = 'later'")
            let wasLater = try await fleet.place.withPool { try await $0.execute(delayed).first?.get(0, as: Bool.self) }
            #expect(wasLater == true)
        }
    }

    @Test("A schedule's ticks are jobs like any other")
    func cron() async throws {
        let recorder = Recorder()
        try await TestFleet.use(dispatchers: 3, definitions: [Work.definition(recorder)]) { fleet in
            try await fleet.store.put(
                CronSchedule(
                    name: "bell", expression: try CronExpression("* * * * *"), type: Work.type,
                    payload: #"{"text":"ring"}"#, catchUp: .all))
            try await fleet.place.withPool { pool in
                try await pool.script(
                    "update gaia.cron set next_at = date_trunc('minute', now()) - interval '2 minutes'")
            }
            try await recorder.wait(for: "three ticks") { $0.count >= 3 }
            let keys = recorder.runs.map(\.context.key)
            #expect(Set(keys).count == keys.count && keys.allSatisfy { $0.hasPrefix("cron/bell/") })
        }
    }
}
