/// One address of a broker.
public struct AMQPEndpoint: Sendable, Hashable, CustomStringConvertible {
    public var host: String
    public var port: Int
    public var tls: Bool

    public init(host: String, port: Int, tls: Bool = false) {
        self.host = host
        self.port = port
        self.tls = tls
    }

    public var description: String {
        "\(tls ? "amqps" : "amqp")://\(host.contains(":") ? "[\(host)]" : host):\(port)"
    }
}

/// How long to wait before trying again: full jitter, that is a random time between nothing and a ceiling which doubles.
public struct AMQPBackoff: Sendable, Hashable {
    /// Ceiling of the first wait.
    public var initial: Duration
    /// Highest ceiling.
    public var max: Duration

    public init(initial: Duration = .milliseconds(100), max: Duration = .seconds(10)) {
        self.initial = initial
        self.max = max
    }
}

/// TLS of an `amqps` endpoint. The peer's certificate and its host name are verified unless `verifyPeer` is false.
public struct AMQPTLSOptions: Sendable, Hashable {
    /// PEM file of the authorities trusted; nil for the system's own bundle.
    public var caFile: String?
    /// PEM file of the client certificate; needs `keyFile` too.
    public var certificateFile: String?
    /// PEM file of the client's private key.
    public var keyFile: String?
    /// False accepts any certificate for any host: for experiments only.
    public var verifyPeer: Bool

    public init(
        caFile: String? = nil, certificateFile: String? = nil, keyFile: String? = nil, verifyPeer: Bool = true
    ) {
        self.caFile = caFile
        self.certificateFile = certificateFile
        self.keyFile = keyFile
        self.verifyPeer = verifyPeer
    }
}

/// How to reach a broker and how long to be patient with it.
public struct AMQPConfiguration: Sendable, Hashable {
    /// Tried in turn, in an order shuffled anew each round, so that a fleet spreads over a cluster. Never empty.
    public var endpoints: [AMQPEndpoint]
    public var user: String
    public var password: String
    public var virtualHost: String
    /// Shown in the broker's list of connections.
    public var connectionName: String
    /// Asked of the broker; each side sends at twice this pace. Zero turns heartbeats off. Whole seconds.
    public var heartbeat: Duration
    /// Limit for the TCP connect, and again for the TLS and AMQP handshake.
    public var connectTimeout: Duration
    /// A send that makes no progress, or a call that is not answered, for this long means that the connection is dead.
    public var stallTimeout: Duration
    public var backoff: AMQPBackoff
    /// Largest frame offered to the broker, bytes. From RabbitMQ 4.1 at least 8192.
    public var frameMax: Int
    /// A larger delivery comes without its body and flagged; a larger message is not sent. Bytes.
    public var maxBodyBytes: Int
    public var tls: AMQPTLSOptions

    public init(
        endpoints: [AMQPEndpoint], user: String = "guest", password: String = "guest", virtualHost: String = "/",
        connectionName: String = "gaia", heartbeat: Duration = .seconds(10), connectTimeout: Duration = .seconds(5),
        stallTimeout: Duration = .seconds(20), backoff: AMQPBackoff = AMQPBackoff(), frameMax: Int = 131_072,
        maxBodyBytes: Int = 16 << 20, tls: AMQPTLSOptions = AMQPTLSOptions()
    ) {
        self.endpoints = endpoints
        self.user = user
        self.password = password
        self.virtualHost = virtualHost
        self.connectionName = connectionName
        self.heartbeat = heartbeat
        self.connectTimeout = connectTimeout
        self.stallTimeout = stallTimeout
        self.backoff = backoff
        self.frameMax = frameMax
        self.maxBodyBytes = maxBodyBytes
        self.tls = tls
    }
}

extension AMQPConfiguration: CustomStringConvertible, CustomReflectable {
    /// Everything but the password.
    public var description: String {
        "\(endpoints.map(\.description).joined(separator: ",")) user \(user) virtual host \(virtualHost)"
    }

    /// `dump` and string interpolation of a value that holds this one must not show the password either.
    public var customMirror: Mirror {
        Mirror(
            self,
            children: [
                "endpoints": endpoints, "user": user, "virtualHost": virtualHost, "connectionName": connectionName,
            ])
    }
}
