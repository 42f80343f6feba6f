/// # FleetStack
///
/// A private RabbitMQ, of one node or a cluster, and a private PostgreSQL, run from the installed packages in a
/// directory of their own: for the demonstration, for trying things, and for tests that kill, stop and restart real
/// servers.
///
/// ```
/// Stack.up(directory) ──┬─▶ PrivateBroker.start   ─▶ epmd, beam.smp   DIR/broker    (ports, password, data, log)
///                       │   PrivateCluster.start  ─▶ epmd, beam.smp × n             (a broker's directory each)
///                       └─▶ PrivateDatabase.start ─▶ postgres         DIR/database  (the same)
///
/// start:  find the packages ─▶ claim the directory ─▶ choose ports ─▶ spawn ─▶ record who was spawned ─▶ await an
///         answer in the server's own protocol, up to a deadline; else the tail of its log is the error
/// ```
///
/// - Nothing is shared with the system's own services: ports, node name, Erlang port mapper, cookie, users, files.
///   Everything listens on the loopback address only.
/// - Servers end with the process that started them, even if that is killed; detached ones stay until `down`.
/// - A server is known by process id *and* start time, kept in a file. No other process is ever signalled.
/// - Data is durable as in production: fsync is on, so a killed server comes back with all it had confirmed.
/// - As root, the servers run as the packages' users `rabbitmq` and `postgres`; else as whoever calls.
///
/// ``ChildProcess`` starts anything else that a test or a command needs as a child.

/// Why a server or a child could not be started, reached or stopped, and what to do.
public struct StackError: Error, Sendable, CustomStringConvertible {
    /// What went wrong, for those who act on it.
    public enum Kind: Sendable, Hashable {
        /// A Debian package is not installed; `apt` is its name.
        case missingPackage(apt: String)
        /// The directory cannot be used: not ours, not reachable by the servers' users, too long.
        case directory
        /// Another `up` or `down` works on the same directory.
        case busy
        /// There is nothing in this directory, or what was there does not run.
        case notRunning
        /// A port that the server had before is taken by another process.
        case portTaken(UInt16)
        /// The child or server could not be started, or ended before it was ready.
        case startFailed
        /// Something did not happen within its deadline.
        case deadline
        /// A command or a request of ours was answered with an error.
        case refused
        /// A system call failed that should not.
        case system(errno: Int32)
    }

    public let kind: Kind
    /// What happened and what to do, in full sentences.
    public let description: String

    public init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}
