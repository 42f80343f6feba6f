import FileSubsystem
import FleetModel
import Foundation
import RootedFiles

/// # FileLoad
///
/// How fast file jobs are, and what they take, beside the same system calls in plain C in the same run. Handlers run as a
/// worker runs them, without a queue.
///
/// ```
///  FileLoad.large(bytes:in:)       one file of a gigabyte: copied, hashed, parsed; peak of resident memory
///  FileLoad.mixed(operations:in:)  many small operations at once
/// ```
///
/// The peak is the process's: for a figure of the subsystem alone run `large` in a process that has done nothing else.
public enum FileLoad {
    /// A subsystem with one root, for a measurement.
    struct Bench: Sendable {
        let subsystem: FileSubsystem
        let directory: String
        private let definitions: [String: JobDefinition]

        init(_ directory: String, _ settings: FileSettings) throws {
            var settings = settings
            settings.roots = [try FileRoot(name: "bench", directory: directory)]
            self.directory = directory
            subsystem = try FileSubsystem(settings)
            definitions = Dictionary(uniqueKeysWithValues: subsystem.definitions.map { ($0.type.name, $0) })
        }

        /// Reads a job's payload and runs it.
        func run<Parameters: JobParameters>(_ parameters: Parameters, key: String) async throws {
            guard let definition = definitions[Parameters.type.name] else {
                preconditionFailure("the subsystem has no type \(Parameters.type)")
            }
            let payload = Array(try JSONEncoder().encode(parameters))
            let context = JobContext(
                type: Parameters.type, key: key, attempt: 1, token: 1, subject: nil, traceparent: nil)
            _ = try await definition.prepare(payload)(context)
        }
    }

    /// Runs `body` in a directory of its own beneath `parent`, which is removed afterwards.
    static func withDirectory<Value>(
        in parent: String, _ body: (String) async throws -> Value
    ) async throws -> Value {
        let directory = "\(parent)/gaia-files-\(ProcessInfo.processInfo.processIdentifier)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let result: Result<Value, any Error>
        do { result = .success(try await body(directory)) } catch { result = .failure(error) }
        try FileManager.default.removeItem(atPath: directory)
        return try result.get()
    }

    static func seconds(_ body: () async throws -> Void) async rethrows -> Double {
        let begin = ContinuousClock.now
        try await body()
        return (ContinuousClock.now - begin) / .seconds(1)
    }

    /// What a call into plain C took.
    ///
    /// - Throws: when it failed.
    static func seconds(floor nanoseconds: Int64) throws -> Double {
        guard nanoseconds >= 0 else {
            throw FileError(.system, "floor", "the C loop failed: \(String(cString: strerror(errno)))")
        }
        return Double(nanoseconds) / 1e9
    }
}

/// The process's memory, as Linux counts it.
public enum ResidentMemory {
    /// The peak since the start, or since ``resetPeak()``, in bytes.
    public static func peakBytes() throws -> Int { try read("VmHWM") }
    public static func bytes() throws -> Int { try read("VmRSS") }

    /// Lets the peak begin anew.
    public static func resetPeak() throws {
        try Data("5".utf8).write(to: URL(filePath: "/proc/self/clear_refs"))
    }

    private static func read(_ name: String) throws -> Int {
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let line = status.split(separator: "\n").first { $0.hasPrefix(name + ":") }
        guard let kibibytes = line?.split(separator: " ").dropFirst().first(where: { !$0.isEmpty }).flatMap({ Int($0) })
        else { throw FileError(.system, "/proc/self/status", "has no \(name)") }
        return kibibytes << 10
    }
}
