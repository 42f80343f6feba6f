import FleetModel
import FleetStore
import PostgresClient
import Testing

@Suite("Calling off")
struct CancelTests {
    private static let later = Settlement.retry(
        JobFailure(.transient, code: "t", message: "later"), delay: .seconds(600), spendsAttempt: true)

    @Test("What waits for its next try never runs again, and its result is owed")
    func waiting() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let owned = try await ledger.own("k", by: worker)
            _ = try await ledger.complete("k", owned, Self.later)
            #expect(try await ledger.store.cancel(Ledger.identity("k"), reason: "changed my mind") == .cancelled)
            #expect(try await ledger.agenda("k")?.reason == "answer")
            let record = try await ledger.record("k")
            #expect(record.state == "cancelled" && record.errors.contains("changed my mind"))
            let result = try #require(try await ledger.claim(Ledger.request("k"), by: worker).result)
            #expect(result.state == .cancelled && result.error?.contains("changed my mind") == true)
            #expect(try await ledger.store.cancel(Ledger.identity("k"), reason: "again") == .finished)
        }
    }

    @Test("A job for later is taken off the agenda's schedule")
    func scheduled() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let job = Job(type: "test.do.v1", key: "k", payload: Array("{}".utf8))
            let request = ScheduleRequest(job: job, payload: "{}", delay: .seconds(600))
            #expect(try await ledger.store.schedule([request]) == [.scheduled])
            #expect(try await ledger.store.cancel(Ledger.identity("k"), reason: "no") == .cancelled)
            #expect(try await ledger.record("k").state == "cancelled")
            #expect(try await ledger.store.schedule([request]) == [.duplicate(.cancelled)])
        }
    }

    @Test("A job that has not come yet ends as cancelled when it comes, and never runs")
    func early() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            #expect(try await ledger.store.cancel(Ledger.identity("k"), reason: "no longer wanted") == .noted)
            let answer = try await ledger.claim(Ledger.request("k"), by: worker)
            guard case .ended(let result) = answer, result.state == .cancelled else {
                Issue.record("\(answer)")
                return
            }
            #expect(result.error?.contains("no longer wanted") == true)
            let record = try await ledger.record("k")
            #expect((record.state, record.attempt) == ("cancelled", 0))
            #expect(record.errors.contains("no longer wanted") && record.finishedAt != nil)
            #expect(record.errors.hasPrefix("[{"), "a list, as for any other job")
            #expect(try await ledger.claim(Ledger.request("k"), by: worker).word == "finished")
            #expect(try await ledger.claim(Ledger.request("other"), by: worker).word == "claimed")
        }
    }

    @Test("A running job's worker is told, and only that one; a later claim of it ends it")
    func running() async throws {
        try await Ledger.with { ledger in
            let (worker, other) = (try await ledger.worker(), try await ledger.worker())
            let owned = try await ledger.own("k", by: worker)
            #expect(try await ledger.store.calledOff(worker).isEmpty)
            #expect(try await ledger.store.cancel(Ledger.identity("k"), reason: "stop") == .requested)
            let orders = try await ledger.store.calledOff(worker)
            #expect(orders.map(\.identity) == [Ledger.identity("k")] && orders.map(\.reason) == ["stop"])
            #expect(try await ledger.store.calledOff(other).isEmpty)
            _ = try await ledger.complete(
                "k", owned, .retry(JobFailure(.transient, code: "t", message: ""), delay: .zero, spendsAttempt: true))
            #expect(try await ledger.claim(Ledger.request("k"), by: other).word == "ended as cancelled")
        }
    }

    @Test("A handler that stopped settles its job as cancelled; one that finished in spite of it has succeeded")
    func settled() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            for (key, settlement, state) in [
                ("a", Settlement.cancel(JobFailure(.permanent, code: "cancelled", message: "stop")), "cancelled"),
                ("b", Settlement.succeed(output: "1"), "succeeded"),
            ] {
                let owned = try await ledger.own(key, by: worker)
                #expect(try await ledger.store.cancel(Ledger.identity(key), reason: "stop") == .requested)
                _ = try await ledger.complete(key, owned, settlement)
                #expect(try await ledger.record(key).state == state)
            }
        }
    }

    @Test("A hundred callings off beside a hundred claims: each job is cancelled or told, none is missed")
    func race() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let keys = (0..<100).map { "k-\($0)" }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for key in keys {
                    group.addTask { _ = try await ledger.store.claim([Ledger.request(key)], by: worker) }
                    group.addTask { _ = try await ledger.store.cancel(Ledger.identity(key), reason: "stop") }
                }
                try await group.waitForAll()
            }
            let told = Set(try await ledger.store.calledOff(worker).map(\.identity.key))
            for key in keys {
                let state = try await ledger.record(key).state
                #expect(state == "cancelled" || state == "running" && told.contains(key))
            }
        }
    }
}

@Suite("Lost workers")
struct LostWorkerTests {
    /// Ends the worker's life, as the dispatcher does after a crash.
    private func lose(_ worker: WorkerEpoch, _ ledger: Ledger) async throws -> WorkerEpoch {
        try await ledger.store.beginEpoch(worker: worker.worker, lease: .seconds(3_600))
    }

    private func unrepeatable(_ key: String) -> ClaimRequest {
        let request = Ledger.request(key)
        return ClaimRequest(job: request.job, payload: request.payload, attemptsMax: 5, isRepeatable: false)
    }

