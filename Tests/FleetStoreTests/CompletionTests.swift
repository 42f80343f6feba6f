import FleetModel
import FleetStore
import PostgresClient
import TestPatience
import Testing

private let failure = JobFailure(.transient, code: "t", message: "later")

@Suite("Completions")
struct CompletionTests {
    @Test("A stale token writes nothing, whatever it brings")
    func stale() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let old = try await ledger.own("k", by: worker)
            let fresh = try await ledger.own("k", by: worker)
            for settlement in [
                Settlement.succeed(output: "0"), .discard(failure), .doubt(failure), .handBack,
                .retry(failure, delay: .zero, spendsAttempt: true),
            ] {
                #expect(try await ledger.complete("k", old, settlement) == .fenced)
                let record = try await ledger.record("k")
                #expect(
                    (record.state, record.token, record.attempt, record.errors) == ("running", fresh.token, 1, "[]"))
            }
            #expect(try await ledger.agenda("k") == nil)
            let stranger = Completion(
                identity: Ledger.identity("none"), token: 1, attempt: 1, settlement: .succeed(output: "1"))
            #expect(try await ledger.store.complete([stranger], worker: "w") == [.fenced])
        }
    }

    @Test("A completion whose answer was lost is found by its token when it is made again, waiters and all")
    func repeated() async throws {
        try await Ledger.with { ledger in
            let (worker, other) = (try await ledger.worker(), try await ledger.worker())
            let owned = try await ledger.own("k", by: worker)
            _ = try await ledger.claim(Ledger.request("k", replyTo: "r"), by: other)
            let first = try await ledger.complete("k", owned, .succeed(output: "1"))
            guard case .settled(.some, 1, let waiters) = first, waiters.count == 1 else {
                Issue.record("\(first)")
                return
            }
            #expect(try await ledger.complete("k", owned, .succeed(output: "1")) == first)
            #expect(
                try await ledger.complete("k", owned, .discard(failure)) == .fenced,
                "another outcome than the one written is not ours")
            #expect(try await ledger.record("k").errors == "[]")
        }
    }

    @Test("Settled and fenced come back in the order of the batch")
    func mixed() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            var completions: [Completion] = []
            for number in 0..<20 {
                let owned = try await ledger.own("k\(number)", by: worker)
                completions.append(
                    Completion(
                        identity: Ledger.identity("k\(number)"), token: owned.token + (number % 3 == 0 ? 5 : 0),
                        attempt: 1,
                        settlement: .succeed(output: "\(number)")))
            }
            let answers = try await ledger.store.complete(completions.reversed(), worker: "w")
            #expect(answers.reversed().map { $0 == .fenced } == (0..<20).map { $0 % 3 == 0 })
        }
    }

    @Test("Of very many errors the first and the last are kept")
    func manyErrors() async throws {
        try await Ledger.with { (ledger: Ledger) async throws -> Void in
            let worker = try await ledger.worker()
            for number in 1...60 {
                let owned = try await ledger.own("k", by: worker)
                let failure = JobFailure(.transient, code: "t", message: "error \(number).")
                _ = try await ledger.complete("k", owned, .retry(failure, delay: .zero, spendsAttempt: false))
            }
            let errors = try await ledger.record("k").errors
            for number in [1, 12, 60] { #expect(errors.contains("error \(number).")) }
            for number in [2, 11] { #expect(!errors.contains("error \(number).")) }
        }
    }

    @Test("A retry goes on the agenda for its time, and spends its attempt unless it was throttled")
    func retry() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let owned = try await ledger.own("k", by: worker)
            #expect(
                try await ledger.complete("k", owned, .retry(failure, delay: .seconds(600), spendsAttempt: true))
                    == .settled(finishedAt: nil, attempt: 1, waiters: []))
            var row = try #require(try await ledger.agenda("k"))
            #expect((row.reason, row.worker) == ("retry", nil))
            #expect((590_000...600_000).contains(row.due))
            try await ledger.passTime(of: "k")
            let next = try await ledger.own("k", by: worker)
            #expect(next.attempt == 2)
            #expect(
                try await ledger.complete("k", next, .retry(failure, delay: .seconds(60), spendsAttempt: false))
                    == .settled(finishedAt: nil, attempt: 1, waiters: []))
            row = try #require(try await ledger.agenda("k"))
            #expect((50_000...60_000).contains(row.due), "the row's time is the later one's")
            try await ledger.passTime(of: "k")
            #expect(try await ledger.own("k", by: worker).attempt == 2)
        }
    }

    @Test("A retry takes the place of a recheck on the agenda, and its waiters keep waiting")
    func retryOverRecheck() async throws {
        try await Ledger.with { ledger in
            let (worker, other) = (try await ledger.worker(), try await ledger.worker())
            let owned = try await ledger.own("k", by: worker)
            _ = try await ledger.claim(Ledger.request("k", replyTo: "r"), by: other)
            #expect(
                try await ledger.complete("k", owned, .retry(failure, delay: .seconds(600), spendsAttempt: true))
                    == .settled(finishedAt: nil, attempt: 1, waiters: []))
            let row = try #require(try await ledger.agenda("k"))
            #expect((row.reason, row.worker, row.epoch) == ("retry", nil, nil))
            #expect(try await ledger.waiters("k").count == 1)
        }
    }

    @Test("What is handed back is free at once and has spent nothing")
    func handBack() async throws {
        try await Ledger.with { ledger in
            let (worker, other) = (try await ledger.worker(), try await ledger.worker())
            let owned = try await ledger.own("k", by: worker)
            #expect(
                try await ledger.complete("k", owned, .handBack) == .settled(finishedAt: nil, attempt: 0, waiters: []))
            let next = try await ledger.own("k", by: other)
            #expect((next.attempt, next.token) == (1, 2))
        }
    }

    @Test("Doubt is final and says so to a repeat")
    func doubt() async throws {
        try await Ledger.with { ledger in
            let worker = try await ledger.worker()
            let owned = try await ledger.own("k", by: worker)
            guard case .settled(.some, 1, _) = try await ledger.complete("k", owned, .doubt(failure)) else {
                Issue.record("not settled")
                return
            }
            #expect(try await ledger.claim(Ledger.request("k"), by: worker).result?.state == .indeterminate)
        }
    }

    @Test("Waiters who were answered are struck out, others and their reminder stay")
    func answered() async throws {
        try await Ledger.with { ledger in
            let (worker, other) = (try await ledger.worker(), try await ledger.worker())
            let owned = try await ledger.own("k", by: worker)
            for reply in ["r1", "r2"] { _ = try await ledger.claim(Ledger.request("k", replyTo: reply), by: other) }
            guard case .settled(_, _, let waiters) = try await ledger.complete("k", owned, .succeed(output: "1")) else {
                Issue.record("not settled")
                return
            }
            #expect(Set(waiters.map(\.replyTo)) == ["r1", "r2"])
            #expect(try await ledger.agenda("k")?.reason == "recheck", "until they are answered a reminder stands")
            try await ledger.store.answered(waiters)
            #expect(try await ledger.waiters("k").isEmpty)
            #expect(try await ledger.agenda("k") == nil)
        }
    }

    /// Each key is completed by its owner while a repeat of it arrives elsewhere. The repeat must learn the result from one
    /// of the two: found finished, or handed to the completion as a waiter.
    @Test("Of 200 repeats that race the completion of their job, each is answered by one of the two")
    func parkAgainstCompletion() async throws {
        try await Ledger.with { ledger in
            let (owner, other) = (try await ledger.worker("owner"), try await ledger.worker("other"))
            let keys = (0..<200).map { "key-\($0)" }
            let claims = try await ledger.store.claim(keys.map { Ledger.request($0) }, by: owner)
            let tokens = Dictionary(uniqueKeysWithValues: zip(keys, claims.map { $0.ownership?.token ?? -1 }))
            let steady = Patience(initial: .milliseconds(1), cap: .milliseconds(20), limit: .seconds(30))
            struct Side: Sendable {
                var answered: Set<String> = []
                var parked: Set<String> = []
                var completed: Set<String> = []
            }
            let all = try await withThrowingTaskGroup(of: Side.self) { group in
                // Batches of different sizes and orders, so that the two sides meet in every way.
                var parks = keys.shuffled()[...]
                var ends = keys.shuffled()[...]
                while !parks.isEmpty || !ends.isEmpty {
                    let (park, end) = (Array(parks.prefix(.random(in: 1...4))), Array(ends.prefix(.random(in: 1...4))))
                    (parks, ends) = (parks.dropFirst(park.count), ends.dropFirst(end.count))
                    group.addTask {
                        let answers = try await steady {
                            try await ledger.store.classify(park.map { Ledger.request($0, replyTo: "r") }, by: other)
                        }
                        var side = Side()
                        for (key, answer) in zip(park, answers) {
                            if answer.result != nil {
                                side.answered.insert(key)
                            } else if answer.word == "parked" {
                                side.parked.insert(key)
                            }
                        }
                        return side
                    }
                    group.addTask {
                        let completions = end.map {
                            Completion(
                                identity: Ledger.identity($0), token: tokens[$0] ?? -1, attempt: 1,
                                settlement: .succeed(output: "1"))
                        }
                        var side = Side()
                        for (key, answer) in zip(
                            end, try await steady { try await ledger.store.complete(completions, worker: "owner") })
                        {
                            guard case .settled(_, _, let waiters) = answer else { continue }
                            side.completed.insert(key)
                            if !waiters.isEmpty { side.answered.insert(key) }
                        }
                        return side
                    }
                }
                return try await group.reduce(into: Side()) { all, side in
                    all.answered.formUnion(side.answered)
                    all.parked.formUnion(side.parked)
                    all.completed.formUnion(side.completed)
                }
            }
            #expect(all.completed.count == 200)
            let forgotten = Set(keys).subtracting(all.answered)
            #expect(forgotten.isEmpty, "parked \(all.parked.count), forgotten: \(forgotten.sorted())")
        }
    }

    /// How many statements wait for a lock at this moment.
    private static func blocked(_ ledger: Ledger) async throws -> Int64 {
        let statement = PostgresStatement(
            name: "test-blocked",
            sql: """
                select count(*) from pg_stat_activity
                where datname = current_database() and wait_event_type = 'Lock'
                """)
        return try await ledger.pool.execute(statement).single().get(0)
    }

    @Test("A repeat that arrives while the completion is being written waits for it, and finds the job finished")
    func completionFirst() async throws {
        try await Ledger.with { ledger in
            let (owner, other) = (try await ledger.worker("owner"), try await ledger.worker("other"))
            let owned = try await ledger.own("k", by: owner)
            let parking = try await ledger.pool.withTransaction { session in
                try await session.script(
                    """
                    update gaia.job set state = 'succeeded', output = '7', finished_at = now()
                    where key = 'k' and token = \(owned.token)
                    """)
                let parking = Task { try await ledger.store.classify([Ledger.request("k", replyTo: "r")], by: other) }
                try await eventually("the parking to wait") { try await Self.blocked(ledger) == 1 }
                return parking
            }
            #expect(try await parking.value.first?.result?.output == "7")
            #expect(try await ledger.waiters("k").isEmpty)
        }
    }

    @Test("A completion that comes while a repeat is being parked waits for it, and answers it")
    func repeatFirst() async throws {
        try await Ledger.with { ledger in
            let (owner, other) = (try await ledger.worker("owner"), try await ledger.worker("other"))
            let owned = try await ledger.own("k", by: owner)
            let (parking, ending) = try await ledger.pool.withTransaction { session in
                // The same waiter, uncommitted, holds the repeat between its look at the job and its commit.
                try await session.script(
                    "insert into gaia.waiter (subsystem, key, reply_to, correlation_id) values ('test', 'k', 'r', 'k')")
                let parking = Task { try await ledger.store.classify([Ledger.request("k", replyTo: "r")], by: other) }
                try await eventually("the parking to wait") { try await Self.blocked(ledger) == 1 }
                let ending = Task { try await ledger.complete("k", owned, .succeed(output: "7")) }
                try await eventually("both to wait") { try await Self.blocked(ledger) == 2 }
                try await session.script("delete from gaia.waiter")
                return (parking, ending)
            }
            #expect(try await parking.value.first?.word == "parked")
            guard case .settled(_, _, let waiters) = try await ending.value else {
                Issue.record("not settled")
                return
            }
            #expect(waiters == [Waiter(identity: Ledger.identity("k"), replyTo: "r", correlationID: "k")])
        }
    }
}
