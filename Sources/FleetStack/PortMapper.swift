import Glibc

/// Erlang's port mapper (epmd), run in the foreground for one broker or one cluster alone. By it nodes find each other's
/// ports, so those of a cluster share one.
struct PortMapper: Sendable {
    static let name = "port mapper"

    let port: UInt16
    let package: BrokerPackage
    let account: Account?
    let processes: ServerProcesses
    let detached: Bool

    var isAlive: Bool { processes.isAlive(Self.name) }

    private var log: String { processes.directory.file("output.log") }

    /// Starts it unless it runs; it serves when this returns.
    func start() async throws {
        guard !isAlive else { return }
        let child = try processes.start(
            Self.name,
            ChildDescription(
                executable: package.epmd,
                // Without -daemon it stays in the foreground.
                arguments: ["-address", "127.0.0.1", "-port", "\(port)"],
                environment: Command.plainEnvironment,
                directory: processes.directory.path,
                ownSession: true,
                parentDeathSignal: detached ? 0 : SIGKILL,
                account: account
            ),
            log: log
        )
        let serves: Bool? = try await polling(within: .seconds(20)) {
            guard child.isRunning else { return false }
            return try await offPool { Probe.accepts(port, limit: .seconds(1)) } ? true : nil
        }
        guard serves == true else {
            throw StackError(.startFailed, "Erlang's port mapper did not start. \(tail(of: log))")
        }
    }

    /// Ends it; one that does not heed SIGTERM in its time is killed.
    func end(within limit: Duration = .seconds(5)) async throws {
        try await processes.end(Self.name, by: [(SIGTERM, limit)])
    }
}
