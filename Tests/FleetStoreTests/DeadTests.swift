import FleetModel
import FleetStore
import PostgresClient
import Testing

@Suite("Jobs that were given up")
struct DeadTests {
    private func giveUp(_ ledger: Ledger, _ key: String, by worker: WorkerEpoch, _ message: String) async throws {
        let owned = try await ledger.own(key, by: worker)
        let failure = JobFailure(.permanent, code: "api.404", message: message)
        _ = try await ledger.complete(key, owned, .discard(failure))
    }

    @Test("They are grouped by cause: numbers, names in quotes and long hexadecimal words make no difference")
    func groups() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let worker = try await ledger.worker()
            try await giveUp(ledger, "a", by: worker, "user 17 ('Ada') has no page 4711")
            try await giveUp(ledger, "b", by: worker, "user 4 ('Bo') has no page 1")
            try await giveUp(ledger, "c", by: worker, "request 0be7c5a2-93f1-4d3e-9d3c-1f2e3d4c5b6a is gone")
            try await giveUp(ledger, "d", by: worker, "request deadbeef-0000-4d3e-9d3c-aaaaaaaaaaaa is gone")
            try await giveUp(ledger, "e", by: worker, "request is gone")
            try await ledger.own("running", by: worker)
            let groups = try await ledger.store.deadGroups()
            #expect(Set(groups.map(\.count)) == [2, 1] && groups.count == 3)
            #expect(groups[0].message == "request is gone", "the latest first")
            let users = try #require(groups.first { $0.message.contains("user") })
            #expect((users.type, users.kind, users.code) == ("test.do.v1", "permanent", "api.404"))
            let jobs = try await ledger.store.deadJobs(.group(users.fingerprint), atMost: 10)
            #expect(jobs.map(\.identity.key) == ["a", "b"])
            #expect(jobs.map(\.attempt) == [1, 1] && jobs.map(\.worker) == ["w", "w"])
            #expect(
                try await ledger.store.fingerprints([("test.do.v1", "api.404", "user 0 ('x') has no page 9")])
                    == [users.fingerprint])
            #expect(
                try await ledger.store.fingerprints([("test.other.v1", "api.404", "user 0 ('x') has no page 9")])
                    != [users.fingerprint])
        }
    }

    @Test("One runs again under its own key from its first attempt, keeps its errors, and is on no list any more")
    func replay() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let worker = try await ledger.worker()
            try await giveUp(ledger, "k", by: worker, "no")
            // A wish of old to call it off, and an age of a month, must not end it.
            try await ledger.pool.script(
                """
                insert into gaia.cancellation (subsystem, key, reason) values ('test', 'k', 'stop');
                update gaia.job set created_at = now() - interval '30 days',
                    deadline_at = now() - interval '29 days', replayed_at = null;
                """)
            #expect(try await ledger.store.replay([(Ledger.identity("k"), nil)]) == [.replayed])
            #expect(try await ledger.store.deadGroups().isEmpty)
            #expect(try await ledger.store.due(atMost: 10).map(\.job.key) == ["k"])
            let owned = try #require(try await ledger.claim(Ledger.request("k"), by: worker).ownership)
            #expect((owned.attempt, owned.token) == (1, 3))
            #expect(owned.age < .seconds(3_600))
            #expect(owned.remaining.map { $0 > .seconds(80_000) } == true)
            let record = try await ledger.record("k")
            #expect(record.errors.contains("api.404") && record.errors.contains("replayed"))
            #expect(try await ledger.store.replay([(Ledger.identity("k"), nil)]) == [.left(.running)])
            _ = try await ledger.complete("k", owned, .succeed(output: "1"))
            #expect(try await ledger.store.replay([(Ledger.identity("k"), nil)]) == [.left(.succeeded)])
            #expect(try await ledger.store.replay([(Ledger.identity("none"), nil)]) == [.unknown])
        }
    }

    @Test("One that is given up again is on the list again, with its new cause")
    func again() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let worker = try await ledger.worker()
            try await giveUp(ledger, "k", by: worker, "first")
            _ = try await ledger.store.replay([(Ledger.identity("k"), nil)])
            let begin = try await ledger.store.now()
            try await giveUp(ledger, "k", by: worker, "second")
            #expect(try await ledger.store.deadGroups().map(\.message) == ["second"])
            #expect(try await ledger.store.deadJobs(.job(key: "k", subsystem: nil), before: begin, atMost: 9).isEmpty)
        }
    }

    @Test("A payload is changed as a whole or by members, and only the changed one is claimed from then on")
    func changed() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let worker = try await ledger.worker()
            try await giveUp(ledger, "k", by: worker, "no")
            let jobs = try await ledger.store.deadJobs(
                .job(key: "k", subsystem: "test"), settingMembers: #"{"m":[1]}"#, atMost: 1)
            #expect(jobs.map(\.payload) == [#"{"m": [1], "n": 1}"#])
            let payload = #"{"m":[1],"n":1}"#
            #expect(try await ledger.store.replay([(Ledger.identity("k"), payload)]) == [.replayed])
            #expect(try await ledger.claim(Ledger.request("k"), by: worker).word == "conflict with test.do.v1")
            #expect(try await ledger.claim(Ledger.request("k", payload: payload), by: worker).word == "claimed")
        }
    }

    @Test("What an operator has decided is on no list; what ages out leaves it; what is dropped stays in the ledger")
    func leaving() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let worker = try await ledger.worker()
            let term = try await ledger.store.beginTerm(name: "d")
            let owned = try await ledger.own("decided", by: worker)
            _ = try await ledger.complete(
                "decided", owned, .doubt(JobFailure(.unsafe, code: "x", message: "who knows")))
            #expect(try await ledger.store.resolve(Ledger.identity("decided"), as: .discarded, reason: "") == nil)
            #expect(try await ledger.store.deadGroups().isEmpty)
            for key in ["old", "dropped"] { try await giveUp(ledger, key, by: worker, key) }
            #expect(try await ledger.store.dropDead(.job(key: "dropped", subsystem: "test")) == 1)
            #expect(try await ledger.store.deadGroups().map(\.message) == ["old"])
            #expect(try await ledger.record("dropped").state == "discarded")
            try await ledger.pool.script("update gaia.job set finished_at = now() - interval '31 days'")
            _ = try await ledger.store.retain(pages: 0..<1_000_000, Retention(), term: term)
            #expect(try await ledger.store.deadGroups().isEmpty)
        }
    }
}
