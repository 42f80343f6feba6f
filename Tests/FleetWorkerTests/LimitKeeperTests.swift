import FleetModel
import FleetStore
import FleetTestKit
import FleetWorker
import PostgresClient
import TestPatience
import Testing

/// Workers without a broker, for their limits alone. None hears of anything unless the test says it.
private struct Crew: Sendable {
    struct Member: Sendable {
        let keeper: LimitKeeper
        let owner: WorkerEpoch
    }

    let members: [Member]
    let store: FleetStore
    let pool: PostgresPool

    static func use(
        _ count: Int = 1, poll: Duration = .milliseconds(100), rules: [LimitRule] = [],
        _ body: (Crew) async throws -> Void
    ) async throws {
        try await Isolated.use { place in
            var configuration = FleetStore.keyed(place.database)
            configuration.poolSize = 4
            try await withPool(configuration) { pool in
                let store = FleetStore(pool: pool)
                for rule in rules {
                    try await store.setLimit(rule.name, rate: rule.rate, burst: rule.burst, places: rule.places)
                }
                var members: [Member] = []
                for number in 1...count {
                    let card = WorkerCard(
                        name: "w\(number)", host: "test", processID: 1, subsystems: ["test"], slots: 1)
                    let keeper = LimitKeeper(store: store, worker: "w\(number)", poll: poll, logger: testLogger)
                    try await keeper.prepare()
                    members.append(
                        Member(keeper: keeper, owner: try await store.register(card, lease: .seconds(3_600))))
                }
                let running = Task { [members] in
                    await withDiscardingTaskGroup { group in
                        for member in members {
                            group.addTask { await member.keeper.run(owner: { member.owner }) }
                        }
                    }
                }
                let result: Result<Void, any Error>
                do {
                    result = .success(try await body(Crew(members: members, store: store, pool: pool)))
                } catch { result = .failure(error) }
                running.cancel()
                await running.value
                try result.get()
            }
        }
    }

    /// Has every member use units as fast as it may, with so many jobs, until each has had so many, and all together.
    func spend(_ name: String, _ units: Int, jobs: Int, each share: Double, all total: Double) async throws
        -> [Spending]
    {
        let spendings = Watched<[Spending]>([])
        let had = Watched([Int](repeating: 0, count: members.count))
        let isEnough = { @Sendable (had: [Int]) in
            Double(had.reduce(0, +)) >= total && had.allSatisfy { Double($0) >= share }
        }
        let deadline = ContinuousClock.now + patienceOfTests
        await withDiscardingTaskGroup { group in
            for (index, member) in members.enumerated() {
                for _ in 0..<jobs {
                    group.addTask {
                        while !isEnough(had.value), ContinuousClock.now < deadline {
                            do {
                                try await member.keeper.spend(units, of: name, within: .seconds(5))
                                spendings.update { $0.append(Spending(at: .now, units: units)) }
                                had.update { $0[index] += units }
                            } catch {
                                // Refused, as the last of a crowd may be.
                            }
                        }
                    }
                }
            }
        }
        guard isEnough(had.value) else { throw NotInTime("all to have had their units; they have \(had.value)") }
        return spendings.value
    }
}

private struct Spending: Sendable {
    let at: ContinuousClock.Instant
    let units: Int
}

extension [Spending] {
    /// The most units in any stretch of this length.
    fileprivate func most(in length: Duration) -> Int {
        let sorted = sorted { $0.at < $1.at }
        var (most, sum, first) = (0, 0, 0)
        for spending in sorted {
            sum += spending.units
            while spending.at - sorted[first].at > length {
                sum -= sorted[first].units
                first += 1
            }
            most = Swift.max(most, sum)
        }
        return most
    }

    fileprivate var units: Int { reduce(0) { $0 + $1.units } }
}

@Suite("Limits in workers", .serialized, .timeLimit(.minutes(5)))
struct LimitKeeperTests {
    struct Rate: Sendable, CustomTestStringConvertible {
        let rate: Double
        let units: Int
        let jobs: Int
        var testDescription: String { "\(Int(rate)) a second, \(units) at a time" }
    }

    /// By how much the machine wakes a task too late at worst, in seconds; until it is cancelled.
    private static func lateness() -> Task<Double, Never> {
        Task {
            var worst = Duration.zero
            while !Task.isCancelled {
                let due = ContinuousClock.now + .milliseconds(5)
                do { try await Task.sleep(until: due, clock: .continuous) } catch { break }
                worst = max(worst, .now - due)
            }
            return worst / .seconds(1)
        }
    }

