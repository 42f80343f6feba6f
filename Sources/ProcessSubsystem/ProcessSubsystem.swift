import FleetModel
import Glibc
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
///                                                               └──▶ RunVerdict ──▶ RunOutput, or JobFailure `process.…`
/// ```
///
/// A job is delivered at least once, and so a program may be started again after its worker died. It is told the job's key,
/// attempt and token (`GAIA_JOB_KEY`, `GAIA_JOB_ATTEMPT`, `GAIA_JOB_TOKEN`), by which it can make its effect bear that.
/// One that cannot is run by `process.run-once.v1`: cut off half way, its job is set aside for an operator.
public struct ProcessSubsystem: Subsystem {
    private let settings: ProcessSettings
    private let keeper = ProcessKeeper()
    private let executables: [String: ExecutableFile]
    private let account: Account?
    private let roots: FileRoots
    private let threads: FileThreads
    private let results: ResultFiles?
    private let metrics: ProcessMetrics

    /// - Parameters:
    ///   - roots: the directories in which programs may run, and into which their output may go.
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
        do throws(FileError) {
            results =
                roots.roots.contains(where: \.isWritable)
                ? try ResultFiles(roots: roots, threads: threads, bytesMax: Int64(settings.fileBytesMax)) : nil
        } catch {
            throw ProcessSettingsError("output cannot go into files: \(error)")
        }
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
            definition("a program, with limits; its output and exit status are the output", isRepeatable: true),
            definition("a program that must not be run again when it was cut off half way", isRepeatable: false)
                .renamed(RunParameters.onceType),
        ]
    }

    private func definition(_ summary: String, isRepeatable: Bool) -> JobDefinition {
        JobDefinition(
            RunParameters.self, summary: summary, timeout: settings.timeoutMax + settings.graceMax + .seconds(30),
            isRepeatable: isRepeatable
        ) { (parameters: RunParameters, context: JobContext) -> RunOutput in
            try await run(parameters, context, RunVerdict(parameters, isRepeatable: isRepeatable))
        }
    }

    /// Kills what runs, and returns when no process is left.
    public func close() async { await keeper.close() }

    private func run(
        _ parameters: RunParameters, _ context: JobContext, _ verdict: RunVerdict
    ) async throws -> RunOutput {
        var command = try await command(parameters, context)
        let stdout = try await sink(parameters.stdoutFile, context)
        let stderr = try await sink(parameters.stderrFile, context)
        if let stdout { command.output = .stream { try await stdout.write($0) } }
        if let stderr { command.error = .stream { try await stderr.write($0) } }
        return try await metrics.measuring {
            let end: ProcessEnd
            do { end = try await keeper.run(command) } catch let error as ProcessError {
                throw verdict.failure(error)
            } catch let error as FileError {
                throw JobFailure(error)
            }
            metrics.ended(end)
            if end.cause == .cancelled { throw CancellationError() }
            if let failure = verdict.failure(end) { throw failure }
            return RunOutput(
                end, stdoutFile: try await finished(stdout, context), stderrFile: try await finished(stderr, context))
        }
    }

    /// Nil when none is asked for. One that is let go without being finished leaves nothing behind.
    private func sink(_ path: String?, _ context: JobContext) async throws -> FileSink? {
        guard let path else { return nil }
        guard let results else {
            throw JobFailure(
                .permanent, code: "file.unknown-root",
                message: "output can go into no file: file.roots names no directory that may be written")
        }
        do {
            return try await results.sink(
                type: context.type.name, key: context.key, token: context.token, at: try RootedPath(path))
        } catch let error as FileError {
            throw JobFailure(error)
        }
    }

    private func finished(_ sink: FileSink?, _ context: JobContext) async throws -> FileReference? {
        guard let sink else { return nil }
        do {
            return try await sink.finish { try await context.confirmClaim() }
        } catch let error as FileError {
            throw JobFailure(error)
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
            throw JobFailure(error)
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
        case .system(let code): "the system says: \(String(cString: strerror(code)))"
        }
    }
}
