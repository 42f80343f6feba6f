import ArgumentParser
import FleetConfiguration
import FleetStack
import FleetStore

extension BenchCommand {
    /// `gaia bench ledger`
    struct Ledger: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Throughput with a ledger full of finished jobs, beside that with none.",
            discussion: """
                Starts a private broker and two databases on one private PostgreSQL, one with nothing in its ledger, the other
                with finished jobs, half of them old enough to go. In each round the same backlog of no-op jobs is worked
                off with the one ledger and with the other, in turns, so that what else the machine does meets both. The
                time runs from the start of the worker processes to the last result; the dispatcher removes old jobs
                meanwhile.
                """)

        @Option(name: .long, help: "How many finished jobs the full ledger holds.")
        var finished = 10_000_000
        @Option(name: .long, help: "How many jobs in each round, for each of the two.")
        var jobs = 150_000
        @Option(name: .long, help: "How often.")
        var rounds = 5
        @Option(name: .long, help: "How many worker processes.")
        var workers = 2
        @Flag(name: .long, help: "Print JSON.")
        var json = false

        func validate() throws {
            if finished < 1 || jobs < 1 || rounds < 1 || workers < 1 {
                throw ValidationError("counts must be positive")
            }
        }

        func run() async throws {
            try await report {
                let settings = ["GAIA_WORKER_SLOTS_GAIA": "1000"]
                let figures = try await withBenchStack(settings: settings) { _, _, stack in
                    let environment = stack.environment.merging(settings) { $1 }
                    let logs = "\(stack.directory)/logs"
                    var empty = try await Side("none", environment, stack.database, logs: logs)
                    var full = try await Side("full", environment, stack.database, logs: logs)
                    let before = try await full.store { store in
                        try await store.fill(finished: finished) {
                            Progress.shared.show(
                                "\(Progress.bar($0, of: finished)) \(Terminal.grouped($0)) finished jobs")
                        }
                        return try await store.ledgerSize()
                    }
                    for round in 1...rounds {
                        // Whoever is second finds the broker warmer: each is as often first.
                        if round.isMultiple(of: 2) {
                            try await full.work(round, jobs: jobs, workers: workers)
                            try await empty.work(round, jobs: jobs, workers: workers)
                        } else {
                            try await empty.work(round, jobs: jobs, workers: workers)
                            try await full.work(round, jobs: jobs, workers: workers)
                        }
                    }
                    return LedgerFigures(
                        finished: finished, jobs: jobs, workers: workers, none: empty.rates, full: full.rates,
                        before: before, after: try await full.store { try await $0.ledgerSize() })
                }
                Terminal.print(json ? try Terminal.json(figures) : figures.text)
            }
        }
    }
}

/// One of the two databases, and what was measured with it.
private struct Side {
    private let name: String
    private let fleet: Fleet
    private(set) var rates: [Double] = []

    init(_ name: String, _ environment: [String: String], _ database: PrivateDatabase, logs: String) async throws {
        self.name = name
        let url = try await database.createDatabase("bench_\(name)")
        fleet = try Fleet(environment: environment.merging(["GAIA_DATABASE_URL": url]) { $1 }, logs: "\(logs)/\(name)")
        try await store { _ = try await $0.migrate() }
    }

    func store<Value: Sendable>(_ body: @Sendable (FleetStore) async throws -> Value) async throws -> Value {
        try await fleet.configuration().withStore("gaia bench", body)
    }

    /// Works a backlog off and notes how many jobs a second that were.
    mutating func work(_ round: Int, jobs: Int, workers: Int) async throws {
        let run = BenchRun(try fleet.configuration(), jobs: jobs, keyPrefix: "bench-\(round)-")
        // The names are new each time, or a log would tell of an earlier round's readiness.
        let names = (1...workers).map { "worker-\(round)-\($0)" }
        let dispatcher = "dispatcher-\(round)"
        // Declares what is published to.
        try fleet.start("dispatcher", name: dispatcher)
        try await fleet.awaitOutput(of: [dispatcher], containing: "serves")
        let measured = try await run.measure(afterPublishing: { [fleet] in
            for name in names { try fleet.start("worker", name: name) }
        })
        try await fleet.stop()
        let done = try await store { try await $0.countJobs(keyPrefix: run.keyPrefix) }
        guard done == jobs else {
            throw CommandFailure(.workFailed, "the ledger \(name) counts \(done) of \(jobs) jobs as done")
        }
        rates.append(measured.jobsPerSecond)
    }
}

/// What `gaia bench ledger` measured.
private struct LedgerFigures: Encodable, Sendable {
    let finished, jobs, workers: Int
    /// Jobs per second of each round.
    let none, full: [Double]
    /// Of the full ledger, before the first round and after the last.
    let before, after: LedgerSize

    var text: String {
        func row(_ name: String, _ rates: [Double]) -> [String] {
            [name] + spanCells(rates)
        }
        let ratios = zip(full, none).map { $0 / $1 }
        return Terminal.table(
            ["finished jobs in the ledger", "slowest", "median jobs/s", "fastest"],
            [row("none", none), row(Terminal.grouped(finished), full)])
            + "\n\nfull beside none, in each round: "
            + ratios.map { String(format: "%.2f", $0) }.joined(separator: ", ")
            + String(format: "; median %.2f", median(ratios))
            + "\n\n" + LedgerSize.table([("before", before), ("after", after)])
    }
}

extension LedgerSize {
    /// Sizes at some moments.
    static func table(_ sizes: [(moment: String, size: LedgerSize)]) -> String {
        Terminal.table(
            ["ledger", "jobs", "table", "index"],
            sizes.map {
                [
                    $0.moment, Terminal.grouped($0.size.jobs), Terminal.megabytes($0.size.tableBytes),
                    Terminal.megabytes($0.size.indexBytes),
                ]
            })
    }
}
