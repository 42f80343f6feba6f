import AMQPClient
import FleetBroker
import FleetConfiguration
import FleetModel
import FleetStack
import FleetStore
import Foundation
import PostgresClient
import Synchronization

/// Worker and dispatcher processes of this program's own, for the demo and the benchmark.
final class Fleet: Sendable {
    private let running = Mutex<[String: ChildProcess]>([:])
    private let environment: [String: String]
    let logs: String

    /// - Parameters:
    ///   - environment: where broker and database are, and settings for the processes.
    ///   - logs: the directory for their logs.
    init(environment: [String: String], logs: String) throws {
        // Settings of the caller's own surroundings must not change what is shown or measured.
        var clean = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("GAIA_") }
        clean.merge(environment) { $1 }
        self.environment = clean
        self.logs = logs
        try FileManager.default.createDirectory(atPath: logs, withIntermediateDirectories: true)
    }

    /// The settings of its processes.
    func configuration() throws -> FleetConfiguration {
        try FleetConfiguration(environment: environment.merging(["GAIA_LOG_LEVEL": "warning"]) { $1 })
    }

    private var processes: [String: ChildProcess] { running.withLock { $0 } }

    func logFile(of name: String) -> String { "\(logs)/\(name).log" }

    /// - Parameter command: with its subcommand, if it has one, after a blank.
    func start(_ command: String, name: String) throws {
        // The very file that runs now, also when it was called by a relative path; not one that has been deleted since.
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let process = try ChildProcess.start(
            executable: program, arguments: command.split(separator: " ").map(String.init) + ["--name", name],
            environment: environment,
            output: .file(logFile(of: name)))
        running.withLock { $0[name] = process }
    }

    /// SIGKILL: the process gets no chance to say good-bye.
    func kill(_ name: String) throws { try processes[name]?.signal(SIGKILL) }

    /// SIGKILL, and waits until the process is gone.
    func killAndWait(_ name: String) async throws {
        guard let process = running.withLock({ $0.removeValue(forKey: name) }) else {
            throw CommandFailure(.inside, "there is no process \(name)")
        }
        try process.signal(SIGKILL)
        _ = await process.exitStatus()
    }

    /// Waits until each of these has said `text` in its log.
    func awaitOutput(of names: [String], containing text: String, within limit: Duration = .seconds(60)) async throws {
        let deadline = ContinuousClock.now + limit
        for name in names {
            while try !String(contentsOfFile: logFile(of: name), encoding: .utf8).contains(text) {
                guard ContinuousClock.now < deadline else {
                    throw CommandFailure(
                        .inside, "\(name) did not come to say '\(text)'; its log: \(logFile(of: name))")
                }
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    /// The first process that has ended though nobody stopped it.
    func ended(except expected: Set<String> = []) -> String? {
        processes.first { !expected.contains($0.key) && !$0.value.isRunning }?.key
    }

    /// SIGTERM to all, or to those with these names, and waits for them.
    func stop(_ names: [String]? = nil) async throws {
        let all = running.withLock { running in
            (names ?? Array(running.keys)).compactMap { running.removeValue(forKey: $0) }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for process in all { group.addTask { _ = try await process.stop(grace: .seconds(40)) } }
            try await group.waitForAll()
        }
    }

    /// Resident memory of a process in bytes.
    func processID(of name: String) -> pid_t? { processes[name]?.processID }

    func residentBytes(of name: String) -> Int? {
        guard let process = processes[name], process.isRunning,
            let text = try? String(contentsOfFile: "/proc/\(process.processID)/status", encoding: .utf8),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix("VmRSS:") }),
            let kilobytes = Int(line.split(separator: " ").dropFirst().first.map(String.init) ?? "")
        else { return nil }
        return kilobytes * 1_024
    }

    /// Processor time that a process has used, in user and kernel mode.
    func processorSeconds(of name: String) -> Double? {
        guard let process = processes[name], process.isRunning,
            let text = try? String(contentsOfFile: "/proc/\(process.processID)/stat", encoding: .utf8),
            // The name before it may hold anything.
            let rest = text.split(separator: ")").last?.split(separator: " "), rest.count > 12,
            let user = Double(rest[11]), let system = Double(rest[12])
        else { return nil }
        return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// Waits until this many workers are live and a dispatcher leads.
    func awaitReady(_ store: FleetStore, workers: Int, within limit: Duration) async throws {
        let deadline = ContinuousClock.now + limit
        while true {
            let live = try await store.workers().filter { $0.state == "live" }.count
            if live >= workers, try await store.leader()?.leads == true { return }
            if let name = ended() {
                throw CommandFailure(.inside, "\(name) ended at its start; its log: \(logFile(of: name))")
            }
            guard ContinuousClock.now < deadline else {
                throw CommandFailure(.inside, "the fleet was not ready within \(limit); see the logs in \(logs)")
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }
}
