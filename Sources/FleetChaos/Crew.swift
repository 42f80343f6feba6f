import FleetStack
import FoundationEssentials
import Glibc
import Synchronization

/// How a run's processes are started.
public struct ChaosProgram: Sendable {
    /// The `gaia` executable.
    public var executable: String
    /// Of a worker that knows the run's jobs, without its name.
    public var worker: [String]
    /// Of a dispatcher, without its name.
    public var dispatcher: [String]

    /// The library that shows a process another time; nil when it has not been built.
    var clockLibrary: String? {
        let directory = executable.lastIndex(of: "/").map { String(executable[..<$0]) } ?? "."
        let path = "\(directory)/libClockShift.so"
        return FileManager.default.fileExists(atPath: path) ? path : nil
    }

    public init(executable: String, worker: [String], dispatcher: [String]) {
        self.executable = executable
        self.worker = worker
        self.dispatcher = dispatcher
    }
}

/// A place for one process of the fleet after another: as a supervisor does, it starts the next when one has ended, on
/// links of its own to broker and database.
final class Seat: Sendable {
    /// How a process came to its end.
    struct End: Sendable {
        let at: Duration
        let process: String
        let status: ChildProcess.ExitStatus
        /// Whether the harness had told it to end.
        let wasTold: Bool
    }

    /// What the next process is to be started with.
    struct Conditions: Sendable {
        var environment: [String: String] = [:]
        /// Where its log goes; to the seat's own file when nil.
        var log: String?
    }

    private struct State {
        var child: ChildProcess?
        var generation = 0
        var told = false
        var isClosing = false
        var conditions = Conditions()
        var ends: [End] = []
    }

    let name: String
    let brokerLinks: [FaultyLink]
    let databaseLink: FaultyLink
    private let executable: String
    private let arguments: [String]
    private let environment: [String: String]
    private let logFile: String
    private let clock: RunClock
    private let state = Mutex(State())

    /// How long a supervisor takes to notice.
    private static let respawn: Duration = .milliseconds(300)

    init(
        _ name: String, executable: String, arguments: [String], environment: [String: String], brokerPorts: [Int],
        databasePort: Int, brokerURL: ([Int]) -> String, databaseURL: (Int) -> String, logs: String, clock: RunClock
    ) async throws {
        self.name = name
        self.executable = executable
        self.arguments = arguments
        self.clock = clock
        var links: [FaultyLink] = []
        for port in brokerPorts { links.append(try await FaultyLink.start(to: port)) }
        brokerLinks = links
        databaseLink = try await FaultyLink.start(to: databasePort)
        self.environment = environment.merging([
            "GAIA_AMQP_URL": brokerURL(links.map(\.port)), "GAIA_DATABASE_URL": databaseURL(databaseLink.port),
        ]) { $1 }
        logFile = "\(logs)/\(name).log"
    }

    /// The present process, by the name under which it is in the ledger.
    var process: String { state.withLock { processName($0.generation) } }
    func processName(_ generation: Int) -> String { "\(name).\(generation)" }
    var processID: Int32? { state.withLock { $0.child.flatMap { $0.isRunning ? $0.processID : nil } } }
    var ends: [End] { state.withLock { $0.ends } }

    /// Keeps a process running until told to close.
    func run() async throws {
        while true {
            let child = try state.withLock { state -> ChildProcess? in
                guard !state.isClosing else { return nil }
                state.generation += 1
                state.told = false
                let child = try ChildProcess.start(
                    executable: executable, arguments: arguments + ["--name", "\(name).\(state.generation)"],
                    environment: environment.merging(state.conditions.environment) { $1 },
                    output: .file(state.conditions.log ?? logFile))
                state.child = child
                return child
            }
            guard let child else { return }
            let status = await child.exitStatus()
            state.withLock { state in
                state.ends.append(
                    End(
                        at: clock.now, process: "\(name).\(state.generation)", status: status,
                        wasTold: state.told || state.isClosing))
            }
            if state.withLock({ $0.isClosing }) { return }
            try await Task.sleep(for: Self.respawn)
        }
    }

    /// Signals the present process, or the next, where the present one is gone: a poisonous job may just have killed it.
    ///
    /// - Returns: how many processes there have been, this one included.
    @discardableResult
    func signal(_ number: Int32, isEnd: Bool = false) async throws -> Int {
        let present = try await present(isEnd: isEnd)
        try present.child.signal(number)
        return present.generation
    }

    /// Lets the present process stand still; another, when a poisonous job has ended it in the same moment.
    ///
    /// - Returns: how many processes there have been, this one included.
    func pause() async throws -> Int {
        while true {
            let present = try await present()
            if try await present.child.pause() { return present.generation }
        }
    }

    private func present(isEnd: Bool = false) async throws -> (child: ChildProcess, generation: Int) {
        var found: (child: ChildProcess, generation: Int)?
        try await chaosEventually("\(name) to run", within: .seconds(60), every: .milliseconds(5)) {
            found = state.withLock { state in
                guard let child = state.child, child.isRunning else { return nil }
                if isEnd { state.told = true }
                return (child, state.generation)
            }
            return found != nil
        }
        guard let found else { throw ChaosError("\(name) does not run") }
        return found
    }

    /// Starts the next process under other conditions, after the present one has drained.
    func set(_ conditions: Conditions) async throws {
        state.withLock { $0.conditions = conditions }
        let generation = try await signal(SIGTERM, isEnd: true)
        try await chaosEventually("\(name) to start anew", within: .seconds(60)) {
            state.withLock { $0.generation > generation && $0.child?.isRunning == true }
        }
    }

    /// Ends the process in order and lets no other start.
    ///
    /// - Returns: how it ended; nil when none ran.
    func close(grace: Duration) async throws -> ChildProcess.ExitStatus? {
        let child = state.withLock { state in
            state.isClosing = true
            return state.child
        }
        guard let child, child.isRunning else { return nil }
        try child.signal(SIGCONT)
        return try await child.stop(grace: grace)
    }

    func closeLinks() async throws {
        for link in brokerLinks + [databaseLink] { try await link.close() }
    }
}

/// The harness itself could not do what it was to do; a run that ends so has shown nothing.
public struct ChaosError: Error, CustomStringConvertible, Sendable {
    public let description: String
    init(_ description: String) { self.description = description }
}

/// Asks again until it is so.
func chaosEventually(
    _ what: String, within limit: Duration, every pause: Duration = .milliseconds(50),
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw ChaosError("waited \(limit) for \(what)") }
        try await Task.sleep(for: pause)
    }
}
