import FleetModel
import FleetStore
import FleetTestKit
import TestPatience
import Testing

@Suite("HTTP API: waiting for a job's end", .timeLimit(.minutes(5)))
struct HTTPAPIWaitTests {
    /// Jobs that run until the gate is open.
    private func gated(_ recorder: Recorder, _ gate: Gate) -> JobDefinition {
        Work.definition(recorder) { work, _ in
            if work.text != "quick" { try await gate.pass() }
            return work.text
        }
    }

    /// Waits until so many are noted in the ledger as waiting.
    private func awaitWaiters(_ count: Int, _ fleet: HTTPFleet) async throws {
        try await eventually("\(count) rows in gaia.waiter") { try await fleet.count("waiter") == count }
    }

    @Test("The answer comes with the job's end, to whoever enqueued it and to whoever asks, at whichever dispatcher")
    func end() async throws {
        let (recorder, gate) = (Recorder(), Gate())
        try await HTTPFleet.use(dispatchers: 2, definitions: [gated(recorder, gate)]) { fleet in
            async let enqueued = fleet.post(workJSON("k"), "?wait=60")
            try await recorder.awaitRun(of: "k")
            async let asked = fleet.get("/v1/jobs/test/k?wait=60")
            async let elsewhere = fleet.get("/v1/jobs/test/k?wait=60", at: 1)
            async let again = fleet.post(workJSON("k"), "?wait=60", at: 1)
            try await awaitWaiters(3, fleet)
            // Nobody was answered before: the job could not end.
            #expect(recorder.runs.map(\.end) == [nil])
            gate.open()
            // At the end of the time the state would be told, or that it is queued.
            for answer in try await [enqueued, asked, elsewhere, again] {
                #expect((answer.status, answer.json["state"]) == (200, .string("succeeded")), "\(answer)")
                #expect(answer.json["output"]?["text"] == .string("a"))
            }
            try await awaitWaiters(0, fleet)
            let late = try await fleet.post(workJSON("k"), "?wait=60", at: 1)
            #expect((late.status, late.json["state"]) == (200, .string("succeeded")))
            #expect(try await fleet.get("/v1/jobs/test/k?wait=60").status == 200)
            #expect(recorder.runs.count == 1)
        }
        gate.open()
    }

