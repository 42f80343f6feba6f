import AMQPClient
import ArgumentParser
import FleetBroker
import FleetConfiguration
import FleetModel
import FleetService
import FleetStack
import FleetStore
import FleetWorker
import Foundation

extension BenchCommand {
    /// `gaia bench scale`
    struct Scale: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "No-op jobs per second by more and more workers, of more types, and with more in the ledger.",
            discussion: """
                Starts private servers and a dispatcher. For each number of workers, then for each number of types, and then
                for each number of finished jobs in the ledger, a backlog is worked off; two workers do the latter two. What
                grows in line with the work costs as much for a job at the end as at the beginning.
                """)

        @Option(name: .long, help: "How many jobs in each measurement.")
        var jobs = 150_000
        @Option(name: .long, parsing: .upToNextOption, help: "How many worker processes, one number after the other.")
        var workers = [1, 2, 4, 8]
        @Option(
            name: .long, parsing: .upToNextOption, help: "Of how many types the jobs are, one number after the other.")
        var types = [1, 1_000]
        @Option(
            name: .long, parsing: .upToNextOption,
            help: "How many finished jobs the ledger holds, one number after the other, each larger than the last.")
        var ledger = [1_000_000, 10_000_000]
        @OptionGroup var output: BenchOutput

        func validate() throws {
            if jobs < 1 || workers.contains(where: { $0 < 1 }) { throw ValidationError("counts must be positive") }
            if types.contains(where: { !(1...WorkerOfBench.typesMax).contains($0) }) {
                throw ValidationError("--types takes numbers up to \(WorkerOfBench.typesMax)")
            }
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
                        for count in types {
                            rows.append(try await measure(loaded, fleet, store, workers: 2, types: count))
                        }
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
            _ loaded: FleetConfiguration, _ fleet: Fleet, _ store: FleetStore, workers: Int, types: Int? = nil
        ) async throws -> ScaleFigures.Row {
            let size = try await store.ledgerSize().jobs
            let keys = "\(workers)-\(types ?? 0)-\(size)-"
            let names = (1...workers).map { "worker-\(keys)\($0)" }
            Progress.shared.show(
                "\(workers) workers, \(types ?? 1) types, \(Terminal.grouped(size)) jobs in the ledger …")
            let run = BenchRun(
                loaded, jobs: jobs, keyPrefix: keys,
                types: types.map { WorkerOfBench.types[..<$0].map(\.self) } ?? [NoopParameters.type])
            let measured = try await run.measure(afterPublishing: {
                for name in names { try fleet.start(types == nil ? "worker" : "bench worker", name: name) }
            })
            let processor = names.compactMap { fleet.processorSeconds(of: $0) }.reduce(0, +)
            let resident = names.compactMap { fleet.residentBytes(of: $0) }.max() ?? 0
            try await fleet.stop(names)
            return ScaleFigures.Row(
                workers: workers, types: types ?? 1, ledger: size, jobsPerSecond: measured.steadyPerSecond,
                processorMicroseconds: processor * 1e6 / Double(jobs), workerBytes: resident)
        }
    }
}

extension BenchCommand {
    /// `gaia bench worker`: one that knows no-op jobs under many names.
    struct WorkerOfBench: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "worker", shouldDisplay: false)

        @Option(name: .long)
        var name: String?

        static let typesMax = 1_000
        /// Names of one length: a short one is kept without memory of its own, and would be another thing to measure.
        static let types: [JobType] = (typesMax..<2 * typesMax).map { JobType(stringLiteral: "gaia.noop-n\($0).v1") }

        func run() async throws {
            try await report {
                let loaded = try FleetConfiguration(environment: ProcessInfo.processInfo.environment)
                let worker = Worker(
                    try WorkerConfiguration(loaded, name: name),
                    definitions: Self.types.map { NoopParameters.definition.renamed($0) }, logger: loaded.logger)
                try await serve([worker], logger: loaded.logger)
            }
        }
    }
}

/// What `gaia bench scale` measured.
private struct ScaleFigures: BenchFigures {
    struct Row: Encodable, Sendable {
        let workers, types: Int
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
            ["workers", "types", "jobs in the ledger", "jobs/s", "cpu/job", "largest worker"],
            rows.map {
                [
                    "\($0.workers)", "\($0.types)", Terminal.grouped($0.ledger),
                    Terminal.grouped(Int($0.jobsPerSecond)),
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
