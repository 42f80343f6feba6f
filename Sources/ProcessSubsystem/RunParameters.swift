import FleetModel
import FoundationEssentials
import ProcessKeeper
import RootedFiles

/// What `process.run.v1` and `process.run-once.v1` take.
public struct RunParameters: JobParameters {
    public static let type: JobType = "process.run.v1"
    /// The same for a program whose effect must not be repeated.
    public static let onceType: JobType = "process.run-once.v1"

    /// Less than the worker allows; more is cut to that.
    public struct Limits: Codable, Sendable, Hashable {
        /// Resident memory of all processes of the job.
        public var memoryBytes: Int?
        /// Of each process.
        public var cpuSeconds: Int?
        public var fileBytes: Int?
        public var openFiles: Int?
        /// Of the job at once.
        public var processes: Int?

        enum CodingKeys: String, CodingKey {
            case processes
            case memoryBytes = "memory_bytes"
            case cpuSeconds = "cpu_seconds"
            case fileBytes = "file_bytes"
            case openFiles = "open_files"
        }

        var all: [Int] { [memoryBytes, cpuSeconds, fileBytes, openFiles, processes].compactMap(\.self) }
    }

    /// An absolute path that `process.executables` lists.
    public var executable: String
    /// Without the program's own name.
    public var arguments: [String]?
    /// Variables that `process.variables` lists; others are `PATH`, `LANG` and the job's key, attempt and token.
    public var environment: [String: String]?
    /// A directory beneath a root, as `data:work`; the root directory when absent.
    public var directory: String?
    /// Standard input; empty when both are absent.
    public var stdin: String?
    public var stdinBase64: String?
    /// Until SIGTERM; 60,000 when absent.
    public var timeoutMilliseconds: Int?
    /// From SIGTERM to SIGKILL; 5,000 when absent.
    public var graceMilliseconds: Int?
    /// Bytes kept of each of the two outputs; as many as the worker keeps when absent.
    public var outputBytes: Int?
    /// Files beneath a root, as `data:report.csv`, that all of an output goes into instead. They get their names when the
    /// program has ended as expected, and are gone otherwise.
    public var stdoutFile: String?
    public var stderrFile: String?
    public var limits: Limits?
    /// Exit statuses that mean success; 0 when absent.
    public var expectedExit: [Int32]?
    /// Exit statuses after which the job is tried again; none when absent.
    public var retryExit: [Int32]?

    enum CodingKeys: String, CodingKey {
        case executable, arguments, environment, directory, stdin, limits
        case stdinBase64 = "stdin_base64"
        case timeoutMilliseconds = "timeout_ms"
        case graceMilliseconds = "grace_ms"
        case outputBytes = "output_bytes"
        case stdoutFile = "stdout_file"
        case stderrFile = "stderr_file"
        case expectedExit = "expected_exit"
        case retryExit = "retry_exit"
    }

    public static let timeoutMillisecondsDefault = 60_000
    public static let graceMillisecondsDefault = 5_000
    static let millisecondsMax = 86_400_000
    static let argumentsMax = 1_000

    public static let schema = JSONSchema.object(
        [
            "executable": .string(description: "an absolute path that process.executables lists"),
            "arguments": .array(of: .string(), description: "without the program's own name; at most \(argumentsMax)"),
            "environment": .map(of: .string(), description: "variables that process.variables lists"),
            "directory": .string(description: "where it runs: a directory beneath a root, as data:work"),
            "stdin": .string(description: "standard input, as text"),
            "stdin_base64": .string(description: "standard input, as bytes in Base64"),
            "timeout_ms": .integer(
                description: "until SIGTERM; \(timeoutMillisecondsDefault) when absent", min: 1, max: millisecondsMax),
            "grace_ms": .integer(
                description: "from SIGTERM to SIGKILL; \(graceMillisecondsDefault) when absent", min: 0,
                max: millisecondsMax),
            "output_bytes": .integer(description: "bytes kept of each of the two outputs", min: 0),
            "stdout_file": .string(
                description: "a file beneath a root, as data:report.csv, that takes standard output"),
            "stderr_file": .string(description: "the same for standard error"),
            "limits": .object(
                [
                    "memory_bytes": .integer(description: "resident memory of all its processes", min: 1),
                    "cpu_seconds": .integer(description: "processor time of each process", min: 1),
                    "file_bytes": .integer(description: "the largest file written", min: 1),
                    "open_files": .integer(description: "descriptors of each process", min: 1),
                    "processes": .integer(description: "processes at once", min: 1),
                ], description: "less than the worker allows; more is cut to that"),
            "expected_exit": .array(
                of: .integer(min: 0, max: 255), description: "exit statuses that mean success; 0 when absent"),
            "retry_exit": .array(
                of: .integer(min: 0, max: 255), description: "exit statuses after which the job is tried again"),
        ], required: ["executable"])

