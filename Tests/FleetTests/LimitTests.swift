import FleetModel
import FleetStore
import FleetTestKit
import FleetWorker
import Foundation
import Glibc
import PostgresClient
import TestPatience
import Testing

/// `context.limits` in workers of this process.
@Suite("Limits in handlers", .timeLimit(.minutes(5)))
struct HandlerLimitTests {
    @Test("Jobs of four workers use a rate together, and none is lost over it")
    func rate() async throws {
        let used = Watched<[ContinuousClock.Instant]>([])
        let definition = Work.definition(Recorder()) { work, context in
            try await context.limits.spend(1, of: "mail", within: .seconds(30))
            used.update { $0.append(.now) }
            return work.text
        }
        try await TestFleet.use(workers: 4, definitions: [definition], configure: { $0.slotsDefault = 50 }) { fleet in
            try await fleet.store.setLimit("mail", rate: 100)
            try await eventually("every worker to know") {
                // What is set is heard of at once; what is used shows that it is.
                try await fleet.enqueue(Work("x"), key: "first-\(UInt32.random(in: 0 ... .max))")
                return try await fleet.store.limits().contains { $0.used > 0 }
            }
            // Those that came before their worker had heard of it were not limited.
            let before = used.value.count
            let begin = ContinuousClock.now
            let jobs = try (0..<400).map { try Job(Work("x"), key: "k\($0)", replyTo: fleet.mailbox.replyQueue) }
            try await fleet.enqueue(jobs)
            try await used.wait(for: "all jobs", within: .seconds(60)) { $0.count >= before + 400 }
            let took = (ContinuousClock.now - begin) / .seconds(1)
            // A burst of ten, and what was promised to jobs before.
            #expect(took > 3.6, "\(took) s for 400 at 100 a second")
            #expect(took < 8, "\(took) s for 400 at 100 a second")
        }
    }

