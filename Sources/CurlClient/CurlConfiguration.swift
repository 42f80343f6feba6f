internal import Glibc

/// What a ``CurlMulti`` allows itself.
public struct CurlConfiguration: Sendable {
    /// Connections open at once, idle ones among them. Each is a file descriptor: the process's limit has to have room.
    public var maxConnections: Int
    /// The same for one origin. Politeness as much as a bound: this many requests at once is what a server sees of this process.
    public var maxConnectionsPerHost: Int
    /// Transfers running at once; more than `maxConnections` never run, as HTTP/1.1 gives each a connection of its own.
    public var maxInFlight: Int
    /// Requests waiting for a turn. One more is refused at once with ``CurlError/Kind/overloaded``.
    public var maxWaiting: Int
    /// Bytes of header lines of one hop's answer, interim answers and trailers among them.
    public var maxResponseHeaderBytes: Int
    /// A connection idle for longer is not used again, and when nothing at all has run for that long every one is closed.
    public var idleConnectionTimeout: Duration
    public var userAgent: String
    /// Sees the address that is about to be connected to, and says whether it may be. Runs on the client's thread, for every
    /// connection of every hop: it must be quick and must not block. `nil` allows all; for URLs that strangers choose see
    /// ``guarding(by:onRefusal:)``.
    public var resolveGuard: (@Sendable (CurlAddress) -> Bool)?
    /// Told when the last reference goes without a ``CurlMulti/close()`` before it.
    public var onMisuse: @Sendable (String) -> Void

    public init(
        maxConnections: Int = 1024, maxConnectionsPerHost: Int = 64, maxInFlight: Int = 1024, maxWaiting: Int = 16_384,
        maxResponseHeaderBytes: Int = 64 << 10, idleConnectionTimeout: Duration = .seconds(30),
        userAgent: String = "gaia-fleet",
        resolveGuard: (@Sendable (CurlAddress) -> Bool)? = nil,
        onMisuse: @escaping @Sendable (String) -> Void = CurlConfiguration.writeToStandardError
    ) {
        self.maxConnections = maxConnections
        self.maxConnectionsPerHost = maxConnectionsPerHost
        self.maxInFlight = maxInFlight
        self.maxWaiting = maxWaiting
        self.maxResponseHeaderBytes = maxResponseHeaderBytes
        self.idleConnectionTimeout = idleConnectionTimeout
        self.userAgent = userAgent
        self.resolveGuard = resolveGuard
        self.onMisuse = onMisuse
    }

    public static let writeToStandardError: @Sendable (String) -> Void = { message in
        let line = Array("CurlClient: \(message)\n".utf8)
        // There is nobody to tell if this fails.
        _ = write(STDERR_FILENO, line, line.count)
    }
}
