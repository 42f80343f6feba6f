import ArgumentParser
import FleetModel
import FleetStack
import FleetStore
import FleetWorker
import Foundation
import Logging
import PostgresClient
import Synchronization

extension BenchCommand {
    struct Locks: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Many waiters on one lock, and many locks at once.",
            discussion: """
                Starts a private PostgreSQL, with synchronous commit, and in this process as many workers as told, each
                with a lease, a pool of two connections and a listener of its own, as worker processes have them.

                One lock: each waiter takes it the given number of times, asking again as soon as it has given it back.
                Held for no time, so that the handing over alone is measured; that no two have it at once is counted
                outside of the database. Many locks: all are taken, held at the same time, and given back.
                """)

        @Option(name: .long, help: "How many wait for the one lock.")
        var waiters = 100
        @Option(name: .long, help: "How often each takes it.")
        var rounds = 20
        @Option(name: .long, help: "How many different locks are held at once.")
        var locks = 10_000
        @Option(name: .long, help: "How many workers these are spread over.")
        var workers = 4
        @Flag(name: .long, help: "Print JSON.")
        var json = false

        func validate() throws {
            if waiters < 1 || rounds < 1 || locks < 1 || workers < 1 {
                throw ValidationError("counts must be positive")
            }
        }

        func run() async throws {
            try await report {
                let directory = "\(Stack.defaultDirectory())-bench-\(ProcessInfo.processInfo.processIdentifier)"
                Progress.shared.show("starting PostgreSQL …")
                let database = try await PrivateDatabase.start(PrivateDatabase.Options(directory: directory))
                let figures: Result<LockFigures, any Error>
                do { figures = .success(try await measure(database.url)) } catch { figures = .failure(error) }
                try await database.stop()
                try FileManager.default.removeItem(atPath: directory)
                Progress.shared.clear()
                Terminal.print(json ? try Terminal.json(try figures.get()) : try figures.get().text)
            }
        }

        private func measure(_ url: String) async throws -> LockFigures {
            try await LockBench.with(url, workers: workers) { bench in
                Progress.shared.show("one lock, one after the other …")
                let idle = try await bench.idle(cycles: 500)
                Progress.shared.show("one lock, \(waiters) waiters …")
                let contention = try await bench.contend(waiters: waiters, rounds: rounds)
                Progress.shared.show("\(Terminal.grouped(locks)) locks …")
                let (taking, giving) = try await bench.hold(locks: locks)
                return LockFigures(
                    workers: workers, idleMillisecondsPerCycle: idle * 1_000, contention: contention, locks: locks,
                    locksTakenPerSecond: Double(locks) / taking, locksGivenBackPerSecond: Double(locks) / giving)
            }
        }
    }
}

/// What was measured.
struct LockFigures: Encodable, Sendable {
    struct Contention: Encodable, Sendable {
        let waiters, rounds: Int
        let seconds, handoversPerSecond: Double
        let waitMillisecondsMean, waitMillisecondsMax: Double
        /// How many others got the lock between somebody's asking and getting, at most; in a perfect line that is all
        /// others once.
        let othersServedBetweenMax: Int
        /// How often the one that got it least had had it when the first had had it for the last time.
        let roundsOfTheLastWhenTheFirstWasDone: Int
    }

    let workers: Int
    let idleMillisecondsPerCycle: Double
    let contention: Contention
    let locks: Int
    let locksTakenPerSecond, locksGivenBackPerSecond: Double

    var text: String {
        func milliseconds(_ value: Double) -> String { String(format: "%.1f ms", value) }
        func rate(_ value: Double) -> String { "\(Terminal.grouped(Int(value)))/s" }
        let rows: [[String]] = [
            ["one job alone, taking a lock and giving it back", milliseconds(idleMillisecondsPerCycle)],
            ["\(contention.waiters) waiters on one lock, handovers", rate(contention.handoversPerSecond)],
            ["  a wait, on average", milliseconds(contention.waitMillisecondsMean)],
            ["  a wait, at most", milliseconds(contention.waitMillisecondsMax)],
            ["  others served during one wait, at most", "\(contention.othersServedBetweenMax)"],
            [
                "  turns of the last when the first had had all",
                "\(contention.roundsOfTheLastWhenTheFirstWasDone) of \(contention.rounds)",
            ],
            ["\(Terminal.grouped(locks)) locks held at once, taking them", rate(locksTakenPerSecond)],
            ["  giving them back", rate(locksGivenBackPerSecond)],
        ]
        return Terminal.table(["locks, \(workers) workers", "measured"], rows)
    }
}

/// Workers without a broker, for their locks alone.
private struct LockBench: Sendable {
    private struct Member: Sendable {
        let keeper: LockKeeper
        let owner: WorkerEpoch

        func claimant(_ number: Int) -> LockClaimant {
            LockClaimant(job: JobIdentity(subsystem: "bench", key: "\(number)"), token: 1, owner: owner)
        }
    }

    private let members: [Member]
    private static let patience: Duration = .seconds(120)

