import FleetModel
import FleetStore
import PostgresClient
import Testing

private let failure = JobFailure(.transient, code: "t", message: "later")

private func later(
    _ key: String, _ delay: Duration = .seconds(600), payload: String = "1", type: JobType = "test.do.v1"
) -> ScheduleRequest {
    ScheduleRequest(job: Job(type: type, key: key, payload: Array(payload.utf8)), payload: payload, delay: delay)
}

@Suite("Agenda")
struct AgendaTests {
    @Test("A job for later stands in the ledger and on the agenda, and is owed when its time has come")
    func schedule() async throws {
        try await Ledger.with { ledger in
            let job = Job(
                type: "test.do.v1", key: "k", payload: Array(#"{"a":[]}"#.utf8), replyTo: "r", correlationID: "c",
                subject: "s",
                traceparent: "t", deadline: .seconds(60), attemptsMax: 3, producer: "p")
            #expect(try await ledger.store.nextDue() == nil)
            let request = ScheduleRequest(job: job, payload: #"{"a":[]}"#, delay: .seconds(600))
            #expect(try await ledger.store.schedule([request]) == [.scheduled])
            #expect(try await ledger.store.due(atMost: 10).isEmpty)
            #expect((.seconds(590) ... .seconds(600)).contains(try #require(try await ledger.store.nextDue())))
            let record = try await ledger.record("k")
            #expect((record.state, record.attempt, record.attemptsMax, record.token) == ("scheduled", 0, 3, 0))
            #expect(record.deadlineAt != nil)
            try await ledger.passTime(of: "k")
            #expect(try await ledger.store.nextDue() == .zero)
            let due = try #require(try await ledger.store.due(atMost: 10).first)
            var expected = job
            (expected.deadline, expected.attemptsMax) = (nil, nil)
            #expect(due.job == expected, "limits stand in the ledger already and need not travel again")
            #expect(due.reason == "scheduled")
            #expect(try await ledger.store.schedule([]) == [])
        }
    }

    @Test("A key that is taken is a duplicate or a conflict")
    func taken() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let store = ledger.store
            #expect(try await store.schedule([later("k")]) == [.scheduled])
            #expect(try await store.schedule([later("k", .seconds(1))]) == [.duplicate(.scheduled)])
            #expect(try await ledger.agenda("k").map { $0.due > 500_000 } == true, "a duplicate does not move the time")
            #expect(try await store.schedule([later("k", payload: "2")]) == [.conflict])
            #expect(try await store.schedule([later("k", type: "test.do.v2")]) == [.conflict])
            let done = try await ledger.own("done", by: worker)
            _ = try await ledger.complete("done", done, .succeed(output: "1"))
            let answers = try await store.schedule([
                later("done", payload: #"{"n":1}"#), later("done", payload: "2"), later("new"), later("k"),
            ])
            #expect(answers == [.duplicate(.succeeded), .conflict, .scheduled, .duplicate(.scheduled)])
            #expect(try await ledger.agenda("done") == nil)
        }
    }

    @Test("One batch may name a key several times: the first counts, the others repeat it or conflict with it")
    func inBatch() async throws {
        try await Ledger.with { ledger in
            let answers = try await ledger.store.schedule([
                later("a"), later("b"), later("a"), later("a", payload: "2"), later("b", type: "test.do.v2"),
                later("a"),
            ])
            #expect(
                answers == [
                    .scheduled, .scheduled, .duplicate(.scheduled), .conflict, .conflict, .duplicate(.scheduled),
                ])
            #expect(try await ledger.record("a").payload == "1")
        }
    }

    @Test("What is owed comes oldest first, no more than asked for")
    func order() async throws {
        try await Ledger.with { ledger in
            for (key, delay) in [("third", 30), ("first", 10), ("second", 20), ("later", 7_200)] {
                _ = try await ledger.store.schedule([later(key, .seconds(delay))])
                try await ledger.passTime(of: key)
            }
            #expect(try await ledger.store.due(atMost: 10).map(\.job.key) == ["first", "second", "third"])
            #expect(try await ledger.store.due(atMost: 2).map(\.job.key) == ["first", "second"])
        }
    }

