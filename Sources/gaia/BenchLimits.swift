import ArgumentParser
import FleetConfiguration
import FleetModel
import FleetStore
import Foundation

extension BenchCommand {
    /// `gaia bench limits`
    struct Limits: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "How exactly a rate holds for the fleet, and what it costs.",
            discussion: """
                Starts private servers, a dispatcher and worker processes. First no-op jobs that use one unit each of a limit,
                more than it lets through; half way one worker is killed. Counted by the ledger's times of their ends. Then
                no-op jobs without a limit and with one that is never reached, in turns, by the same processes.
                """)

        @Option(name: .long, help: "How many worker processes.")
        var workers = 4
        @Option(name: .long, parsing: .upToNextOption, help: "Units a second, one after the other.")
        var rates = [10, 100, 1_000]
        @Option(name: .long, help: "For how many seconds each.")
        var seconds = 24
        @Option(name: .long, help: "How many jobs in each turn of the second part; 0 leaves it out.")
        var jobs = 60_000
        @Option(name: .long, help: "How many turns of each kind.")
        var rounds = 5
        @OptionGroup var output: BenchOutput

        /// Over which time a rate is counted, in seconds.
        private static let window = 10

        func validate() throws {
            if workers < 2 || rounds < 1 || jobs < 0 || rates.contains(where: { $0 < 1 }) {
                throw ValidationError("--workers must be 2 at least, --rates and --rounds positive")
            }
            if seconds < 2 * Self.window + 4 {
                throw ValidationError("--seconds must be \(2 * Self.window + 4) at least")
            }
        }

        func run() async throws {
            try await output.report(title: "limits of the fleet") {
                try await withBenchStack(settings: ["GAIA_WORKER_SLOTS_GAIA": "1000"]) { loaded, fleet, stack in
                    let figures = try await loaded.withStore("gaia bench") { store in
                        try await store.migrate()
                        try fleet.start("dispatcher", name: "dispatcher")
                        var held: [LimitFigures.Held] = []
                        for rate in rates { held.append(try await hold(rate, loaded, fleet, store)) }
                        return LimitFigures(
                            workers: workers, held: held,
                            cost: jobs == 0 ? nil : try await cost(loaded, fleet, store))
                    }
                    try await fleet.stop()
                    return (try await Machine.here(stack, loaded), figures)
                }
            }
        }

        private func names(_ what: String) -> [String] { (1...workers).map { "\(what)-\($0)" } }

        private func start(_ names: [String], _ fleet: Fleet, _ store: FleetStore) async throws {
            for name in names { try fleet.start("worker", name: name) }
            try await fleet.awaitReady(store, workers: names.count, within: .seconds(60))
        }

        /// Uses a rate as fast as it may be used, and kills a worker half way.
        private func hold(
            _ rate: Int, _ loaded: FleetConfiguration, _ fleet: Fleet, _ store: FleetStore
        ) async throws -> LimitFigures.Held {
            let name = "bench-\(rate)"
            try await store.setLimit(name, rate: Double(rate))
            let names = names(name)
            try await start(names, fleet, store)
            // More than are let through in the time.
            let run = BenchRun(
                loaded, jobs: rate * seconds * 5 / 4 + 50, keyPrefix: "\(name)-", payload: "{\"limit\": \"\(name)\"}")
            _ = try await run.publishAll(batch: 250, lanes: 1)
            for second in 1...seconds {
                Progress.shared.show("\(rate) a second: \(second) of \(seconds) s …")
                try await Task.sleep(for: .seconds(1))
                if second == seconds / 2 { try await fleet.killAndWait(names[0]) }
            }
            let ends = try await store.endsOfJobs(keyPrefix: run.keyPrefix)
            _ = try await store.removeLimit(name)
            try await fleet.stop(Array(names.dropFirst()))
            let counts = Self.counts(ends, within: Double(Self.window), upTo: Double(seconds) - 1)
            return LimitFigures.Held(
                rate: rate, windowSeconds: Self.window, least: counts.min() ?? 0, most: counts.max() ?? 0)
        }

        /// How many lie in each stretch of this length, every tenth of a second, from a second after the first.
        private static func counts(_ ends: [Double], within length: Double, upTo end: Double) -> [Int] {
            guard let first = ends.first else { return [] }
            return stride(from: first + 1, through: first + end - length, by: 0.1).map { begin in
                ends.count { $0 >= begin && $0 < begin + length }
            }
        }

        /// The same jobs without a limit and with one that is never reached.
        private func cost(
            _ loaded: FleetConfiguration, _ fleet: Fleet, _ store: FleetStore
        ) async throws -> LimitFigures.Cost {
            try await store.setLimit("bench-free", rate: 1e9)
            let names = names("cost")
            try await start(names, fleet, store)
            var (without, with): ([Double], [Double]) = ([], [])
            for round in 0...rounds {
                for isLimited in round.isMultiple(of: 2) ? [false, true] : [true, false] {
                    Progress.shared.show(
                        "what it costs: round \(round) of \(rounds), \(isLimited ? "with" : "without") …")
                    let run = BenchRun(
                        loaded, jobs: jobs, keyPrefix: "cost-\(round)-\(isLimited)-",
                        payload: isLimited ? #"{"limit": "bench-free"}"# : "{}")
                    let rate = try await run.measure(afterPublishing: nil).jobsPerSecond
                    // The first is for the processes to get warm.
                    if round == 0 { continue }
                    if isLimited { with.append(rate) } else { without.append(rate) }
                }
            }
            try await fleet.stop(names)
            return LimitFigures.Cost(jobs: jobs, withoutPerSecond: without, withPerSecond: with)
        }
    }
}

/// What was measured.
struct LimitFigures: BenchFigures {
    struct Held: Encodable, Sendable {
        let rate, windowSeconds: Int
        /// Of all stretches of that length.
        let least, most: Int

        func part(_ count: Int) -> Double { Double(count) / Double(rate * windowSeconds) - 1 }
    }

    struct Cost: Encodable, Sendable {
        let jobs: Int
        let withoutPerSecond, withPerSecond: [Double]
        var part: Double { 1 - median(withPerSecond) / median(withoutPerSecond) }
    }

    let workers: Int
    let held: [Held]
    let cost: Cost?

    var text: String {
        func percent(_ part: Double) -> String { String(format: "%+.1f %%", part * 100) }
        var text = Terminal.table(
            ["units/s", "in \(held.first?.windowSeconds ?? 0) s, least", "most", "deviation, least", "most"],
            held.map {
                [
                    Terminal.grouped($0.rate), Terminal.grouped($0.least), Terminal.grouped($0.most),
                    percent($0.part($0.least)), percent($0.part($0.most)),
                ]
            })
        text += "\n\(workers) workers, one of them killed half way.\n"
        if let cost {
            text +=
                "\n"
                + Terminal.table(
                    ["no-op jobs/s", "slowest", "median", "fastest"],
                    [
                        ["without a limit"] + spanCells(cost.withoutPerSecond),
                        ["with one, never reached"] + spanCells(cost.withPerSecond),
                    ])
                + "\nThe limit costs \(String(format: "%.1f %%", cost.part * 100)) of the median."
        }
        return text
    }

    var axis: String { "round" }
    var panels: [Plot.Panel] {
        guard let cost else { return [] }
        return [
            Plot.Panel(
                title: "no-op jobs a second",
                curves: [
                    Plot.Curve(name: "without a limit", rounds: cost.withoutPerSecond),
                    Plot.Curve(name: "with one", rounds: cost.withPerSecond),
                ])
        ]
    }
}
