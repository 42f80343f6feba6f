import AMQPClient
import ArgumentParser
import FleetBroker
import FleetConfiguration
import FleetModel
import FleetStack
import FleetStore
import Foundation

extension BenchCommand {
    /// `gaia bench peers`
    struct Peers: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "No-op jobs per second beside other systems, in one run on this machine.",
            discussion: """
                Starts private servers and works the same number of no-op jobs off with workers of this program and with
                those peers that are installed, one after the other, in each round. All is published before; the time runs
                from the first twentieth to the last, so that nobody's start counts. Each peer is set so that it loses no job
                when a worker ends in order, and otherwise as it comes; what it keeps stands in its row. With --tuned those
                that can be made faster for jobs that do nothing are measured so, too: hundreds of jobs in the hands of one
                process, and a process that can do nothing beside a job.

                The peers' programs are in Benchmarks/peers. './gaia bench peers' installs what they need.
                """)

        @Option(name: .long, help: "How many jobs of each, in each round.")
        var jobs = 100_000
        @Option(name: .long, help: "How often each is measured.")
        var rounds = 3
        @Option(name: .long, help: "How many worker processes each has.")
        var processes = 2
        @Option(name: .long, help: "Which, by commas.")
        var only = Self.all.joined(separator: ",")
        @Option(name: .long, help: ArgumentHelp("A Python that has the peers' packages.", valueName: "file"))
        var python = "python3"
        @Option(name: .long, help: ArgumentHelp("Where the peers' programs are.", valueName: "directory"))
        var scripts = "Benchmarks/peers"
        @Flag(name: .long, help: "Measure them once more as they are fastest with jobs that do nothing.")
        var tuned = false
        @OptionGroup var output: BenchOutput

        static let all = ["sidekiq", "dramatiq", "taskiq", "celery", "procrastinate"]
        /// What was tried made no difference for the others.
        private static let tunable: Set<String> = ["dramatiq", "taskiq", "celery", "procrastinate"]

        private var names: [String] { only.split(separator: ",").map(String.init) }

        /// What is measured beside gaia.
        private var peers: [(name: String, isTuned: Bool)] {
            names.flatMap { name in
                tuned && Self.tunable.contains(name) ? [(name, false), (name, true)] : [(name, false)]
            }
        }

        func validate() throws {
            if jobs < 1 || rounds < 1 || processes < 1 { throw ValidationError("counts must be positive") }
            for name in names where !Self.all.contains(name) {
                throw ValidationError(
                    "--only: there is no peer '\(name)', there are \(Self.all.joined(separator: ", "))")
            }
        }

        func run() async throws {
            let program = "\(scripts)/peers.py"
            try await output.report(title: "no-op jobs per second, \(processes) processes each") {
                guard FileManager.default.isReadableFile(atPath: program) else {
                    throw CommandFailure(
                        .usage, "there is no \(program): run this in the project's directory, or name it with --scripts"
                    )
                }
                return try await withBenchStack(settings: ["GAIA_WORKER_SLOTS_GAIA": "1000"]) { loaded, fleet, stack in
                    _ = try await loaded.withStore("gaia bench") { try await $0.migrate() }
                    try await AMQPSession.withConnection(try loaded.amqp("gaia bench")) {
                        try await $0.declare(FleetBroker.topology(subsystems: [NoopParameters.type.subsystem]))
                    }
                    var rows: [String: PeerRow] = [:]
                    for round in 1...rounds {
                        Progress.shared.show("round \(round) of \(rounds): gaia …")
                        rows.add(try await own(loaded, fleet, round))
                        for peer in peers {
                            let title = Self.title(peer)
                            Progress.shared.show("round \(round) of \(rounds): \(title) …")
                            rows.add(try await measure(peer, title, program, stack))
                        }
                    }
                    return (
                        try await Machine.here(stack, loaded),
                        PeerFigures(
                            jobs: jobs, processes: processes,
                            rows: (["gaia"] + peers.map(Self.title)).compactMap { rows[$0] })
                    )
                }
            }
        }

        private func own(_ loaded: FleetConfiguration, _ fleet: Fleet, _ round: Int) async throws -> PeerRow {
            let run = BenchRun(loaded, jobs: jobs, keyPrefix: "peers-\(round)-")
            let measured = try await run.measure(afterPublishing: {
                try fleet.start("dispatcher", name: "dispatcher-\(round)")
                for number in 1...processes { try fleet.start("worker", name: "worker-\(round)-\(number)") }
            })
            try await fleet.stop()
            return PeerRow(
                peer: "gaia", version: FleetModel.version, broker: "RabbitMQ, quorum queue; PostgreSQL",
                settings: "\(processes) processes, 1,000 slots each",
                keeps: "every confirmed job, each once: synchronous commits, results kept and confirmed",
                rates: [measured.steadyPerSecond], trouble: nil)
        }

        private static func title(_ peer: (name: String, isTuned: Bool)) -> String {
            peer.isTuned ? "\(peer.name), tuned" : peer.name
        }

        private func measure(
            _ peer: (name: String, isTuned: Bool), _ title: String, _ program: String, _ stack: Stack
        ) async throws -> PeerRow {
            let child = try ChildProcess.start(
                executable: python,
                arguments: [
                    program, peer.name, "--jobs", "\(jobs)", "--processes", "\(processes)", "--directory",
                    "\(stack.directory)/peers", "--amqp-url", stack.environment["GAIA_AMQP_URL"] ?? "",
                    "--database-url",
                    stack.environment["GAIA_DATABASE_URL"] ?? "",
                ] + (peer.isTuned ? ["--tuned"] : []), output: .capture)
            let status = await child.exitStatus()
            let lines = child.capturedOutput.split(separator: "\n")
            guard status.isSuccess, let line = lines.last(where: { $0.hasPrefix("{") }) else {
                // One that is not installed leaves its row empty; the others are measured all the same.
                return PeerRow(peer: title, trouble: lines.last.map(String.init) ?? "\(status)")
            }
            struct Line: Decodable {
                let version, broker, settings, keeps: String
                let jobsPerSecond: Double
            }
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            let measured = try decoder.decode(Line.self, from: Data(line.utf8))
            return PeerRow(
                peer: title, version: measured.version, broker: measured.broker, settings: measured.settings,
                keeps: measured.keeps, rates: [measured.jobsPerSecond], trouble: nil)
        }
    }
}