    @Test("What the broker has confirmed is struck out and queued, for a repeat to find it so")
    func staged() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let term = try await ledger.store.beginTerm(name: "d")
            _ = try await ledger.store.schedule([later("a", payload: #"{"n":1}"#), later("b")])
            let owned = try await ledger.own("c", by: worker)
            _ = try await ledger.complete("c", owned, .retry(failure, delay: .seconds(60), spendsAttempt: true))
            for key in ["a", "b", "c"] { try await ledger.passTime(of: key) }
            let due = try await ledger.store.due(atMost: 10)
            #expect(try await ledger.store.staged(due, term: term) == 3)
            for key in ["a", "b", "c"] {
                #expect(try await ledger.agenda(key) == nil)
                #expect(try await ledger.record(key).state == "queued")
                #expect(try await ledger.record(key).notBefore == nil)
            }
            #expect(try await ledger.own("a", by: worker).attempt == 1)
            #expect(try await ledger.own("c", by: worker).attempt == 2)
            #expect(try await ledger.store.staged(due, term: term) == 0)
            #expect(try await ledger.record("a").state == "running", "what was claimed meanwhile stays claimed")
        }
    }

    @Test("Under a term that has ended nothing is struck out")
    func oldTerm() async throws {
        try await Ledger.with { ledger in
            let old = try await ledger.store.beginTerm(name: "d1")
            _ = try await ledger.store.schedule([later("k")])
            try await ledger.passTime(of: "k")
            let due = try await ledger.store.due(atMost: 10)
            let term = try await ledger.store.beginTerm(name: "d2")
            #expect(term == old + 1)
            #expect(try await ledger.store.staged(due, term: old) == 0)
            #expect(try await ledger.record("k").state == "scheduled")
            #expect(try await ledger.store.staged(due, term: term) == 1)
        }
    }

    @Test("A row whose time has changed since it was read is owed anew and stays")
    func changed() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let term = try await ledger.store.beginTerm(name: "d")
            var owned = try await ledger.own("k", by: worker)
            _ = try await ledger.complete("k", owned, .retry(failure, delay: .seconds(60), spendsAttempt: true))
            try await ledger.passTime(of: "k")
            let due = try await ledger.store.due(atMost: 10)
            // The published message was claimed and failed again before the leader could strike the row out.
            owned = try await ledger.own("k", by: worker)
            _ = try await ledger.complete("k", owned, .retry(failure, delay: .seconds(600), spendsAttempt: true))
            #expect(try await ledger.store.staged(due, term: term) == 0)
            #expect(try await ledger.agenda("k").map { $0.due > 500_000 } == true)
            #expect(try await ledger.record("k").state == "retrying")
        }
    }

    /// The message of a retry is out and its row not yet struck out. It is claimed; its delivery is lost with the worker's
    /// connection and comes to another worker, which parks it and acknowledges it. From then on the agenda is all that
    /// remembers the job, should its owner die.
    @Test("A delivery that is parked while its own row is being struck out is still owed")
    func parkedWhileStaged() async throws {
        try await Ledger.with { ledger in
            let (worker, other) = (try await ledger.worker(), try await ledger.worker())
            let term = try await ledger.store.beginTerm(name: "d")
            let owned = try await ledger.own("k", by: worker)
            _ = try await ledger.complete("k", owned, .retry(failure, delay: .seconds(60), spendsAttempt: true))
            try await ledger.passTime(of: "k")
            let due = try await ledger.store.due(atMost: 10)
            try await ledger.own("k", by: worker)
            #expect(try await ledger.claim(Ledger.request("k"), by: other).word == "parked")
            _ = try await ledger.store.staged(due, term: term)
            let row = try #require(try await ledger.agenda("k"), "nothing owes the parked delivery any more")
            #expect((row.reason, row.worker, row.epoch) == ("recheck", worker.worker, worker.epoch))
        }
    }

    /// A leader reads a due row and publishes it; then the database's clock goes back, by a correction or because another
    /// host has taken over. The worker that gets the message finds the job not due yet and acknowledges the delivery.
    @Test(
        "A delivery that comes too early by a clock that went back is still owed",
        arguments: ["scheduled", "retrying"])
    func early(_ state: String) async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let term = try await ledger.store.beginTerm(name: "d")
            if state == "scheduled" {
                _ = try await ledger.store.schedule([later("k", payload: #"{"n":1}"#)])
            } else {
                let owned = try await ledger.own("k", by: worker)
                _ = try await ledger.complete("k", owned, .retry(failure, delay: .seconds(60), spendsAttempt: true))
            }
            try await ledger.passTime(of: "k")
            let due = try await ledger.store.due(atMost: 10)
            #expect(due.count == 1)
            try await ledger.passTime(of: "k", hours: -2)
            #expect(try await ledger.claim(Ledger.request("k"), by: worker).word == "parked")
            try await ledger.passTime(of: "k", hours: 2)
            _ = try await ledger.store.staged(due, term: term)
            let again = try await ledger.store.due(atMost: 10)
            #expect(again.map(\.job.key) == ["k"], "nothing owes the delivery any more")
            #expect(try await ledger.store.staged(again, term: term) == 1)
            #expect(try await ledger.own("k", by: worker).attempt == (state == "scheduled" ? 1 : 2))
        }
    }
}
