import APISubsystem
import ArgumentParser
import CHTTPFloor
import FileLoad
import FleetModel
import Foundation
import ProcessLoad

extension BenchCommand {
    /// `gaia bench api`
    struct API: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "HTTP calls at once: in the pool, through the queue, and by plain sockets in C.",
            discussion: """
                Many calls at once to a server of this process that takes its time to answer. First the subsystem alone, in
                this process, beside a loop in C that writes and reads the same bytes; then as jobs through a broker, a
                ledger and worker processes.
                """)

        @Option(name: .long, help: "How many calls at once.")
        var calls = 1_000
        @Option(name: .long, help: "How long the server takes, in milliseconds.")
        var delay = 50
        @Option(name: .long, help: "How many rounds.")
        var rounds = 5
        @Option(name: .long, help: "How many worker processes.")
        var workers = 2
        @OptionGroup var output: BenchOutput

        func validate() throws {
            if calls < 1 || calls > 5_000 || delay < 0 || rounds < 1 || workers < 1 {
                throw ValidationError("--calls must be from 1 to 5000, the other counts positive")
            }
        }

        func run() async throws {
            try await output.report(title: "\(calls) HTTP calls at once") {
                var load = APILoad()
                (load.calls, load.delayMilliseconds, load.rounds) = (calls, delay, rounds + 1)
                Progress.shared.show("calls without a queue …")
                let alone = try await load.run()
                guard let server = gaia_delay_server_start(Int32(delay)) else {
                    throw CommandFailure(.inside, "a server could not be started: errno \(errno)")
                }
                defer { gaia_delay_server_stop(server) }
                let url = "http://127.0.0.1:\(gaia_delay_server_port(server))/"
                let settings = [
                    "GAIA_WORKER_SLOTS_API": "\(calls)", "GAIA_API_CONNECTIONS": "\(calls)",
                    "GAIA_API_CONNECTIONS_PER_HOST": "\(calls)", "GAIA_API_ALLOW": "127.0.0.1",
                ]
                let payload = Array(#"{"url":"\#(url)"}"#.utf8)
                let (machine, queued) = try await BurstRun.with(workers: workers, settings: settings) { run, _ in
                    try await run.rounds(rounds, "calls") { number in
                        (0..<calls).map {
                            Job(type: "api.request.v1", key: "call-\(number)-\($0)", payload: payload)
                        }
                    }
                }
                return (machine, figures(alone, queued, accepted: gaia_delay_server_accepted(server)))
            }
        }

        private func figures(
            _ alone: APILoad.Report, _ queued: [BurstRun.Round], accepted: Int
        ) -> LoadFigures {
            func row(_ what: String, _ rounds: [APILoad.Round], _ name: String, target: Double? = nil)
                -> LoadFigures.Row
            {
                .init(
                    "\(what), \(name)", "ms", rounds.filter { $0.name == name }.map { $0.seconds * 1_000 },
                    target: target)
            }
            var figures = LoadFigures()
            for name in ["new connections", "pooled connections"] {
                figures.rows.append(row("plain C", alone.floor, name))
                figures.rows.append(row("in the pool", alone.rounds, name, target: 250))
            }
            figures.notes.append(
                String(
                    format: "in the pool: %.3f %% succeeded, over %d connections; %@ more in memory.",
                    alone.successShare * 100, alone.connections, Terminal.megabytes(alone.residentBytes)))
            figures.add("\(calls) calls", queued, jobs: calls, workers: workers, target: 500)
            figures.notes.append(
                "The server takes \(delay) ms for each; it accepted \(accepted) connections from the workers in"
                    + " \(queued.count + 1) rounds.")
            return figures
        }
    }

    /// `gaia bench file`
    struct File: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Files: many small operations at once, and one large file; beside plain C.",
            discussion: """
                First one large file is copied, hashed and parsed in this process, and the peak of its memory taken; then
                many small operations at once; each beside the same system calls in C. Then small operations as jobs through
                a broker, a ledger and worker processes.
                """)

        @Option(name: .long, help: "How many small operations at once.")
        var operations = 500
        @Option(name: .long, help: "The size of the large file, in MiB; 0 leaves it out.")
        var large = 1_024
        @Option(name: .long, help: "How many rounds of the small operations.")
        var rounds = 7
        @Option(name: .long, help: "How many worker processes.")
        var workers = 2
        @Option(name: .long, help: "The directory in which files are made; three times the large one must have room.")
        var directory = "/var/tmp"
        @OptionGroup var output: BenchOutput

        func validate() throws {
            if operations < 1 || large < 0 || rounds < 1 || workers < 1 {
                throw ValidationError("counts must be positive")
            }
        }

        func run() async throws {
            try await output.report(title: "\(operations) file operations at once") {
                var figures = LoadFigures()
                if large > 0 {
                    Progress.shared.show("a file of \(large) MiB …")
                    let one = try await FileLoad.large(bytes: large << 20, in: directory)
                    for row in one.rows {
                        if let floor = row.floorSeconds {
                            figures.rows.append(.init("plain C: \(row.operation), \(large) MiB", "s", [floor]))
                        }
                        figures.rows.append(.init("\(row.operation), \(large) MiB", "s", [row.seconds]))
                    }
                    figures.rows.append(
                        .init(
                            "memory at the most, \(large) MiB", "MB", [Double(one.residentBytesPeak) / 1e6], target: 100
                        ))
                }
                Progress.shared.show("small operations without a queue …")
                let small = try await FileLoad.mixed(operations: operations, rounds: rounds, in: directory)
                figures.rows.append(.init("plain C: \(operations) operations", "ms", small.floorMilliseconds))
                figures.rows.append(
                    .init("handlers: \(operations) operations", "ms", small.milliseconds, target: 100))
                let files = try MixedFiles()
                let result = await Result {
                    try await BurstRun.with(
                        workers: workers,
                        settings: ["GAIA_WORKER_SLOTS_FILE": "\(operations)"].merging(files.settings) { $1 }
                    ) { run, _ in
                        try await run.rounds(rounds, "file operations") { number in
                            (0..<operations).map { Self.job($0, "\(number)-\($0)") }
                        }
                    }
                }
                try files.remove()
                let (machine, queued) = try result.get()
                figures.add("\(operations) operations", queued, jobs: operations, workers: workers)
                return (machine, figures)
            }
        }

        /// Mostly reading, every fourth one that waits for the disk.
        private static func job(_ number: Int, _ name: String) -> Job {
            let document = #""path":"bench:\#(MixedFiles.document)""#
            let (type, payload): (JobType, String) =
                switch number % 8 {
                case 0: ("file.write.v1", #"{"path":"bench:w-\#(name)","content":"job \#(number)"}"#)
                case 1: ("file.copy.v1", #"{"from":"bench:\#(MixedFiles.document)","to":"bench:c-\#(name)"}"#)
                case 2: ("file.hash.v1", "{\(document)}")
                case 3: ("file.list.v1", #"{"path":"bench:","limit":20}"#)
                case 4: ("file.stat.v1", "{\(document)}")
                default: ("file.read.v1", #"{\#(document),"length":4096}"#)
                }
            return Job(type: type, key: "file-\(name)", payload: Array(payload.utf8))
        }
    }

    /// `gaia bench process`
    struct Process: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Programs at once: by the handler, through the queue, and by posix_spawn in C.",
            discussion: """
                The handler sets limits, captures output, and sees to the end of the whole process tree. The loop in C does
                none of these.
                """)

        @Option(name: .long, help: "How many programs at once.")
        var processes = 200
        @Option(name: .long, help: "How many rounds.")
        var rounds = 5
        @Option(name: .long, help: "How many worker processes.")
        var workers = 2
        @OptionGroup var output: BenchOutput

        func validate() throws {
            if processes < 1 || rounds < 1 || workers < 1 { throw ValidationError("counts must be positive") }
        }

        func run() async throws {
            try await output.report(title: "\(processes) programs at once") {
                Progress.shared.show("programs without a queue …")
                let alone = try await ProcessLoad.concurrent(processes: processes, rounds: rounds)
                var figures = LoadFigures()
                figures.rows = [
                    .init("plain C: \(processes) programs", "ms", alone.floor.rounds),
                    .init("handler: \(processes) programs", "ms", alone.jobs.rounds, target: 300),
                ]
                let settings = [
                    "GAIA_WORKER_SLOTS_PROCESS": "\(processes)", "GAIA_PROCESS_EXECUTABLES": MixedKind.program,
                ]
                let (machine, queued) = try await BurstRun.with(workers: workers, settings: settings) { run, _ in
                    try await run.rounds(rounds, "programs") { number in
                        (0..<processes).map {
                            Job(
                                type: "process.run.v1", key: "program-\(number)-\($0)",
                                payload: Array(MixedKind.programPayload("\($0)").utf8))
                        }
                    }
                }
                figures.add("\(processes) programs", queued, jobs: processes, workers: workers, target: 300)
                return (machine, figures)
            }
        }
    }
}

extension Result where Failure == any Error {
    /// What an asynchronous body comes to.
    init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}
