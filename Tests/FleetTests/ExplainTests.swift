import AMQPClient
import FleetBroker
import FleetModel
import FleetStore
import FleetTestKit
import FleetWorker
import Foundation
import Glibc
import TestPatience
import Testing

/// Every answer of `gaia job explain`, each in a situation that is really there.
@Suite("Explaining a job", .timeLimit(.minutes(5)))
struct ExplainTests {
    private struct Explanation: Decodable {
        struct Moment: Decodable { let at, what: String }
        let job, cause, sentence: String
        let timeline: [Moment]
    }

    /// The one explanation, or the one of several with this cause.
    private func explain(_ fleet: TestFleet, _ key: String, cause: String? = nil) async throws -> Explanation {
        let (status, output) = try await Program.run(
            try Program.gaia, ["job", "explain", key, "--json"], environment: fleet.place.environment)
        guard case .exited(0) = status else { throw NotInTime("gaia job explain \(key) ended by \(status): \(output)") }
        let all = try JSONDecoder().decode([Explanation].self, from: Data(output.utf8))
        return try #require(all.first { cause == nil || $0.cause == cause }, "\(output)")
    }

    private func failing(_ recorder: Recorder, _ failure: JobFailure) -> JobDefinition {
        Work.definition(recorder, retry: RetryPolicy(backoff: .fixed(.seconds(3_600)), attemptsMax: 3)) { _, _ in
            throw failure
        }
    }

    private let identity = JobIdentity(subsystem: "test", key: "k")

    @Test("A job that ended: succeeded, given up, called off, in doubt")
    func ended() async throws {
        let recorder = Recorder()
        let deciding = Work.definition(recorder) { work, _ in
            switch work.text {
            case "fail": throw JobFailure(.permanent, code: "no-such-page", message: "page 4 is gone")
            case "doubt": throw JobFailure(.unsafe, code: "half-done", message: "the line broke")
            default: return work.text
            }
        }
        try await TestFleet.use(dispatchers: 1, definitions: [deciding]) { fleet in
            for text in ["good", "fail", "doubt"] { try await fleet.enqueue(Work(text), key: text) }
            _ = try await fleet.store.cancel(JobIdentity(subsystem: "test", key: "off"), reason: "the bell rang")
            try await fleet.enqueue(Work("off"), key: "off")
            for (key, cause, words) in [
                ("good", "succeeded", "with attempt 1"),
                ("fail", "discarded", "gaia dead replay test/fail"),
                ("doubt", "indeterminate", "gaia job resolve test/doubt"), ("off", "cancelled", "the bell rang"),
            ] {
                _ = try await fleet.mailbox.reply(key)
                let explanation = try await explain(fleet, key)
                #expect(explanation.cause == cause && explanation.sentence.contains(words), "\(explanation)")
                #expect(explanation.job == "test/\(key)")
            }
            let timeline = try await explain(fleet, "fail").timeline
            #expect(timeline.map(\.at) == timeline.map(\.at).sorted())
            for word in ["created", "claimed on worker-", "page 4 is gone", "discarded"] {
                #expect(timeline.contains { $0.what.contains(word) }, "\(timeline)")
            }
        }
    }

