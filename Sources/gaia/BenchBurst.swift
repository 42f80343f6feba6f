import AMQPClient
import FleetBroker
import FleetConfiguration
import FleetModel
import FleetStore
import Foundation

/// Jobs that are published all at once, so that as many as there are slots run at the same time: what a load test of a
/// subsystem asks for, here through the queue.
struct BurstRun: Sendable {
    /// What one went to.
    struct Round: Sendable {
        /// From the first publish to the last result.
        let milliseconds: Double
        /// The results of those that did not succeed.
        let failures: [String]
        /// Of the largest worker, after it.
        let workerBytes: Int
    }

    let configuration: FleetConfiguration
    let fleet: Fleet
    let workers: [String]

    /// Runs `body` beside a fleet of worker processes with these settings.
    static func with<Value: Sendable>(
        workers: Int, settings: [String: String],
        _ body: @escaping @Sendable (BurstRun, FleetStore) async throws -> Value
    ) async throws -> (Machine, Value) {
        try await withBenchStack(settings: settings) { loaded, fleet, stack in
            let value = try await loaded.withStore("gaia bench") { store in
                try await store.migrate()
                let names = (1...workers).map { "worker-\($0)" }
                try fleet.start("dispatcher", name: "dispatcher")
                for name in names { try fleet.start("worker", name: name) }
                try await fleet.awaitReady(store, workers: workers, within: .seconds(60))
                let value = try await body(BurstRun(configuration: loaded, fleet: fleet, workers: names), store)
                try await fleet.stop()
                return value
            }
            return (try await Machine.here(stack, loaded), value)
        }
    }

    /// Several rounds. One goes before that does not count: connections, caches and processes start in it.
    ///
    /// - Parameter jobs: those of the n-th round; no two of all rounds with one key.
    func rounds(_ count: Int, _ what: String, jobs: (Int) -> [Job]) async throws -> [Round] {
        var rounds: [Round] = []
        for number in 0...count {
            Progress.shared.show("\(what) through the queue: round \(number) of \(count) …")
            let round = try await run(jobs(number))
            if number > 0 { rounds.append(round) }
        }
        return rounds
    }

    /// Publishes them at once, and waits for the result of each.
    func run(_ jobs: [Job]) async throws -> Round {
        try await withBenchLinks(
            configuration, subsystems: Set(jobs.map(\.type.subsystem)).sorted()
        ) { results, producer in
            var open = Set(jobs.map(\.key))
            var failures: [String] = []
            let begin = ContinuousClock.now
            let outcomes = await producer.enqueue(jobs)
            if let refused = outcomes.first(where: { $0 != .queued }) {
                throw CommandFailure(.workFailed, "a job could not be published: \(refused)")
            }
            let life = Bell()
            async let _: Void = endStalled(results, life)
            for await batch in results.deliveries {
                life.ring()
                for delivery in batch {
                    guard let result = ResultID(delivery), open.remove(result.key) != nil else { continue }
                    if !result.hasSucceeded { failures.append(String(decoding: delivery.body, as: UTF8.self)) }
                }
                results.acknowledge(batch.map(\.tag))
                if open.isEmpty {
                    return Round(
                        milliseconds: (ContinuousClock.now - begin).inSeconds * 1_000, failures: failures,
                        workerBytes: workers.compactMap { fleet.residentBytes(of: $0) }.max() ?? 0)
                }
                if let name = fleet.ended() {
                    throw CommandFailure(.inside, "\(name) ended; its log: \(fleet.logFile(of: name))")
                }
            }
            throw CommandFailure(
                .inside,
                "\(open.count) of \(jobs.count) results did not come within \(benchStall) of the others, or the link ended"
            )
        }
    }
}

/// Figures of a subsystem's load test, each beside what the same work costs by plain means.
struct LoadFigures: BenchFigures {
    struct Row: Encodable, Sendable {
        let what: String
        let unit: String
        let rounds: [Double]
        /// What it is to be, if that is told.
        var target: Double?

        init(_ what: String, _ unit: String, _ rounds: [Double], target: Double? = nil) {
            (self.what, self.unit, self.rounds, self.target) = (what, unit, rounds, target)
        }

        fileprivate static func cell(_ value: Double) -> String {
            String(format: value < 10 ? "%.3f" : value < 1_000 ? "%.1f" : "%.0f", value)
        }
    }

    var rows: [Row] = []
    /// Sentences that belong to them.
    var notes: [String] = []

    /// What came through the queue.
    mutating func add(_ what: String, _ rounds: [BurstRun.Round], jobs: Int, workers: Int, target: Double? = nil) {
        rows.append(
            Row("through the queue: \(what), \(workers) workers", "ms", rounds.map(\.milliseconds), target: target))
        let failures = rounds.flatMap(\.failures)
        notes.append(
            "\(what): \(failures.count) of \(jobs * rounds.count) jobs failed; largest worker "
                + "\(Terminal.megabytes(rounds.map(\.workerBytes).max() ?? 0))."
                + (failures.first.map { " The first failure: \($0)" } ?? ""))
    }

    var text: String {
        Terminal.table(
            ["what", "unit", "least", "median", "most", "target"],
            rows.map { row in
                [
                    row.what, row.unit, Row.cell(row.rounds.min() ?? 0), Row.cell(median(row.rounds)),
                    Row.cell(row.rounds.max() ?? 0), row.target.map(Row.cell) ?? "",
                ]
            }) + "\n" + notes.joined(separator: "\n")
    }

    var axis: String { "round" }
    var panels: [Plot.Panel] {
        Dictionary(grouping: rows, by: \.unit).sorted { $0.key < $1.key }.map { unit, rows in
            Plot.Panel(title: unit, curves: rows.map { Plot.Curve(name: $0.what, rounds: $0.rounds) })
        }
    }
}
