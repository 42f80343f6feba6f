import AMQPClient
import ArgumentParser
import FleetBroker
import FleetConfiguration
import FleetModel
import FleetStack
import FleetStore

extension BenchCommand {
    /// `gaia bench scale`
    struct Scale: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "No-op jobs per second by more and more workers, and with more and more in the ledger.",
            discussion: """
                Starts private servers and a dispatcher. For each number of workers, and then for each number of finished
                jobs in the ledger, a backlog is worked off. What grows in line with the work costs as much for a job at the
                end as at the beginning.
                """)

        @Option(name: .long, help: "How many jobs in each measurement.")
        var jobs = 150_000
        @Option(name: .long, parsing: .upToNextOption, help: "How many worker processes, one number after the other.")
        var workers = [1, 2, 4, 8]
        @Option(
            name: .long, parsing: .upToNextOption,
            help: "How many finished jobs the ledger holds, one number after the other, each larger than the last.")
        var ledger = [1_000_000, 10_000_000]
        @OptionGroup var output: BenchOutput

        func validate() throws {
            if jobs < 1 || workers.contains(where: { $0 < 1 }) { throw ValidationError("counts must be positive") }
            if workers.isEmpty { throw ValidationError("--workers needs a number") }
            if ledger.first ?? 1 < 1 || zip(ledger, ledger.dropFirst()).contains(where: { $0 >= $1 }) {
                throw ValidationError("--ledger takes growing numbers")
            }
        }

        func run() async throws {
            try await output.report(title: "no-op jobs per second") {
                try await withBenchStack(settings: ["GAIA_WORKER_SLOTS_GAIA": "1000"]) { loaded, fleet, stack in
                    let rows = try await loaded.withStore("gaia bench") { store in
                        try await store.migrate()
                        try fleet.start("dispatcher", name: "dispatcher")
                        try await fleet.awaitReady(store, workers: 0, within: .seconds(60))
                        var rows: [ScaleFigures.Row] = []
                        for count in workers { rows.append(try await measure(loaded, fleet, store, workers: count)) }
                        for size in ledger {
                            let has = try await store.ledgerSize().jobs
                            try await store.fill(finished: size - has, after: has) {
                                Progress.shared.show(
                                    "\(Terminal.grouped($0)) of \(Terminal.grouped(size)) finished jobs")
                            }
                            rows.append(try await measure(loaded, fleet, store, workers: 2))
                        }
                        try await fleet.stop()
                        return rows
                    }
                    return (try await Machine.here(stack, loaded), ScaleFigures(jobs: jobs, rows: rows))
                }
            }
        }

        private func measure(
            _ loaded: FleetConfiguration, _ fleet: Fleet, _ store: FleetStore, workers: Int
        ) async throws -> ScaleFigures.Row {
            let size = try await store.ledgerSize().jobs
            let keys = "\(workers)-\(size)-"
            let names = (1...workers).map { "worker-\(size)-\(workers)-\($0)" }
            Progress.shared.show("\(workers) workers, \(Terminal.grouped(size)) jobs in the ledger …")
            let measured = try await BenchRun(loaded, jobs: jobs, keyPrefix: keys).measure(afterPublishing: {
                for name in names { try fleet.start("worker", name: name) }
            })
            let processor = names.compactMap { fleet.processorSeconds(of: $0) }.reduce(0, +)
            let resident = names.compactMap { fleet.residentBytes(of: $0) }.max() ?? 0
            try await fleet.stop(names)
            return ScaleFigures.Row(
                workers: workers, ledger: size, jobsPerSecond: measured.steadyPerSecond,
                processorMicroseconds: processor * 1e6 / Double(jobs), workerBytes: resident)
        }
    }
}

/// What `gaia bench scale` measured.
private struct ScaleFigures: BenchFigures {
    struct Row: Encodable, Sendable {
        let workers: Int
        /// Jobs that were there before.
        let ledger: Int
        let jobsPerSecond: Double
        /// Processor time of all workers together for a job, and the memory of the largest.
        let processorMicroseconds: Double
        let workerBytes: Int
    }

    let jobs: Int
    let rows: [Row]

    var text: String {
        Terminal.table(
            ["workers", "jobs in the ledger", "jobs/s", "cpu/job", "largest worker"],
            rows.map {
                [
                    "\($0.workers)", Terminal.grouped($0.ledger), Terminal.grouped(Int($0.jobsPerSecond)),
                    String(format: "%.1f µs", $0.processorMicroseconds), Terminal.megabytes($0.workerBytes),
                ]
            }) + "\n\(Terminal.grouped(jobs)) jobs each time, published before; cpu/job: processor time of all workers."
    }

    var axis: String { "measurement" }
    var panels: [Plot.Panel] {
        [
            Plot.Panel(
                title: "jobs a second",
                curves: [
                    Plot.Curve(name: "jobs/s", rounds: rows.map(\.jobsPerSecond))
                ])
        ]
    }
}