    @Test("A job that waits: for its retry, for a rate, for its time, for a dispatcher, while its type rests")
    func waiting() async throws {
        let recorder = Recorder()
        let deciding = Work.definition(
            recorder, retry: RetryPolicy(backoff: .fixed(.seconds(3_600)), attemptsMax: 3)
        ) { work, _ in
            throw JobFailure(
                work.text == "busy" ? .throttled(retryAfter: .seconds(3_600)) : .transient, code: work.text,
                message: "not now")
        }
        try await TestFleet.use(definitions: [deciding]) { fleet in
            let dispatcher = try await fleet.addDispatcher()
            try await eventually("a leader") { try await fleet.store.leader()?.leads == true }
            for key in ["flaky", "busy"] {
                try await fleet.enqueue(Work(key), key: key)
                try await eventually("\(key) to wait") { try await fleet.job(key)?.state == "retrying" }
            }
            let later = Job(type: Work.type, key: "later", payload: Array(#"{"text":"x"}"#.utf8))
            _ = try await fleet.store.schedule(
                [ScheduleRequest(job: later, payload: #"{"text":"x"}"#, delay: .seconds(3_600))])
            for (key, cause, words) in [
                ("flaky", "retrying", "attempt (2 of 3)"), ("busy", "rate-limited", "it was rate limited"),
                ("later", "scheduled", "It is for later"),
            ] {
                let explanation = try await explain(fleet, key)
                #expect(explanation.cause == cause && explanation.sentence.contains(words), "\(explanation)")
                #expect(!explanation.sentence.contains("No dispatcher"))
            }
            #expect(try await fleet.store.pause("test", reason: "an upgrade"))
            let paused = try await explain(fleet, "flaky")
            #expect(paused.cause == "paused" && paused.sentence.contains("an upgrade"), "\(paused)")
            #expect(try await fleet.store.resume("test"))

            try await dispatcher.stop()
            try await eventually("no leader") { try await fleet.store.leader()?.leads == false }
            #expect(try await explain(fleet, "flaky").sentence.contains("start gaia dispatcher"))
            try await fleet.store.enqueueBySQL(Work("x"), key: "due")
            #expect(try await explain(fleet, "due").cause == "no-leader")
        }
    }

    @Test("A job that runs, with its progress; that waits for a lock, with its holder; that was told to stop")
    func running() async throws {
        let recorder = Recorder()
        let gate = Gate()
        let locking = Work.definition(recorder) { work, context in
            if work.text == "deaf" {
                context.progress(0.25, "a quarter")
                await gate.passStubbornly()
                return ""
            }
            return try await context.withLock("printer") { _ in
                try await gate.pass()
                return work.text
            }
        }
        try await TestFleet.use(definitions: [locking]) { fleet in
            try await fleet.enqueue(Work("first"), key: "first")
            try await eventually("the lock to be held") { try await fleet.store.locks().count == 1 }
            try await fleet.enqueue(Work("second"), key: "second")
            try await fleet.enqueue(Work("deaf"), key: "deaf")
            try await eventually("the second to wait") { try await fleet.store.locks().first?.waiters == 1 }
            let holder = try await explain(fleet, "first")
            #expect(holder.cause == "running" && holder.sentence.contains("holding printer"), "\(holder)")
            let waiter = try await explain(fleet, "second")
            #expect(
                waiter.cause == "waiting-for-lock"
                    && waiter.sentence.contains("'printer', held by test/first on worker-"), "\(waiter)")
            try await eventually("progress to be written") { try await fleet.job("deaf")?.progress != nil }
            let busy = try await explain(fleet, "deaf")
            #expect(busy.cause == "running" && busy.sentence.contains("25 % done (a quarter)"), "\(busy)")
            #expect(
                try await fleet.store.cancel(JobIdentity(subsystem: "test", key: "deaf"), reason: "enough")
                    == .requested)
            let told = try await explain(fleet, "deaf")
            #expect(told.cause == "called-off" && told.sentence.contains("enough"), "\(told)")
            gate.open()
            for key in ["first", "second"] { _ = try await fleet.mailbox.reply(key) }
        }
    }

    @Test("A job whose worker was killed, first silent, then lost")
    func lost() async throws {
        try await HTTPTarget.use(answer: { _ in 200 }) { target in
            try await TestFleet.use(workers: 0) { fleet in
                try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                    let worker = try await programs.serve("worker", "victim", ["GAIA_FAULT_POINT": "running:k"])
                    let job = Job(type: "api.request.v1", key: "k", payload: Array(#"{"url":"\#(target.url)"}"#.utf8))
                    try await fleet.enqueue([job])
                    #expect(await worker.exitStatus(within: patienceOfTests) == .signalled(SIGKILL))
                    try await eventually("its session to end") {
                        try await explain(fleet, "k").cause == "worker-silent"
                    }
                    try await fleet.place.withPool { try await $0.script("update gaia.worker set lease_until = now()") }
                    let lost = try await explain(fleet, "api/k", cause: "worker-lost")
                    #expect(lost.sentence.contains("victim was lost while it ran attempt 1"), "\(lost)")
                }
            }
        }
    }

    @Test("A job that nobody has claimed: no queue, no consumer, behind others; one that was set aside, and why")
    func unclaimed() async throws {
        let recorder = Recorder()
        try await TestFleet.use(workers: 0) { fleet in
            #expect(try await explain(fleet, "nowhere/k").cause == "no-queue")
            try await fleet.addWorker([Work.definition(recorder)])
            try await fleet.stopFirstWorker()
            try await fleet.enqueue(Work("a"), key: "k")
            let waiting = try await explain(fleet, "test/k")
            #expect(
                waiting.cause == "no-consumer" && waiting.sentence.contains("gaia.jobs.test with 1 messages"),
                "\(waiting)")

            try await fleet.addWorker([Work.definition(recorder)])
            _ = try await fleet.mailbox.reply("k")
            #expect(try await explain(fleet, "test/other").cause == "queued")
            // Another payload under its key, and a type that nobody serves.
            try await fleet.enqueue(Work("another"), key: "k")
            try await fleet.mailbox.wait(for: "both answers") { $0.replies.count { $0.correlationID == "k" } == 2 }
            let conflict = try await explain(fleet, "k", cause: "conflict")
            #expect(conflict.sentence.contains("gaia dead show test/k"), "\(conflict)")
            #expect(try await explain(fleet, "k", cause: "succeeded").job == "test/k")
            var lost = try Job(Work("a"), key: "lost").message()
            lost.routingKey = "nowhere.do.v1"
            lost.properties.type = "nowhere.do.v1"
            try await fleet.publish([lost])
            #expect(try await explain(fleet, "lost").cause == "unroutable")
        }
    }

    @Test("Where there is no trace of it the exit status is 66")
    func nothing() async throws {
        try await TestFleet.use(workers: 0) { fleet in
            let (status, output) = try await Program.run(
                try Program.gaia, ["job", "explain", "k"], environment: fleet.place.environment)
            #expect(status == .exited(66) && output.contains("no trace"))
        }
    }
}
