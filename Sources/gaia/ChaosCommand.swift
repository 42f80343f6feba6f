import ArgumentParser
import FleetChaos
import FleetConfiguration
import FleetModel
import FleetService
import FleetStack
import FleetWorker
import Foundation

/// `gaia chaos`
struct ChaosCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chaos",
        abstract: "Break a fleet of real processes in every way there is, and count what came of it.",
        subcommands: [Run.self, Plan.self, Soak.self, WorkerOfChaos.self], defaultSubcommand: Run.self)

    /// Who runs, and the seed: of runs in peace as well as under fire.
    struct Crew: ParsableArguments {
        @Option(name: .long, help: "Everything that is drawn is drawn from it.")
        var seed: UInt64 = 1
        @Option(name: .long, help: "How many workers.")
        var workers = 4
        @Option(name: .long, help: "How many dispatchers.")
        var dispatchers = 3

        func validate() throws {
            if workers < 2 || dispatchers < 1 {
                throw ValidationError("it takes two workers and a dispatcher at least")
            }
        }

        func options() -> ChaosOptions {
            var options = ChaosOptions()
            options.seed = seed
            options.workers = workers
            options.dispatchers = dispatchers
            return options
        }
    }

    /// What is done to them.
    struct Choice: ParsableArguments {
        @OptionGroup var crew: Crew
        @Option(name: .long, help: "How many jobs.")
        var jobs = 4_000
        @Option(name: .long, help: "How often each fault comes: the first time alone, then mixed with others.")
        var injections = 1
        @Option(name: .long, help: "How many nodes the broker has; from three on it can lose one.")
        var nodes = 1
        @Option(name: .long, help: ArgumentHelp("Only these faults, by commas.", valueName: "faults"))
        var only: String?
        @Option(name: .long, help: ArgumentHelp("All but these faults, by commas.", valueName: "faults"))
        var without: String?
        @Option(name: .long, help: "How long faults last: brisk or full.")
        var pace = "brisk"
        @Flag(name: .long, help: "Mix faults from the first on.")
        var mixed = false

        func validate() throws {
            if jobs < 10 || injections < 1 { throw ValidationError("it takes 10 jobs and one injection at least") }
            if ![1, 3, 5, 7].contains(nodes) { throw ValidationError("--nodes is 1, 3, 5 or 7") }
            if ChaosOptions.Pace(rawValue: pace) == nil { throw ValidationError("--pace is brisk or full") }
            if try options().possibleFaults.isEmpty {
                throw ValidationError("a broker of \(nodes) node(s) can suffer none of these faults")
            }
        }

        func options() throws -> ChaosOptions {
            var options = crew.options()
            options.jobs = jobs
            options.injections = injections
            options.nodes = nodes
            options.pace = ChaosOptions.Pace(rawValue: pace) ?? .brisk
            options.isEachFirstAlone = !mixed
            if let only { options.faults = try Self.faults(only) }
            if let without {
                let left = Set(try Self.faults(without))
                options.faults.removeAll { left.contains($0) }
            }
            return options
        }

        private static func faults(_ text: String) throws -> [Fault] {
            try text.split(separator: ",").map { name in
                guard let fault = Fault(rawValue: String(name)) else {
                    throw ValidationError(
                        "there is no fault '\(name)'; there are "
                            + Fault.allCases.map(\.rawValue).joined(separator: ", "))
                }
                return fault
            }
        }
    }

    /// `gaia chaos run`
    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run the fleet under fire.",
            discussion: """
                Starts private servers, workers and dispatchers as processes of their own, gives them jobs of several kinds, and
                meanwhile does to them what the schedule says, which is drawn from the seed. A target outside of the fleet
                counts effects; triggers in the database write every step of every job down. At the end all of it is held
                against what the fleet promises.

                The first Ctrl-C or SIGTERM ends the strikes; what was done until then is judged. The second ends at once.

                Exit status 1 when a promise was broken: the seed, the promise and the way of the jobs concerned are printed. A
                fault that cannot be brought about ends the run with status 70.
                """)

        @OptionGroup var choice: Choice
        @Flag(name: .long, help: "Print what was seen of each strike.")
        var verbose = false
        @Flag(name: .long, help: "Leave the logs.")
        var keep = false

        func run() async throws {
            try await report {
                let options = try choice.options()
                if options.possibleFaults.contains(.nodePartition), !PrivateNetwork.isEntered {
                    try await PrivateNetwork.enter(
                        executable: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"),
                        arguments: Array(CommandLine.arguments.dropFirst()))
                }
                Terminal.error(
                    "seed \(options.seed): \(Terminal.grouped(options.jobs)) jobs, \(options.workers) workers, "
                        + "\(options.dispatchers) dispatchers, \(options.nodes) broker node(s), "
                        + "\(ChaosPlan(options).strikes.count) strikes")
                let result = try await ChaosCommand.perform(options, keep: keep)
                Terminal.print(result.text(verbose: verbose))
                if let failure = result.failure { throw failure }
                if !result.violations.isEmpty { throw ExitCode(FailureStatus.workFailed.rawValue) }
            }
        }
    }

    /// `gaia chaos plan`
    struct Plan: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the schedule of faults that a seed gives; the same seed gives the same one.")

        @OptionGroup var choice: Choice

        func run() async throws {
            try await report { Terminal.print(ChaosPlan(try choice.options()).text) }
        }
    }

    /// `gaia chaos worker`: the worker of a run, which knows its jobs.
    struct WorkerOfChaos: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "worker", shouldDisplay: false)

        @Option(name: .long)
        var name: String?

        func run() async throws {
            try await report {
                guard let target = ProcessInfo.processInfo.environment["GAIA_CHAOS_TARGET"] else {
                    throw CommandFailure(.usage, "this command is for 'gaia chaos run' alone")
                }
                let loaded = try FleetConfiguration(environment: ProcessInfo.processInfo.environment)
                let subsystem = ChaosSubsystem(target: target)
                let worker = Worker(
                    try WorkerConfiguration(loaded, name: name), definitions: subsystem.definitions,
                    logger: loaded.logger)
                let result: Result<Void, any Error>
                do { result = .success(try await serve([worker], logger: loaded.logger)) } catch {
                    result = .failure(error)
                }
                await subsystem.close()
                try result.get()
            }
        }
    }
}