    public init(_ executable: String, _ arguments: [String] = []) {
        self.executable = executable
        self.arguments = arguments
    }

    public func validate() throws(InvalidParameters) {
        guard executable.hasPrefix("/") else {
            throw InvalidParameters("'executable' must be an absolute path, it is '\(executable.prefix(80))'")
        }
        let texts = (arguments ?? []) + (environment ?? [:]).map { "\($0)=\($1)" }
        if (arguments ?? []).count > Self.argumentsMax {
            throw InvalidParameters("'arguments' has \(arguments?.count ?? 0) members, at most \(Self.argumentsMax)")
        }
        for text in [executable] + texts {
            if text.utf8.contains(0) {
                throw InvalidParameters("an argument or variable holds U+0000, which no program can be given")
            }
            if text.utf8.count > ProcessCommand.textBytesMax {
                throw InvalidParameters(
                    "an argument or variable has \(text.utf8.count) bytes, at most \(ProcessCommand.textBytesMax); "
                        + "hand large data over by 'stdin'")
            }
        }
        if let name = environment?.keys.first(where: { $0.isEmpty || $0.contains("=") }) {
            throw InvalidParameters("'\(name.prefix(80))' is no name of a variable")
        }
        if stdin != nil && stdinBase64 != nil {
            throw InvalidParameters("'stdin' and 'stdin_base64' are both given; leave one out")
        }
        if let stdinBase64, Data(base64Encoded: stdinBase64) == nil {
            throw InvalidParameters("'stdin_base64' is no Base64")
        }
        for (name, value, least) in [
            ("timeout_ms", timeoutMilliseconds, 1), ("grace_ms", graceMilliseconds, 0),
        ] {
            if let value, !(least...Self.millisecondsMax).contains(value) {
                throw InvalidParameters("'\(name)' must be from \(least) to \(Self.millisecondsMax)")
            }
        }
        var files: [RootedPath] = []
        for (name, path) in [("stdout_file", stdoutFile), ("stderr_file", stderrFile)] {
            guard let path else { continue }
            do throws(FileError) { files.append(try RootedPath(path)) } catch {
                throw InvalidParameters("'\(name)': \(error)")
            }
        }
        if files.count == 2 && files[0] == files[1] {
            throw InvalidParameters("'stdout_file' and 'stderr_file' are one file; name two")
        }
        if let outputBytes, outputBytes < 0 { throw InvalidParameters("'output_bytes' must not be negative") }
        if limits?.all.contains(where: { $0 < 1 }) == true { throw InvalidParameters("'limits' must be positive") }
        for (name, statuses) in [("expected_exit", expectedExit), ("retry_exit", retryExit)] {
            if let statuses, statuses.isEmpty || !statuses.allSatisfy({ (0...255).contains($0) }) {
                throw InvalidParameters("'\(name)' must list exit statuses from 0 to 255")
            }
        }
    }

    var input: [UInt8]? {
        if let stdin { return Array(stdin.utf8) }
        return stdinBase64.flatMap { Data(base64Encoded: $0) }.map(Array.init)
    }
}
