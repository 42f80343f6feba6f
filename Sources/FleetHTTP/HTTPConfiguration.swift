import AMQPClient
import PostgresClient

/// What the HTTP interface is told.
public struct HTTPConfiguration: Sendable {
    public var address: HTTPAddress
    public var token: BearerToken
    public var amqp: AMQPConfiguration
    public var database: PostgresConfiguration
    /// Shown in the broker's and the database's lists of connections.
    public var name: String
    public var payloadBytesMax = 1 << 20
    /// The largest request body.
    public var bodyBytesMax = 4 << 20
    /// Connections open at once; more wait to be accepted.
    public var connectionsMax = 1_000
    /// Requests that wait for a job's end at once; one more is refused.
    public var waitsMax = 1_000
    /// The longest that a request waits, whatever it asks for.
    public var waitMax: Duration = .seconds(60)
    /// How long a request waits for broker or database.
    public var patience: Duration = .seconds(8)
    /// How long a request's body may take to arrive.
    public var bodyPatience: Duration = .seconds(20)
    /// How long a connection may be silent between requests, and how long the head of one may take to arrive.
    public var idleTimeout: Duration = .seconds(60)

    /// What a client may ask for with `wait`, in seconds, as `openapi.json` says it.
    public static let waitRange = 0...60
    /// The most jobs in one request.
    public static let jobsMax = 1_000
    /// Bodies in memory at once, as a multiple of the largest.
    package static let bodiesInHandMax = 16
    /// Connections that may wait to be accepted.
    static let backlog = 1_024
    /// Headers of one request, their number and their bytes. A key may be 200 bytes, each written as three.
    static let headersMax = 100
    static let headerBytesMax = 16 << 10
    /// How long what is left of a body is read and thrown away after an early answer, so that the client sees the answer.
    static let lingering: Duration = .seconds(5)

    public init(
        address: HTTPAddress, token: BearerToken, amqp: AMQPConfiguration, database: PostgresConfiguration, name: String
    ) {
        self.address = address
        self.token = token
        self.amqp = amqp
        self.database = database
        self.name = name
    }
}

/// A host and a port to listen on.
public struct HTTPAddress: Sendable, Equatable, CustomStringConvertible {
    public let host: String
    /// 0 for any that is free.
    public let port: Int

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Reads `127.0.0.1:8080`, `localhost:8080` or `[::1]:8080`.
    public init(parsing text: String) throws(InvalidHTTPAddress) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            throw InvalidHTTPAddress(text: text)
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw InvalidHTTPAddress(text: text)
        }
        guard !host.isEmpty, host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw InvalidHTTPAddress(text: text)
        }
        self.init(host: String(host), port: Int(port))
    }

    /// Whether only this machine reaches it.
    public var isLoopback: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// A text that names no address.
public struct InvalidHTTPAddress: Error, Sendable, Equatable, CustomStringConvertible {
    public let text: String
    public var description: String {
        "'\(text)' is no address to listen on; write host and port, as in 127.0.0.1:8080 or [::1]:8080"
    }
}

/// The interface could not begin to listen.
public struct HTTPListenError: Error, Sendable, CustomStringConvertible {
    public let address: HTTPAddress
    /// Whether somebody else listens there, which may change; otherwise the address itself is at fault.
    public let isTaken: Bool
    let reason: String

    public var description: String {
        isTaken
            ? "\(address) is taken by another process; choose another port, or stop that one"
            : "nothing can listen on \(address): \(reason)"
    }
}
