import AddressPolicy

/// Why a connection that a client asked for was not made.
public struct EgressFailure: Sendable, Hashable {
    public enum Reason: Sendable, Hashable {
        /// Where it would have led is not allowed.
        case refused(AddressKind)
        /// The name has no address.
        case noName
        /// Nobody listens there, or the way is barred; the system's words.
        case notReachable(String)
        /// Neither a yes nor a no in time.
        case timeout
        /// The gate has as many connections, or has passed as many bytes, as it may.
        case limit
    }

    /// As the client named it: a name or an address. Chosen by a stranger.
    public var host: String
    public var port: UInt16
    public var reason: Reason

    public init(host: String, port: UInt16, reason: Reason) {
        self.host = host
        self.port = port
        self.reason = reason
    }
}

/// What has gone through a gate since it was opened.
public struct EgressReport: Sendable, Hashable {
    /// Connections made to where they were meant for.
    public var connections = 0
    /// Of these, open now.
    public var open = 0
    public var bytesSent = 0
    public var bytesReceived = 0
    /// Connections refused by policy.
    public var refusedCount = 0
    /// Connections not made, the refused included.
    public var failureCount = 0
    /// The last of them, oldest first; at most ``failuresMax``.
    public var failures: [EgressFailure] = []

    public static let failuresMax = 100

    public init() {}
}

/// What bounds one gate.
public struct GateLimits: Sendable, Hashable {
    /// Connections at once, those under way included. Browsers open six to a host.
    public var connectionsMax: Int
    /// Bytes in both directions together, over the gate's life; nil sets no limit.
    public var bytesMax: Int?
    /// From a client's connection to the connection that it asks for: greeting, resolving and connecting.
    public var connectTimeout: Duration
    /// After so long without a byte in either direction a connection is closed.
    public var idleTimeout: Duration

    public init(
        connectionsMax: Int = 256, bytesMax: Int? = nil, connectTimeout: Duration = .seconds(15),
        idleTimeout: Duration = .seconds(300)
    ) {
        self.connectionsMax = connectionsMax
        self.bytesMax = bytesMax
        self.connectTimeout = connectTimeout
        self.idleTimeout = idleTimeout
    }
}
