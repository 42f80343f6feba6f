import FleetStack
import Foundation
import Synchronization
import TestPatience

/// The built executables, as processes of their own.
public enum Program {
    /// `gaia`: named by `GAIA_TEST_BINARY`, or beside the test bundle.
    public static var gaia: String { get throws { try path("gaia", variable: "GAIA_TEST_BINARY") } }

    /// An executable of this package.
    public static func path(_ name: String, variable: String? = nil) throws -> String {
        if let variable, let path = ProcessInfo.processInfo.environment[variable] { return path }
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let path = "\(directory(of: own))/\(name)"
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw StackError(.startFailed, "There is no \(path): build it, or name it in \(variable ?? "the test").")
        }
        return path
    }

    /// The package's root directory.
    public static let root = directory(of: directory(of: directory(of: #filePath)))

    private static func directory(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    }

    /// Starts a program with its output captured.
    ///
    /// - Parameter environment: its settings; of the test's own environment only what is not the fleet's is passed on.
    public static func start(
        _ executable: String, _ arguments: [String], environment: [String: String] = [:]
    ) throws -> ChildProcess {
        var clean = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("GAIA_") }
        clean.merge(environment) { $1 }
        return try ChildProcess.start(
            executable: executable, arguments: arguments, environment: clean, output: .capture)
    }

    /// Runs a program to its end.
    ///
    /// - Throws: ``NotInTime`` when it does not end; it is killed then.
    public static func run(
        _ executable: String, _ arguments: [String], environment: [String: String] = [:],
        within limit: Duration = .seconds(60)
    ) async throws -> (status: ChildProcess.ExitStatus, output: String) {
        let child = try start(executable, arguments, environment: environment)
        guard let status = await child.exitStatus(within: limit) else {
            try child.signal(SIGKILL)
            throw NotInTime("\(executable) \(arguments) did not end within \(limit): \(child.capturedOutput)")
        }
        return (status, child.capturedOutput)
    }
}

/// Processes of one test: those that still run at its end are killed.
public final class ProgramGroup: Sendable {
    private let children = Mutex<[ChildProcess]>([])
    private let environment: [String: String]

    /// - Parameter environment: settings of each process.
    public static func use<Value>(
        environment: [String: String], isolation: isolated (any Actor)? = #isolation,
        _ body: (ProgramGroup) async throws -> Value
    ) async throws -> Value {
        let group = ProgramGroup(environment: environment)
        let result: Result<Value, any Error>
        do { result = .success(try await body(group)) } catch { result = .failure(error) }
        for child in group.children.withLock({ $0 }) {
            try child.signal(SIGKILL)
            _ = await child.exitStatus()
        }
        return try result.get()
    }

    private init(environment: [String: String]) { self.environment = environment }

    /// Starts `gaia worker` or `gaia dispatcher`, without waiting for it.
    public func start(
        _ command: String, _ name: String, _ settings: [String: String] = [:]
    ) throws -> ChildProcess {
        let child = try Program.start(
            try Program.gaia, [command, "--name", name], environment: environment.merging(settings) { $1 })
        children.withLock { $0.append(child) }
        return child
    }

    /// The same, and waits until it serves.
    public func serve(
        _ command: String, _ name: String, _ settings: [String: String] = [:]
    ) async throws -> ChildProcess {
        let child = try start(command, name, settings)
        guard try await child.awaitOutput(containing: "\(name) serves", within: .seconds(60)) else {
            throw NotInTime("\(command) \(name) did not come to serve: \(child.capturedOutput)")
        }
        return child
    }
}