    static func with<Value: Sendable>(
        _ url: String, workers: Int, _ body: (LockBench) async throws -> Value
    ) async throws -> Value {
        var configuration = FleetStore.keyed(try PostgresConfiguration(url: url))
        configuration.poolSize = 2
        let logger = Logger(label: "gaia bench") { StreamLogHandler.standardError(label: $0) }
        return try await withThrowingTaskGroup(of: Void.self) { group in
            var pools: [PostgresPool] = []
            var members: [Member] = []
            for number in 1...workers {
                let pool = PostgresPool(configuration: configuration, logger: logger)
                pools.append(pool)
                group.addTask { try await pool.run() }
                let store = FleetStore(pool: pool)
                if number == 1 { try await store.migrate() }
                let card = WorkerCard(
                    name: "bench-\(number)", host: "bench", processID: ProcessInfo.processInfo.processIdentifier,
                    subsystems: ["bench"], slots: 1)
                let owner = try await store.register(card, lease: .seconds(3_600))
                let keeper = LockKeeper(store: store, database: configuration, logger: logger)
                group.addTask { await keeper.run(worker: owner.worker) }
                members.append(Member(keeper: keeper, owner: owner))
            }
            let result: Result<Value, any Error>
            do { result = .success(try await body(LockBench(members: members))) } catch { result = .failure(error) }
            for member in members { member.keeper.end() }
            for pool in pools { await pool.close() }
            group.cancelAll()
            while let ended = await group.nextResult() { _ = ended }
            return try result.get()
        }
    }

    private func member(_ number: Int) -> Member { members[number % members.count] }

    /// - Returns: seconds for one lock taken and given back, nobody else asking.
    func idle(cycles: Int) async throws -> Double {
        let (keeper, claimant) = (member(0).keeper, member(0).claimant(0))
        let begin = ContinuousClock.now
        for _ in 0..<cycles {
            _ = try await keeper.acquire("idle", for: claimant, within: Self.patience)
            await keeper.release("idle", for: claimant)
        }
        return (ContinuousClock.now - begin).inSeconds / Double(cycles)
    }

    /// What is known of the contended lock outside of the database.
    private final class Witness: Sendable {
        let line: Mutex<Line>
        init(waiters: Int) { line = Mutex(Line(turns: [Int](repeating: 0, count: waiters))) }
    }

    private struct Line {
        var grants = 0
        var isHeld = false
        var turns: [Int]
        var leastWhenFirstWasDone: Int?
        var waited: Duration = .zero
        var waitedMax: Duration = .zero
        var betweenMax = 0
        var tokenMax: Int64 = 0
    }

    func contend(waiters: Int, rounds: Int) async throws -> LockFigures.Contention {
        let witness = Witness(waiters: waiters)
        let begin = ContinuousClock.now
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<waiters {
                group.addTask { try await take(number, rounds, witness) }
            }
            try await group.waitForAll()
        }
        let seconds = (ContinuousClock.now - begin).inSeconds
        let end = witness.line.withLock { $0 }
        return LockFigures.Contention(
            waiters: waiters, rounds: rounds, seconds: seconds, handoversPerSecond: Double(end.grants) / seconds,
            waitMillisecondsMean: end.waited.inSeconds * 1_000 / Double(end.grants),
            waitMillisecondsMax: end.waitedMax.inSeconds * 1_000, othersServedBetweenMax: end.betweenMax,
            roundsOfTheLastWhenTheFirstWasDone: end.leastWhenFirstWasDone ?? 0)
    }

    private func take(_ number: Int, _ rounds: Int, _ witness: Witness) async throws {
        let (keeper, claimant) = (member(number).keeper, member(number).claimant(number))
        for _ in 0..<rounds {
            let asked = ContinuousClock.now
            let before = witness.line.withLock { $0.grants }
            let token = try await keeper.acquire("contended", for: claimant, within: Self.patience)
            let isAlone = witness.line.withLock { line in
                let waited = ContinuousClock.now - asked
                line.waited += waited
                line.waitedMax = max(line.waitedMax, waited)
                line.betweenMax = max(line.betweenMax, line.grants - before)
                line.grants += 1
                line.turns[number] += 1
                if line.turns[number] == rounds, line.leastWhenFirstWasDone == nil {
                    line.leastWhenFirstWasDone = line.turns.min()
                }
                defer {
                    line.isHeld = true
                    line.tokenMax = token
                }
                return !line.isHeld && token > line.tokenMax
            }
            guard isAlone else { throw CommandFailure(.workFailed, "two had the lock at once, or a token fell") }
            witness.line.withLock { $0.isHeld = false }
            await keeper.release("contended", for: claimant)
        }
    }

    /// - Returns: seconds for taking all, and for giving all back.
    func hold(locks: Int) async throws -> (taking: Double, giving: Double) {
        let begin = ContinuousClock.now
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<locks {
                group.addTask {
                    _ = try await member(number).keeper.acquire(
                        "lock-\(number)", for: member(number).claimant(number), within: Self.patience)
                }
            }
            try await group.waitForAll()
        }
        let held = ContinuousClock.now
        await withDiscardingTaskGroup { group in
            for number in 0..<locks {
                group.addTask {
                    await member(number).keeper.release("lock-\(number)", for: member(number).claimant(number))
                }
            }
        }
        return ((held - begin).inSeconds, (ContinuousClock.now - held).inSeconds)
    }
}