    @Test("No more jobs of four workers are in their places at once than there are, and all places are used")
    func places() async throws {
        let inside = Watched((now: 0, most: 0))
        let definition = Work.definition(Recorder()) { work, context in
            try await context.limits.withPlace("seat", within: .seconds(60)) {
                inside.update {
                    $0.now += 1
                    $0.most = max($0.most, $0.now)
                }
                try await Task.sleep(for: .milliseconds(20))
                inside.update { $0.now -= 1 }
                return work.text
            }
        }
        try await TestFleet.use(workers: 0) { fleet in
            // Before the workers start, which find it then.
            try await fleet.store.setLimit("seat", rate: nil, places: 3)
            for _ in 0..<4 { try await fleet.addWorker([definition]) }
            let jobs = try (0..<80).map { try Job(Work("x"), key: "k\($0)", replyTo: fleet.mailbox.replyQueue) }
            try await fleet.enqueue(jobs)
            for number in 0..<80 { #expect(try await fleet.mailbox.reply("k\(number)").outcome == "succeeded") }
            try await eventually("all places to be given back") {
                try await fleet.store.limits().allSatisfy { $0.held == 0 }
            }
        }
        #expect(inside.value.most == 3)
    }

    @Test("A job closes a host for all workers; others go on; what wants it comes again and has spent no attempt")
    func closing() async throws {
        let definition = Work.definition(Recorder(), retry: RetryPolicy(attemptsMax: 1)) { work, context in
            if work.text == "close" {
                context.limits.close("host.a", for: .seconds(3_600))
            } else {
                try await context.limits.spend(1, of: "host.\(work.text)", within: .seconds(5))
            }
            return work.text
        }
        try await TestFleet.use(workers: 4, dispatchers: 1, definitions: [definition]) { fleet in
            try await fleet.enqueue(Work("close"), key: "close")
            #expect(try await fleet.mailbox.reply("close").outcome == "succeeded")
            try await eventually("it to be written down") { try await !fleet.store.limitRules().closed.isEmpty }
            // By then every worker has heard of it, or would within a second.
            try await eventually("every worker to refuse it") {
                let probes = try (0..<8).map { _ in try Job(Work("a"), key: "probe-\(UInt32.random(in: 0 ... .max))") }
                try await fleet.enqueue(probes)
                var isRefused = true
                for probe in probes {
                    let state = try await eventually("\(probe.key) to be settled") { () -> String? in
                        let job = try await fleet.job(probe.key)
                        return job.flatMap { ["succeeded", "retrying"].contains($0.state) ? $0.state : nil }
                    }
                    if state == "succeeded" { isRefused = false }
                }
                return isRefused
            }
            for number in 0..<20 { try await fleet.enqueue(Work("b"), key: "b\(number)") }
            for number in 0..<20 { #expect(try await fleet.mailbox.reply("b\(number)").outcome == "succeeded") }
            try await fleet.enqueue(Work("a"), key: "a")
            try await eventually("it to be put off") {
                let job = try await fleet.job("a")
                return job?.state == "retrying" && job?.errors.contains("limit.closed") == true && job?.attempt == 0
            }
        }
    }

    @Test("An attempt whose job another may have by now is told so when it asks, before its effect")
    func confirmation() async throws {
        let gate = Gate()
        let answers = Watched<[String]>([])
        let definition = Work.definition(Recorder()) { work, context in
            try await context.confirmClaim()
            answers.update { $0.append("ours") }
            await gate.passStubbornly()
            do {
                try await context.confirmClaim()
                answers.update { $0.append("ours") }
            } catch let lost as ClaimLost {
                answers.update { $0.append("lost") }
                throw lost
            }
            return work.text
        }
        try await TestFleet.use(definitions: [definition]) { fleet in
            try await fleet.enqueue(Work("x"), key: "k")
            try await answers.wait(for: "the first answer") { $0 == ["ours"] }
            let worker = try #require(try await fleet.store.workers().first)
            try await fleet.place.withPool { pool in
                try await pool.script("update gaia.worker set epoch = epoch + 1 where id = \(worker.id)")
            }
            gate.open()
            try await answers.wait(for: "the second answer") { $0.prefix(2) == ["ours", "lost"] }
        }
    }
}

/// What people are told of the jobs that were done for them.
@Suite("Usability events", .timeLimit(.minutes(5)))
struct UsabilityTests {
    @Test("Each job with a subject tells what it meant for them: done, retried, failed, slow; without one, nothing")
    func events() async throws {
        let definition = Work.definition(
            Recorder(), retry: RetryPolicy(backoff: .fixed(.milliseconds(20)), attemptsMax: 2)
        ) { work, context in
            switch work.text {
            case "retried" where context.attempt == 1: throw JobFailure(.transient, code: "t", message: "once more")
            case "failed": throw JobFailure(.permanent, code: "p", message: "never")
            case "slow": try await Task.sleep(for: .milliseconds(700))
            default: break
            }
            return work.text
        }
        try await TestFleet.use(
            dispatchers: 1, definitions: [definition], configure: { $0.slow = .milliseconds(600) }
        ) { fleet in
            func job(_ text: String, subject: String?) throws -> Job {
                try Job(Work(text), key: text, replyTo: fleet.mailbox.replyQueue, subject: subject)
            }
            try await fleet.enqueue([
                try job("done", subject: "user/1"), try job("failed", subject: "user/1"),
                try job("slow", subject: "user/2"), try job("silent", subject: nil),
            ])
            for key in ["done", "failed", "slow", "silent"] { try await fleet.mailbox.reply(key) }
            try await fleet.enqueue([try job("retried", subject: "user/3")])
            #expect(try await fleet.mailbox.reply("retried").outcome == "succeeded")
            let letters = try await fleet.mailbox.wait(for: "the last event") { contents in
                contents.events.contains { $0.type == "gaia.usability.done" && $0.key == "retried" }
            }.events.filter { $0.type?.hasPrefix("gaia.usability.") == true }
            var told: [String: Set<String>] = [:]
            for letter in letters {
                told[letter.key ?? "", default: []].insert(
                    String(letter.type?.dropFirst("gaia.usability.".count) ?? ""))
                #expect(letter.delivery.routingKey == letter.type.map { String($0.dropFirst("gaia.".count)) })
            }
            #expect(told["done"] == ["done"])
            #expect(told["failed"] == ["failed"])
            #expect(told["slow"] == ["done", "slow"])
            #expect(told["retried"]?.isSuperset(of: ["retried", "done"]) == true)
            #expect(told["silent"] == nil)
            let slow = try #require(letters.first { $0.type == "gaia.usability.slow" && $0.key == "slow" })
            #expect(slow.document["subject"]?.string == "user/2" && slow.document["data"]?["for"]?.string == "user/2")
            #expect((slow.document["data"]?["took_ms"]?.int ?? 0) >= 700)
        }
    }

    @Test("A job for later is not slow for having been given early")
    func later() async throws {
        let definition = Work.definition(Recorder())
        try await TestFleet.use(
            dispatchers: 1, definitions: [definition], configure: { $0.slow = .milliseconds(1_500) }
        ) { fleet in
            try await fleet.place.withPool { pool in
                _ = try await pool.execute(
                    PostgresStatement(
                        name: "later",
                        sql: """
                            select gaia.enqueue('test.work.v1', '{"text": "x"}', 'k', delay => interval '2 seconds',
                                subject => 'user/1')
                            """))
            }
            let letters = try await fleet.mailbox.wait(for: "its event") { contents in
                contents.events.contains { $0.type == "gaia.usability.done" }
            }.events
            #expect(!letters.contains { $0.type == "gaia.usability.slow" })
        }
    }
}

/// Worker processes that die while their jobs use limits.
@Suite("Limits of processes that end", .serialized, .timeLimit(.minutes(5)))
struct LimitCrashTests {
    private func enqueue(_ fleet: TestFleet, _ parameters: NoopParameters, keys: [String]) async throws {
        try await fleet.enqueue(
            try keys.map { try Job(parameters, key: $0, replyTo: fleet.mailbox.replyQueue) })
    }

    @Test("A worker is killed while its job has the only place: another has it within seconds")
    func place() async throws {
        try await TestFleet.use(workers: 0) { fleet in
            try await fleet.store.setLimit("seat", rate: nil, places: 1)
            try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                _ = try await programs.serve("dispatcher", "dispatcher")
                let first = try await programs.serve("worker", "first")
                try await enqueue(fleet, NoopParameters(ms: 600_000, place: "seat"), keys: ["a"])
                try await eventually("it to have the place") {
                    try await fleet.store.limits().contains { $0.held == 1 }
                }
                let lost = try #require(try await fleet.job("a")).token
                _ = try await programs.serve("worker", "second")
                let killedAt = ContinuousClock.now
                try first.signal(SIGKILL)
                try await eventually("the second to have it", within: .seconds(60)) {
                    guard let job = try await fleet.job("a"), job.token > lost, job.worker == "second" else {
                        return false
                    }
                    return try await fleet.store.limits().contains { $0.held == 1 && $0.short == 0 }
                }
                #expect(ContinuousClock.now - killedAt < .seconds(15))
            }
        }
    }

    @Test("Four workers use a rate together, also when one of them is killed")
    func rate() async throws {
        let (rate, count) = (100.0, 500)
        try await TestFleet.use(workers: 0) { fleet in
            try await fleet.store.setLimit("n", rate: rate)
            try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                _ = try await programs.serve("dispatcher", "dispatcher")
                let workers = [
                    try await programs.serve("worker", "one"), try await programs.serve("worker", "two"),
                    try await programs.serve("worker", "three"), try await programs.serve("worker", "four"),
                ]
                try await enqueue(fleet, NoopParameters(limit: "n"), keys: (0..<count).map { "k\($0)" })
                try await fleet.mailbox.wait(for: "a third of them", within: .seconds(60)) {
                    $0.replies.count >= count / 3
                }
                try workers[0].signal(SIGKILL)
                for number in 0..<count {
                    #expect(try await fleet.mailbox.reply("k\(number)", within: .seconds(60)).outcome == "succeeded")
                }
            }
            // What the dead worker had used and not told of is used once more.
            let ends = try await fleet.place.withPool { pool in
                try await pool.execute(
                    PostgresStatement(
                        name: "ends",
                        sql: """
                            select extract(epoch from finished_at)::float8 from gaia.job where key like 'k%'
                            order by finished_at
                            """)
                ).map { try $0.get(0, as: Double.self) }
            }
            #expect(ends.count == count)
            var most = 0
            for (index, end) in ends.enumerated() { most = max(most, ends[index...].prefix { $0 < end + 2 }.count) }
            #expect(Double(most) <= rate * 2 * 1.05 + rate * 0.35, "\(most) in two seconds")
            let took = (ends.last ?? 0) - (ends.first ?? 0)
            #expect(took >= Double(count) / rate * 0.9, "\(took) s")
        }
    }
}
