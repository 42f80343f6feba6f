import AMQPClient
import FleetBroker
import FleetModel
import FleetTestKit
import Glibc
import PostgresClient
import TestPatience
import Testing

@Suite("The dispatcher", .timeLimit(.minutes(5)))
struct DispatcherTests {
    /// Sends a request to `gaia.enqueue`.
    private func request(
        _ body: String, _ correlationID: String, to fleet: TestFleet, wantsAnswer: Bool = true
    ) async throws {
        let properties = AMQPProperties(
            contentType: "application/json", correlationID: correlationID,
            replyTo: wantsAnswer ? fleet.mailbox.replyQueue : nil, messageID: correlationID)
        try await fleet.publish([
            AMQPMessage(
                exchange: "", routingKey: FleetBroker.enqueueQueue, mandatory: true, properties: properties,
                body: Array(body.utf8))
        ])
    }

    private func statuses(_ answer: Letter) -> [String?] {
        answer.document["jobs"]?.array?.map { $0["status"]?.string } ?? []
    }

    @Test("A batch is answered job by job, and what is for later runs when its time has come")
    func batch() async throws {
        let recorder = Recorder()
        try await TestFleet.use(dispatchers: 1, definitions: [Work.definition(recorder)]) { fleet in
            let sent = ContinuousClock.now
            try await request(
                """
                {"jobs": [
                  {"type": "test.work.v1", "key": "now", "payload": {"text": "a"}},
                  {"type": "test.work.v1", "key": "later", "payload": {"text": "b"}, "delay_ms": 1500},
                  {"type": "test.work.v1", "key": "later", "payload": {"text": "b"}, "delay_ms": 900},
                  {"type": "test.work.v1", "key": "later", "payload": {"text": "other"}, "delay_ms": 1500},
                  {"type": "No Type", "key": "x", "payload": {}},
                  {"type": "test.work.v1", "payload": {}},
                  {"type": "test.work.v1", "key": "misspelt", "payload": {}, "delayms": 5}
                ]}
                """, "batch", to: fleet)
            let answer = try await fleet.mailbox.reply("batch")
            #expect(
                statuses(answer) == ["queued", "scheduled", "duplicate", "conflict", "invalid", "invalid", "invalid"])
            let jobs = try #require(answer.document["jobs"])
            #expect(jobs[0]?["key"] == .string("now"))
            #expect(jobs[4]?["message"]?.string?.contains("No Type") == true)
            #expect(jobs[5]?["message"]?.string?.contains("'key' is missing") == true)
            #expect(jobs[6]?["message"]?.string?.contains("delayms") == true)

            #expect(try await fleet.job("later")?.state == "scheduled")
            #expect(try await fleet.mailbox.result(of: "now").outcome == "succeeded")
            let result = try await fleet.mailbox.result(of: "later")
            #expect(result.outcome == "succeeded")
            #expect(result.attempt == 1)
            let run = try #require(recorder.runs(of: "later").first)
            #expect(run.at - sent >= .milliseconds(1_500))
            #expect(recorder.runs.count == 2)

            try await request(
                #"{"jobs": [{"type": "test.work.v1", "key": "later", "payload": {"text": "b"}, "delay_ms": 50}]}"#,
                "repeat", to: fleet)
            let again = try await fleet.mailbox.reply("repeat")
            #expect(statuses(again) == ["duplicate"])
            #expect(again.document["jobs"]?[0]?["message"] == .string("the job is succeeded"))
            #expect(try await fleet.leftover(in: FleetBroker.enqueueQueue) == 0)
        }
    }

    @Test("A schedule may stand in a request beside jobs")
    func schedule() async throws {
        let recorder = Recorder()
        try await TestFleet.use(dispatchers: 1, definitions: [Work.definition(recorder)]) { fleet in
            try await request(
                """
                {"jobs": [
                  {"type": "test.work.v1", "key": "now", "payload": {"text": "a"}},
                  {"type": "test.work.v1", "key": "bell", "payload": {"text": "ring"}, "cron": {"every": "@yearly"}},
                  {"type": "test.work.v1", "key": "nowhere", "payload": {}, "cron": {"every": "@daily", "zone": "No/Where"}}
                ]}
                """, "batch", to: fleet)
            let answer = try await fleet.mailbox.reply("batch")
            #expect(statuses(answer) == ["queued", "scheduled", "invalid"])
            #expect(answer.document["jobs"]?[2]?["message"]?.string?.contains("No/Where") == true)
            let schedules = try await fleet.store.schedules()
            #expect(schedules.map(\.name) == ["bell"])
            let bell = try #require(schedules.first)
            #expect(bell.expression == "@yearly")
            #expect(answer.document["jobs"]?[1]?["next_at"] == .string(bell.nextAt))
        }
    }

    @Test("A job for later keeps what its producer asked for")
    func laterWithProperties() async throws {
        try await TestFleet.use(dispatchers: 1, definitions: [Work.definition(Recorder())]) { fleet in
            try await request(
                """
                {"jobs": [{"type": "test.work.v1", "key": "k", "payload": {"text": "a"}, "delay_ms": 50,
                           "reply_to": "\(fleet.mailbox.replyQueue)", "correlation_id": "mine", "max_attempts": 3}]}
                """, "request", to: fleet)
            #expect(try await fleet.mailbox.reply("mine").outcome == "succeeded")
            #expect(try await fleet.job("k")?.attemptsMax == 3)
        }
    }

    @Test("A publish of a job that is scheduled waits for its time and gets its result")
    func publishedWhileScheduled() async throws {
        let recorder = Recorder()
        try await TestFleet.use(dispatchers: 1, definitions: [Work.definition(recorder)]) { fleet in
            try await request(
                #"{"jobs": [{"type": "test.work.v1", "key": "k", "payload": {"text": "a"}, "delay_ms": 600}]}"#,
                "request", to: fleet)
            _ = try await fleet.mailbox.reply("request")
            let scheduled = ContinuousClock.now
            try await fleet.enqueue(Work("a"), key: "k", correlationID: "impatient")
            #expect(try await fleet.mailbox.reply("impatient").outcome == "succeeded")
            #expect(recorder.runs.count == 1)
            let run = try #require(recorder.runs.first)
            #expect(run.at - scheduled > .milliseconds(300))
        }
    }

    @Test(
        "A malformed request is set aside and reported",
        arguments: ["no JSON", "[]", #"{"jobs": 5}"#, #"{"jobs": [], "more": 1}"#, ""])
    func malformed(body: String) async throws {
        try await TestFleet.use(workers: 0, dispatchers: 1) { fleet in
            try await request(body, "bad", to: fleet)
            let refusal = try await fleet.mailbox.reply("bad")
            #expect(refusal.type == "gaia.job.rejected")
            #expect(refusal.document["data"]?["reason"] == .string("invalid-json"))
            let dead = try await fleet.dead(1)[0]
            #expect(dead.properties.headers[JobHeader.reason] == .string("invalid-json"))
            #expect(dead.properties.headers[JobHeader.queue] == .string(FleetBroker.enqueueQueue))
            #expect(dead.body == Array(body.utf8))

            try await request(#"{"jobs": []}"#, "good", to: fleet)
            #expect(statuses(try await fleet.mailbox.reply("good")) == [])
            #expect(try await fleet.leftover(in: FleetBroker.enqueueQueue) == 0)
        }
    }

    @Test("A flawed job in a request that wants no answer is set aside where an operator finds it; the others run")
    func nobodyToTell() async throws {
        try await TestFleet.use(dispatchers: 1, definitions: [Work.definition(Recorder())]) { fleet in
            try await request(
                """
                {"jobs": [{"type": "test.work.v1", "key": "good", "payload": {"text": "a"}},
                          {"type": "test.work.v1", "key": "", "payload": {}}]}
                """, "mute", to: fleet, wantsAnswer: false)
            #expect(try await fleet.mailbox.result(of: "good").outcome == "succeeded")
            let dead = try await fleet.dead(1)[0]
            #expect(dead.properties.headers[JobHeader.reason] == .string("invalid-parameters"))
            guard case .string(let error)? = dead.properties.headers[JobHeader.error] else {
                Issue.record("no reason")
                return
            }
            #expect(error.contains("1 of 2 jobs"))
        }
    }

    @Test("Of two dispatchers one leads; when it stops, the other leads in a new term and stages what is due")
    func leadership() async throws {
        let recorder = Recorder()
        try await TestFleet.use(definitions: [Work.definition(recorder)]) { fleet in
            let members = [try await fleet.addDispatcher(), try await fleet.addDispatcher()]
            let leader = try await eventually("a leader") {
                try await fleet.store.leader().flatMap { $0.leads ? $0 : nil }
            }
            let follower = try #require(members.first { $0.name != leader.name })
            let first = try #require(members.first { $0.name == leader.name })

            try await request(
                #"{"jobs": [{"type": "test.work.v1", "key": "k", "payload": {"text": "a"}, "delay_ms": 1000}]}"#,
                "request", to: fleet)
            #expect(statuses(try await fleet.mailbox.reply("request")) == ["scheduled"])
            try await first.stop()
            let next = try await eventually("the other to lead") {
                try await fleet.store.leader().flatMap { $0.leads && $0.name == follower.name ? $0 : nil }
            }
            #expect(next.term == leader.term + 1)
            #expect(try await fleet.mailbox.result(of: "k").outcome == "succeeded")
            #expect(recorder.runs.count == 1)
            // Requests are taken by whoever is there, leader or not.
            try await request(#"{"jobs": []}"#, "after", to: fleet)
            _ = try await fleet.mailbox.reply("after")
        }
    }

    @Test("A leader that hangs is deposed though its session lives; when it goes on, it leads no more")
    func hangingLeader() async throws {
        let recorder = Recorder()
        try await TestFleet.use(definitions: [Work.definition(recorder)]) { (fleet: TestFleet) async throws -> Void in
            try await ProgramGroup.use(environment: fleet.place.environment) {
                (programs: ProgramGroup) async throws -> Void in
                let processes = [
                    "one": try await programs.serve("dispatcher", "one"),
                    "two": try await programs.serve("dispatcher", "two"),
                ]
                let leader = try await eventually("a leader") {
                    try await fleet.store.leader().flatMap { $0.leads ? $0 : nil }
                }
                let first = try #require(processes[leader.name])
                #expect(try await first.pause())
                let next = try await eventually("the other to lead") {
                    try await fleet.store.leader().flatMap { $0.leads && $0.name != leader.name ? $0 : nil }
                }
                #expect(next.term == leader.term + 1)
                try await fleet.place.withPool { pool in
                    _ = try await pool.execute(
                        PostgresStatement(
                            name: "enqueue", sql: "select gaia.enqueue('test.work.v1', '{\"text\": \"a\"}', 'k')"))
                }
                #expect(try await fleet.mailbox.result(of: "k").outcome == "succeeded")
                try first.signal(SIGCONT)
                #expect(try await first.awaitOutput(containing: "no longer leads", within: patienceOfTests))
                let last = try #require(try await fleet.store.leader())
                #expect(last.leads && last.term == next.term)
                // Deposed, it stands by for the next one.
                try processes[next.name]?.signal(SIGKILL)
                try await eventually("the first to lead again") { try await fleet.store.leader()?.name == leader.name }
            }
        }
    }

    /// Enqueues so many by SQL, under the keys k-1, k-2, …
    private func enqueue(_ jobs: Int, isUrgent: Bool = false, in fleet: TestFleet) async throws {
        try await fleet.place.withPool { pool in
            _ = try await pool.execute(
                PostgresStatement(
                    name: "enqueue",
                    sql: """
                        select gaia.enqueue('test.work.v1', '{"text": "a"}', 'k-' || n, urgent => \(isUrgent))
                        from generate_series(1, \(jobs)) n
                        """))
        }
    }

    @Test(
        "A queue that is deleted while no worker is there takes no job with it that the ledger knows",
        arguments: [false, true])
    func deletedUnseen(isUrgent: Bool) async throws {
        let recorder = Recorder()
        let jobs = 50
        try await TestFleet.use(workers: 0, definitions: [Work.definition(recorder)]) {
            (fleet: TestFleet) async throws -> Void in
            _ = try await fleet.addDispatcher()
            try await enqueue(jobs, isUrgent: isUrgent, in: fleet)
            let queue = isUrgent ? "gaia.jobs.test.high" : "gaia.jobs.test"
            try await eventually("all to be in the queue") { try await fleet.place.ready(in: queue) == jobs }
            try await fleet.place.withBroker { try await $0.deleteQueue(queue) }
            _ = try await fleet.addWorker([Work.definition(recorder)])
            for number in 1...jobs {
                #expect(try await fleet.mailbox.result(of: "k-\(number)").outcome == "succeeded")
            }
            #expect(recorder.runs.count == jobs)
        }
    }

    @Test("A queue that an operator deletes takes no job with it that the ledger knows")
    func deletedQueue() async throws {
        let recorder = Recorder()
        let gate = Gate()
        let definition = Work.definition(recorder) { work, _ in
            try await gate.pass()
            return work.text
        }
        // Far more than one slot and what is fetched ahead of it.
        let jobs = 300
        try await TestFleet.use(definitions: [definition], configure: { $0.slotsDefault = 1 }) {
            (fleet: TestFleet) async throws -> Void in
            _ = try await fleet.addDispatcher()
            try await enqueue(jobs, in: fleet)
            try await eventually("all to be published") {
                let counts = try await fleet.store.counts(subsystem: "test")
                return (counts[.queued]?.jobs ?? 0) + (counts[.running]?.jobs ?? 0) == jobs && recorder.runs.count == 1
            }
            try await fleet.place.withBroker { try await $0.deleteQueue("gaia.jobs.test") }
            gate.open()
            for number in 1...jobs {
                #expect(try await fleet.mailbox.result(of: "k-\(number)").outcome == "succeeded")
            }
            #expect(recorder.runs.count == jobs)
            try await eventually("the queue to be empty") { try await fleet.place.ready(in: "gaia.jobs.test") == 0 }
        }
    }
}