    @Test(
        "Four workers that use as much as they may use what the limit says, together",
        arguments: [
            Rate(rate: 2, units: 1, jobs: 2), Rate(rate: 100, units: 1, jobs: 10),
            Rate(rate: 20_000, units: 1, jobs: 50), Rate(rate: 100_000_000, units: 65_536, jobs: 10),
        ])
    func rate(_ wanted: Rate) async throws {
        try await Crew.use(4, rules: [LimitRule(name: "n", rate: wanted.rate)]) { crew in
            let begin = ContinuousClock.now
            let lateness = Self.lateness()
            defer { lateness.cancel() }
            // What four seconds give, and of it to each member a fifth of its quarter. How long that takes them is for a
            // measurement on a quiet machine, `gaia bench limits`; here all other tests run beside it.
            let expected = wanted.rate * 4
            let spendings = try await crew.spend(
                "n", wanted.units, jobs: wanted.jobs, each: expected / 4 * 0.2, all: expected)
            let seconds = (ContinuousClock.now - begin) / .seconds(1)
            let piece = Double(wanted.units)
            // A burst of a tenth of a second, and what the ends of the time cut off.
            #expect(Double(spendings.units) <= wanted.rate * (seconds * 1.05 + 0.1) + piece, "in \(seconds) s")
            // Units that were had in time and are noted late stand too close to those after them: by as much as this process was
            // late, and one of each worker, whose answer may have been held up elsewhere.
            lateness.cancel()
            let late = await lateness.value
            for length in [0.5, 1, 2] {
                let most = Double(spendings.most(in: .seconds(length)))
                #expect(
                    most <= wanted.rate * (length + 0.35 + late) + 4 * piece, "\(most) in \(length) s, \(late) s late")
            }
        }
    }

    @Test("Places: no more at once than there are, all of them used, and everybody has some")
    func places() async throws {
        for (places, jobs) in [(1, 3), (6, 10), (40, 3)] {
            let witness = Watched((now: 0, most: 0, turns: [Int](repeating: 0, count: 4)))
            try await Crew.use(4, rules: [LimitRule(name: "n", places: places)]) { crew in
                let end = ContinuousClock.now + .seconds(2)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for (index, member) in crew.members.enumerated() {
                        for _ in 0..<jobs {
                            group.addTask {
                                while ContinuousClock.now < end {
                                    try await member.keeper.withPlace("n", within: .seconds(30)) {
                                        witness.update { witness in
                                            witness.now += 1
                                            witness.most = max(witness.most, witness.now)
                                            witness.turns[index] += 1
                                        }
                                        try await Task.sleep(for: .milliseconds(2))
                                        witness.update { $0.now -= 1 }
                                    }
                                }
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                try await eventually("all places to be given back") {
                    try await crew.store.limits().allSatisfy { $0.held == 0 && $0.short == 0 }
                }
            }
            let seen = witness.value
            #expect(seen.most == min(places, 4 * jobs), "\(places) places")
            #expect((seen.turns.min() ?? 0) * 4 >= seen.turns.reduce(0, +) / 4, "\(seen.turns)")
        }
    }

    @Test("A name closed by one is closed at once for it, and for the others when they have heard or looked")
    func closing() async throws {
        try await Crew.use(2, poll: .milliseconds(50), rules: [LimitRule(name: "host.*", rate: 1_000)]) { crew in
            let (one, two) = (crew.members[0].keeper, crew.members[1].keeper)
            try await two.spend(1, of: "host.a", within: .seconds(5))
            one.close("host.a", for: .seconds(60))
            let error = await #expect(throws: LimitError.self) {
                try await one.spend(1, of: "host.a", within: .seconds(5))
            }
            guard case .closed("host.a", let pause) = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(pause > .seconds(50))
            try await eventually("the other to know") {
                do {
                    try await two.spend(1, of: "host.a", within: .zero)
                    return false
                } catch LimitError.closed { return true } catch { return false }
            }
            await #expect(throws: LimitError.self) { _ = try await two.enter("host.a", within: .seconds(5)) }
            try await two.spend(1, of: "host.b", within: .seconds(5))
            #expect(try await crew.store.openLimit("host.a"))
            try await eventually("both to know") {
                for keeper in [one, two] {
                    do { try await keeper.spend(1, of: "host.a", within: .seconds(1)) } catch { return false }
                }
                return true
            }
        }
    }

    @Test("Who waits for a name when it is closed is told so, and need not wait for its time")
    func closedWhileWaiting() async throws {
        try await Crew.use(rules: [LimitRule(name: "n", rate: 0.01, burst: 1, places: 1)]) { crew in
            let keeper = crew.members[0].keeper
            try await keeper.spend(1, of: "n", within: .zero)
            let place = try await keeper.enter("n", within: .zero)
            let spending = Task { try await keeper.spend(1, of: "n", within: .seconds(3_000)) }
            let entering = Task { try await keeper.enter("n", within: .seconds(3_000)) }
            try await eventually("both to wait") {
                try await crew.store.limits().contains { $0.name == "n" && $0.short == 1 }
            }
            keeper.close("n", for: .seconds(60))
            await #expect(throws: LimitError.self) { try await spending.value }
            await #expect(throws: LimitError.self) { _ = try await entering.value }
            keeper.leave(place)
        }
    }

    @Test("A limit that is changed or taken away holds for those who wait already")
    func changed() async throws {
        try await Crew.use(poll: .milliseconds(50), rules: [LimitRule(name: "n", rate: 0.01, burst: 1, places: 1)]) {
            crew in
            let keeper = crew.members[0].keeper
            try await keeper.spend(1, of: "n", within: .zero)
            _ = try await keeper.enter("n", within: .zero)
            async let spending: Void = keeper.spend(1, of: "n", within: .seconds(3_000))
            async let entering = keeper.enter("n", within: .seconds(3_000))
            try await eventually("it to wait") { try await crew.store.limits().contains { $0.short == 1 } }
            try await crew.store.setLimit("n", rate: nil, places: 2)
            _ = try await entering
            #expect(try await crew.store.removeLimit("n"))
            try await spending
        }
    }

    @Test("A cancelled wait ends at once, and what it would have had is another's")
    func cancelled() async throws {
        try await Crew.use(rules: [LimitRule(name: "n", rate: 1, burst: 1, places: 1)]) { crew in
            let keeper = crew.members[0].keeper
            try await keeper.spend(1, of: "n", within: .zero)
            let place = try await keeper.enter("n", within: .zero)
            let waits = [
                Task { try await keeper.spend(1, of: "n", within: .seconds(600)) },
                Task { _ = try await keeper.enter("n", within: .seconds(600)) },
            ]
            try await eventually("it to wait") { try await crew.store.limits().contains { $0.short == 1 } }
            for wait in waits { wait.cancel() }
            for wait in waits { await #expect(throws: CancellationError.self) { try await wait.value } }
            keeper.leave(place)
            _ = try await keeper.enter("n", within: .seconds(30))
            try await keeper.spend(1, of: "n", within: .seconds(30))
        }
    }

    @Test("Without a database what is here is used, and who waits for more is told that it is not available")
    func outage() async throws {
        try await Crew.use(rules: [LimitRule(name: "n", rate: 1_000, burst: 1_000, places: 5)]) { crew in
            let keeper = crew.members[0].keeper
            try await keeper.spend(1, of: "n", within: .seconds(5))
            let place = try await keeper.enter("n", within: .seconds(5))
            // The schema is all of the database that a keeper can see.
            try await crew.pool.script("alter schema gaia rename to away")
            let error = await #expect(throws: LimitError.self) {
                while true { try await keeper.spend(10, of: "n", within: .milliseconds(300)) }
            }
            guard case .unavailable("n", _) = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            await #expect(throws: LimitError.self) { _ = try await keeper.enter("n", within: .milliseconds(300)) }
            try await keeper.spend(10, of: "free", within: .zero)
            // A place is free here again without a word to the ledger.
            async let entering = keeper.enter("n", within: .seconds(300))
            try await eventually("it to wait") { keeper.waiting == 1 }
            keeper.leave(place)
            _ = try await entering
            try await crew.pool.script("alter schema away rename to gaia")
            try await keeper.spend(10, of: "n", within: .seconds(30))
        }
    }

    @Test("A worker whose epoch has ended gets nothing, and its places are others'")
    func fenced() async throws {
        try await Crew.use(2, rules: [LimitRule(name: "n", places: 1)]) { crew in
            let (one, two) = (crew.members[0], crew.members[1])
            _ = try await one.keeper.enter("n", within: .seconds(5))
            async let second = two.keeper.enter("n", within: .seconds(60))
            try await eventually("it to wait") { try await crew.store.limits().contains { $0.short == 1 } }
            let term = try await crew.store.beginTerm(name: "d")
            #expect(try await crew.store.endEpoch(of: one.owner, term: term))
            _ = try await second
            await #expect(throws: LimitError.self) {
                _ = try await one.keeper.enter("n", within: .milliseconds(300))
            }
        }
    }

    @Test("Too many who wait are refused as busy")
    func crowd() async throws {
        try await Crew.use(rules: [LimitRule(name: "n", places: 1)]) { crew in
            let keeper = crew.members[0].keeper
            _ = try await keeper.enter("n", within: .seconds(5))
            await withTaskGroup(of: (any Error)?.self) { group in
                for _ in 0..<10_010 {
                    group.addTask {
                        do { _ = try await keeper.enter("n", within: .seconds(300)) } catch { return error }
                        return nil
                    }
                }
                // Nobody else hears anything as long as the place is taken.
                for _ in 0..<10 {
                    let error = await group.next() ?? nil
                    guard case .busy("n", .seconds(1)) = error as? LimitError else {
                        Issue.record("\(String(describing: error))")
                        break
                    }
                }
                group.cancelAll()
                for await error in group { #expect(error is CancellationError) }
            }
        }
    }
}
