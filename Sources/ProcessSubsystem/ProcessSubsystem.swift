import FleetModel
import Metrics
import ProcessKeeper
import RootedFiles

/// # ProcessSubsystem
///
/// Programs as jobs: parameters and a handler over ``ProcessKeeper``, which ends whole trees of processes, also when this
/// worker is killed. Queues, claims and retries are the worker's.
///
/// ```
///  process.run.v1 ──▶ RunParameters ──allow-list, limits──▶ ProcessKeeper ──▶ program
///                                          └─ exit not as expected ──▶ JobFailure `process.…`
/// ```
///
/// A job is delivered at least once, and so a program may be started again after its worker died. It is told the job's key,
/// attempt and token (`GAIA_JOB_KEY`, `GAIA_JOB_ATTEMPT`, `GAIA_JOB_TOKEN`), by which it can make its effect bear that.
public struct ProcessSubsystem: Subsystem {
    private let settings: ProcessSettings
    private let keeper = ProcessKeeper()
    private let executables: [String: ExecutableFile]
    private let account: Account?
    private let roots: FileRoots
    private let threads: FileThreads
    private let metrics: ProcessMetrics

    /// - Parameters:
    ///   - roots: the directories in which programs may run.
    ///   - threads: where directories are opened; the caller's to close, after ``close()``.
    ///   - factory: where counts go.
    /// - Throws: ``ProcessSettingsError`` for an executable that may not be run, or a user that is none.
    public init(
        _ settings: ProcessSettings, roots: FileRoots, threads: FileThreads,
        metrics factory: any MetricsFactory = MetricsSystem.factory
    ) throws(ProcessSettingsError) {
        self.settings = settings
        self.roots = roots
        self.threads = threads
        metrics = ProcessMetrics(factory)
        var executables: [String: ExecutableFile] = [:]
        for path in settings.executables {
            do throws(ExecutableFile.Flaw) { executables[path] = try ExecutableFile(path: path) } catch {
                throw ProcessSettingsError("\(path) cannot be run: \(error.words)")
            }
        }
        self.executables = executables
        guard let user = settings.user, Account.canChange else {
            account = nil
            return
        }
        account = Account(name: user)
        if account == nil { throw ProcessSettingsError("there is no user '\(user)' to run programs as") }
    }

    /// The kinds of job that this subsystem runs.
    public var definitions: [JobDefinition] {
        [
            JobDefinition(
                RunParameters.self, summary: "a program, with limits; its output and exit status are the output",
                timeout: settings.timeoutMax + settings.graceMax + .seconds(10)
            ) { (parameters: RunParameters, context: JobContext) -> RunOutput in
                try await run(parameters, context)
            }
        ]
    }

    /// Kills what runs, and returns when no process is left.
    public func close() async { await keeper.close() }

    private func run(_ parameters: RunParameters, _ context: JobContext) async throws -> RunOutput {
        let command = try await command(parameters, context)
        return try await metrics.measuring {
            let end: ProcessEnd
            do { end = try await keeper.run(command) } catch let error as ProcessError { throw JobFailure(error) }
            metrics.ended(end)
            if end.cause == .cancelled { throw CancellationError() }
            try parameters.check(end)
            return RunOutput(end)
        }
    }

    private func command(_ parameters: RunParameters, _ context: JobContext) async throws -> ProcessCommand {
        guard let executable = executables[parameters.executable] else {
            throw JobFailure(
                .permanent, code: "process.not-allowed",
                message: "'\(parameters.executable.prefix(200))' may not be run; process.executables lists what may")
        }
        var environment = [
            "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "GAIA_JOB_KEY": context.key,
            "GAIA_JOB_ATTEMPT": "\(context.attempt)", "GAIA_JOB_TOKEN": "\(context.token)",
        ]
        for (name, value) in parameters.environment ?? [:] {
            guard settings.variables.contains(name) else {
                throw JobFailure(
                    .permanent, code: "process.variable",
                    message: "the variable '\(name.prefix(100))' may not be set; process.variables lists which may")
            }
            environment[name] = value
        }
        let outputBytes = min(parameters.outputBytes ?? settings.outputBytesMax, settings.outputBytesMax)
        return ProcessCommand(
            executable, parameters.arguments ?? [], environment: environment,
            directory: try await directory(parameters.directory), input: parameters.input,
            output: .capture(bytesMax: outputBytes), error: .capture(bytesMax: outputBytes),
            timeout: min(
                .milliseconds(parameters.timeoutMilliseconds ?? RunParameters.timeoutMillisecondsDefault),
                settings.timeoutMax),
            grace: min(
                .milliseconds(parameters.graceMilliseconds ?? RunParameters.graceMillisecondsDefault),
                settings.graceMax),
            limits: settings.limits(parameters.limits), account: account, niceness: settings.niceness,
            memoryPressureScore: 500)
    }

    private func directory(_ path: String?) async throws -> OpenDirectory? {
        guard let path else { return nil }
        do {
            return try await threads.run { [roots] in
                OpenDirectory(adopting: try roots.directory(try RootedPath(path)).duplicate())
            }
        } catch let error as FileError {
            throw JobFailure(.permanent, code: "process.directory", message: "\(error)")
        }
    }
}

/// A setting that keeps the subsystem from starting.
public struct ProcessSettingsError: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String
    init(_ description: String) { self.description = description }
}

extension ExecutableFile.Flaw {
    fileprivate var words: String {
        switch self {
        case .missing: "there is no such file"
        case .notRegular: "it is no regular file"
        case .notExecutable: "nobody may execute it"
        case .writableByOthers: "others than its owner may change it; take that right away (chmod go-w)"
        case .system(let code): "error \(code)"
        }
    }
}

extension JobFailure {
    /// A program that did not run, or of which nobody knows how it ended.
    fileprivate init(_ error: ProcessError) {
        switch error.reason {
        case .cancelled: self.init(CancellationError())
        case .exhausted:
            self.init(.throttled(retryAfter: .seconds(1)), code: "process.exhausted", message: error.description)
        case .notStarted: self.init(.permanent, code: "process.not-started", message: error.description)
        case .closed, .lost, .unkillable: self.init(.transient, code: "process.lost", message: error.description)
        }
    }
}