extension ChaosCommand {
    /// Runs it in a directory of its own, which is left when a promise was broken, or when it is to be kept.
    static func perform(_ options: ChaosOptions, keep: Bool) async throws -> ChaosReport {
        let directory = "\(Stack.defaultDirectory())-chaos-\(ProcessInfo.processInfo.processIdentifier)"
        let program = ChaosProgram(
            executable: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"),
            worker: ["chaos", "worker"], dispatcher: ["dispatcher"])
        let result: ChaosReport
        do {
            let (halt, asking) = AsyncStream.makeStream(of: Never.self)
            result = try await onSignal("no further strike; another signal ends at once") {
                asking.finish()
            } during: {
                try await ChaosRun(options, program: program, directory: directory, halt: halt) {
                    Progress.shared.show($0)
                }.perform()
            }
        } catch {
            Progress.shared.clear()
            Terminal.error("the logs so far: \(directory)/logs")
            throw error
        }
        Progress.shared.clear()
        if result.violations.isEmpty, result.failure == nil, !keep {
            try FileManager.default.removeItem(atPath: directory)
        } else {
            Terminal.error("the logs: \(directory)/logs")
        }
        return result
    }
}

extension ChaosReport {
    func text(verbose: Bool) -> String {
        var parts: [String] = []
        if verbose { parts.append(strikes.joined(separator: "\n")) }
        if !injections.isEmpty {
            parts.append(
                Terminal.table(
                    ["fault", "injections"], injections.map { [$0.fault.rawValue, Terminal.grouped($0.count)] }))
        }
        parts.append(Terminal.table(["count", "number"], counts.map { [$0.name, Terminal.grouped($0.value)] }))
        if !rescueSeconds.isEmpty {
            let spread = Spread(rescueSeconds.map { .milliseconds(Int($0 * 1_000)) })
            parts.append("from the kill of a worker to its jobs' next claim:\n" + spread.text)
        }
        if violations.isEmpty {
            parts.append("\(Self.invariants) promises held: nothing lost, nothing twice.")
        } else {
            let lines = violations.map { violation in
                "BROKEN  \(violation.invariant): \(violation.text)"
                    + (violation.keys.isEmpty ? "" : "\n        " + violation.keys.joined(separator: ", "))
            }
            parts.append((["seed \(seed)"] + lines).joined(separator: "\n"))
            if !timelines.isEmpty { parts.append(timelines.joined(separator: "\n\n")) }
        }
        return parts.joined(separator: "\n\n")
    }
}