/// One system, and its jobs per second in each round.
private struct PeerRow: Encodable, Sendable {
    let peer: String
    var version = ""
    var broker = ""
    var settings = ""
    /// What it does not lose, and what it does not do twice.
    var keeps = ""
    var rates: [Double] = []
    /// Why there is no figure.
    var trouble: String?
}

extension [String: PeerRow] {
    fileprivate mutating func add(_ row: PeerRow) {
        var row = row
        row.rates = (self[row.peer]?.rates ?? []) + row.rates
        row.trouble = row.trouble ?? self[row.peer]?.trouble
        self[row.peer] = row
    }
}

/// What `gaia bench peers` measured.
private struct PeerFigures: BenchFigures {
    let jobs, processes: Int
    let rows: [PeerRow]

    var text: String {
        let own = rows.first?.rates ?? []
        return Terminal.table(
            ["system", "version", "slowest", "median jobs/s", "fastest", "gaia is faster by"],
            rows.map { row in
                let ratio = zip(own, row.rates).map { $0 / $1 }
                return [row.peer, row.version]
                    + (row.rates.isEmpty ? ["", "not measured", ""] : spanCells(row.rates)) + [
                        row.peer == "gaia" || ratio.isEmpty ? "" : String(format: "%.1f ×", median(ratio))
                    ]
            })
            + "\n\n"
            + rows.map { row in
                "\(row.peer): " + (row.trouble ?? "\(row.broker); \(row.settings); keeps \(row.keeps)")
            }.joined(separator: "\n")
    }

    var axis: String { "round" }
    var panels: [Plot.Panel] {
        [
            Plot.Panel(
                title: "no-op jobs a second",
                curves: rows.map { row in
                    Plot.Curve(name: row.peer, rounds: row.rates)
                })
        ]
    }
}