    @Test("What must not be repeated becomes indeterminate, whoever claims it next, and is answered so")
    func indeterminate() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            #expect(try await ledger.claim(unrepeatable("k"), by: worker).word == "claimed")
            // The same life asks again, since the answer was lost: nothing has run yet.
            #expect(try await ledger.claim(unrepeatable("k"), by: worker).word == "claimed")
            let next = try await lose(worker, ledger)
            let answer = try await ledger.claim(unrepeatable("k"), by: next)
            #expect(answer.word == "ended as indeterminate")
            let record = try await ledger.record("k")
            #expect(record.state == "indeterminate" && record.errors.contains("worker-lost"))
            let result = try #require(try await ledger.claim(unrepeatable("k"), by: next).result)
            #expect(result.state == .indeterminate && result.error?.contains("must not be repeated") == true)
        }
    }

    @Test("An operator decides over it, once, and in one of three ways")
    func resolved() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            for key in ["a", "b", "c"] { _ = try await ledger.claim(unrepeatable(key), by: worker) }
            let next = try await lose(worker, ledger)
            for key in ["a", "b", "c"] { _ = try await ledger.claim(unrepeatable(key), by: next) }
            let store = ledger.store
            #expect(
                try await store.resolve(
                    Ledger.identity("a"), as: .succeeded(output: #"{"n":1}"#), reason: "the bank confirms") == nil)
            #expect(try await store.resolve(Ledger.identity("b"), as: .discarded, reason: "") == nil)
            // A calling off that came too late must not end what an operator wants run again.
            #expect(try await store.cancel(Ledger.identity("c"), reason: "") == .finished)
            try await ledger.pool.script(
                "insert into gaia.cancellation (subsystem, key, reason) values ('test', 'c', 'stop')")
            #expect(try await store.resolve(Ledger.identity("c"), as: .retry, reason: "it never left") == nil)
            #expect(try await store.resolve(Ledger.identity("a"), as: .retry, reason: "") == "succeeded")
            #expect(try await store.resolve(Ledger.identity("none"), as: .retry, reason: "") == "unknown")
            #expect(try await ledger.claim(unrepeatable("a"), by: next).result?.output == #"{"n":1}"#)
            #expect(try await ledger.claim(unrepeatable("b"), by: next).result?.state == .discarded)
            #expect(try await ledger.agenda("c")?.reason == "answer")
            let again = try #require(try await ledger.claim(unrepeatable("c"), by: next).ownership)
            #expect(again.attempt <= again.attemptsMax && !again.isSuspect)
            #expect(try await ledger.record("a").errors.contains("the bank confirms"))
        }
    }

    @Test("The third loss of a worker that ran nothing else sets the job aside; its neighbours are charged nothing")
    func poison() async throws {
        try await Ledger.with { ledger in
            var worker = try await ledger.worker()
            let keys = ["poison"] + (1...20).map { "innocent-\($0)" }
            let requests = keys.map { Ledger.request($0, attemptsMax: 1) }
            _ = try await ledger.store.claim(requests, by: worker)
            for crashes in 1...2 {
                worker = try await lose(worker, ledger)
                for answer in try await ledger.store.claim(requests, by: worker) {
                    let owned = try #require(answer.ownership)
                    #expect((owned.attempt, owned.crashes, owned.isSuspect) == (1, crashes, crashes == 2))
                }
            }
            // Lost again while they only wait for their turn to run alone: nobody is to blame yet.
            worker = try await lose(worker, ledger)
            let third = try await ledger.store.claim(requests, by: worker)
            #expect(third.allSatisfy { $0.ownership?.isSuspect == true })
            let token = try #require(third[0].ownership?.token)
            #expect(try await ledger.store.runAlone(Ledger.identity("poison"), token: token))
            #expect(try await !ledger.store.runAlone(Ledger.identity("poison"), token: token - 1))
            worker = try await lose(worker, ledger)
            let last = try await ledger.store.claim(requests, by: worker)
            #expect(last[0].word == "ended as discarded")
            #expect(last.dropFirst().allSatisfy { $0.ownership?.attempt == 1 })
            #expect(try await ledger.record("poison").errors.contains("poison"))
        }
    }

    @Test("A snooze spends no attempt and notes no error")
    func snooze() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let owned = try await ledger.own("k", by: worker)
            _ = try await ledger.complete("k", owned, .snooze(delay: .seconds(600)))
            let record = try await ledger.record("k")
            #expect((record.state, record.attempt, record.errors) == ("scheduled", 0, "[]"))
            #expect(try await ledger.agenda("k").map { $0.due > 500_000 } == true)
            try await ledger.passTime(of: "k")
            #expect(try await ledger.own("k", by: worker).attempt == 1)
        }
    }

    @Test("Progress is written while its token owns the job, and not after")
    func progress() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let owned = try await ledger.own("k", by: worker)
            let identity = Ledger.identity("k")
            try await ledger.store.note([(identity, owned.token, JobProgress(0.25, "a \"quarter\""))])
            #expect(try await ledger.record("k").progress?.contains(#""fraction": 0.25"#) == true)
            try await ledger.store.note([(identity, owned.token + 1, JobProgress(0.5, nil))])
            #expect(try await ledger.record("k").progress?.contains(#""fraction": 0.5"#) == false)
        }
    }
}