    @Test("A job may be waited for before it is enqueued, and while it is for later")
    func early() async throws {
        let recorder = Recorder()
        try await HTTPFleet.use(dispatchers: 2, definitions: [gated(recorder, Gate())]) { fleet in
            async let unknown = fleet.get("/v1/jobs/test/k?wait=60")
            try await awaitWaiters(1, fleet)
            try await fleet.fleet.enqueue(Work("quick"), key: "k")
            #expect(try await unknown.json["state"] == .string("succeeded"))

            let later = try await fleet.post(workJSON("later", "quick", #", "delay_ms": 300"#), "?wait=60", at: 1)
            #expect((later.status, later.json["state"]) == (200, .string("succeeded")), "\(later)")
            try await awaitWaiters(0, fleet)
        }
    }

    @Test("When its time is over it answers what there is, and leaves nothing behind")
    func timeOver() async throws {
        let (recorder, gate) = (Recorder(), Gate())
        try await HTTPFleet.use(
            definitions: [gated(recorder, gate)], settings: ["GAIA_HTTP_WAIT_MS": "50"]
        ) { fleet in
            let enqueued = try await fleet.post(workJSON("k"), "?wait=60")
            #expect((enqueued.status, enqueued.json["status"]) == (202, .string("queued")), "\(enqueued)")
            #expect(enqueued.header("Location") == "/v1/jobs/test/k")
            try await recorder.awaitRun(of: "k")
            let shown = try await fleet.get("/v1/jobs/test/k?wait=60")
            #expect((shown.status, shown.json["state"]) == (200, .string("running")), "\(shown)")
            let again = try await fleet.post(workJSON("k"), "?wait=60")
            #expect((again.status, again.json["status"]) == (200, .string("duplicate")), "\(again)")
            let later = try await fleet.post(workJSON("later", "a", #", "delay_ms": 3600000"#), "?wait=60")
            #expect((later.status, later.json["status"]) == (202, .string("scheduled")), "\(later)")
            #expect(try await fleet.get("/v1/jobs/test/unknown?wait=60").isProblem(404))
            #expect(try await fleet.count("waiter") == 0)
            gate.open()
        }
        gate.open()
    }

    @Test("Who waits hears that a worker would not have the job")
    func refused() async throws {
        try await HTTPFleet.use(definitions: [Work.definition(Recorder())]) { fleet in
            let invalid = try await fleet.post(
                #"{"type": "test.work.v1", "key": "k", "payload": {"text": 5}}"#, "?wait=60")
            #expect(invalid.isProblem(422, "'text' is not of type string"), "\(invalid)")
            #expect(invalid.json["outcome"] == .string("rejected"))
            #expect(invalid.header("Connection") == "close", "the connection takes no further request")
            #expect(invalid.json["reason"] == .string("invalid-parameters"))
            let unknown = try await fleet.post(#"{"type": "test.other.v1", "key": "k", "payload": {}}"#, "?wait=60")
            #expect(unknown.isProblem(422) && unknown.json["reason"] == .string("unknown-type"), "\(unknown)")
            // Its key is free.
            #expect(try await fleet.post(workJSON("k"), "?wait=60").json["state"] == .string("succeeded"))
        }
    }

    @Test("A worker's word on another job of the same key ends nobody's wait but its own")
    func refusedOther() async throws {
        let (recorder, gate) = (Recorder(), Gate())
        try await HTTPFleet.use(definitions: [gated(recorder, gate)]) { fleet in
            async let waiting = fleet.post(workJSON("k"), "?wait=60")
            try await recorder.awaitRun(of: "k")
            // Past the look into the ledger, as it happens when both are enqueued at once.
            let record = try #require(try await fleet.fleet.job("k"))
            let other = Job(
                type: Work.type, key: "k", payload: Array(#"{"text":"other"}"#.utf8), replyTo: record.replyTo)
            try await fleet.fleet.enqueue([other])
            try await fleet.fleet.mailbox.wait(for: "the refusal") { contents in
                contents.events.contains { $0.type == "gaia.job.rejected" }
            }
            async let asked = fleet.get("/v1/jobs/test/k?wait=60")
            try await awaitWaiters(1, fleet)
            gate.open()
            #expect(try await waiting.json["state"] == .string("succeeded"))
            #expect(try await asked.json["state"] == .string("succeeded"))
        }
        gate.open()
    }

    @Test("One more than may wait is refused, and its job is not enqueued")
    func bound() async throws {
        let (recorder, gate) = (Recorder(), Gate())
        try await HTTPFleet.use(definitions: [gated(recorder, gate)], settings: ["GAIA_HTTP_WAITS": "1"]) { fleet in
            async let first = fleet.post(workJSON("k"), "?wait=60")
            try await recorder.awaitRun(of: "k")
            let second = try await fleet.post(workJSON("second", "quick"), "?wait=60")
            #expect(second.isProblem(503, "1 requests wait already"), "\(second)")
            #expect(second.header("Retry-After") != nil)
            #expect(try await fleet.get("/v1/jobs/test/k?wait=60").isProblem(503))
            gate.open()
            #expect(try await first.json["state"] == .string("succeeded"))
            let third = try await fleet.post(workJSON("second", "quick"), "?wait=60")
            #expect(third.json["state"] == .string("succeeded"), "\(third)")
            #expect(recorder.runs(of: "second").count == 1)
        }
        gate.open()
    }

    @Test("A dispatcher that is told to stop ends the waits, answers them, and ends")
    func shutdown() async throws {
        let (recorder, gate) = (Recorder(), Gate())
        try await HTTPFleet.use(definitions: [gated(recorder, gate)]) { fleet in
            async let enqueued = fleet.post(workJSON("k"), "?wait=60")
            try await recorder.awaitRun(of: "k")
            async let asked = fleet.get("/v1/jobs/test/k?wait=60")
            try await awaitWaiters(1, fleet)
            // The job goes on; a stop that waited for it, or for the minute, would have to kill.
            #expect(try await fleet.dispatchers[0].process.stop(grace: .seconds(30)) == .exited(0))
            let (first, second) = (try await enqueued, try await asked)
            #expect((first.status, first.json["status"]) == (202, .string("queued")), "\(first)")
            #expect((second.status, second.json["state"]) == (200, .string("running")), "\(second)")
            #expect(try await fleet.count("waiter") == 0)
            gate.open()
            #expect(try await fleet.fleet.mailbox.result(of: "k").outcome == "succeeded")
        }
        gate.open()
    }

    @Test("A client that goes ends its wait")
    func hangUp() async throws {
        let (recorder, gate) = (Recorder(), Gate())
        try await HTTPFleet.use(definitions: [gated(recorder, gate)], settings: ["GAIA_HTTP_WAITS": "1"]) { fleet in
            try await fleet.fleet.enqueue(Work("a"), key: "k")
            try await recorder.awaitRun(of: "k")
            let waiting = Task { try await fleet.get("/v1/jobs/test/k?wait=60") }
            try await awaitWaiters(1, fleet)
            waiting.cancel()
            await #expect(throws: (any Error).self) { try await waiting.value }
            try await awaitWaiters(0, fleet)
            // Its place is free.
            async let next = fleet.get("/v1/jobs/test/k?wait=60")
            try await awaitWaiters(1, fleet)
            gate.open()
            #expect(try await next.json["state"] == .string("succeeded"))
        }
        gate.open()
    }
}
