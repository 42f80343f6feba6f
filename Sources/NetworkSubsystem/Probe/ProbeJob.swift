import FleetModel
import NetworkClient

/// What `network.probe.v1` takes.
public struct ProbeParameters: JobParameters {
    public static let type: JobType = "network.probe.v1"

    /// A name or an address.
    public var host: String
    public var port: Int
    /// Whether to shake hands by TLS. True when absent and the port is 443.
    public var tls: Bool?
    /// Asked for in the handshake and looked for in the certificate; the host when absent.
    public var serverName: String?
    /// For everything, 1 to 60,000; 10,000 when absent.
    public var timeoutMilliseconds: Int?
    /// What must be so for the job to succeed; `nothing` when absent: whatever is learned is the output.
    public var require: Requirement?

    public enum Requirement: String, Codable, Sendable, CaseIterable {
        case nothing
        /// There is a connection.
        case connected
        /// And its certificate proves the name.
        case verified
    }

    enum CodingKeys: String, CodingKey {
        case host, port, tls, require
        case serverName = "server_name"
        case timeoutMilliseconds = "timeout_ms"
    }

    public static let timeoutMillisecondsDefault = 10_000
    public static let timeoutMillisecondsMax = 60_000

    public static let schema = JSONSchema.object(
        [
            "host": .string(description: "a name or an address", lengthMax: 254),
            "port": .integer(min: 1, max: 65_535),
            "tls": .boolean(description: "whether to shake hands by TLS; true when absent and the port is 443"),
            "server_name": .string(
                description: "asked for in the handshake and looked for in the certificate; the host when absent",
                lengthMax: 254),
            "timeout_ms": .integer(
                description: "for everything; \(timeoutMillisecondsDefault) when absent", min: 1,
                max: timeoutMillisecondsMax),
            "require": .string(
                description: "what must be so for the job to succeed; nothing when absent",
                values: Requirement.allCases.map(\.rawValue)),
        ], required: ["host", "port"])

    public init(
        host: String, port: Int, tls: Bool? = nil, serverName: String? = nil, timeoutMilliseconds: Int? = nil,
        require: Requirement? = nil
    ) {
        self.host = host
        self.port = port
        self.tls = tls
        self.serverName = serverName
        self.timeoutMilliseconds = timeoutMilliseconds
        self.require = require
    }

    public func validate() throws(InvalidParameters) {
        guard (1...65_535).contains(port) else { throw InvalidParameters("'port' must be from 1 to 65535") }
        try Self.check(host, "host")
        if let serverName { try Self.check(serverName, "server_name") }
        if let timeoutMilliseconds, !(1...Self.timeoutMillisecondsMax).contains(timeoutMilliseconds) {
            throw InvalidParameters("'timeout_ms' must be from 1 to \(Self.timeoutMillisecondsMax)")
        }
        if require == .verified, !usesTLS {
            throw InvalidParameters("'require' can be 'verified' only with 'tls': true")
        }
    }

    var usesTLS: Bool { tls ?? (port == 443) }

    private static func check(_ host: String, _ member: String) throws(InvalidParameters) {
        if Endpoint(address: host, port: 0) != nil { return }
        do throws(NetworkError) { _ = try DNSName(host) } catch {
            throw InvalidParameters("'\(member)' is neither a name nor an address: \(error.message)")
        }
    }
}

/// What `network.probe.v1` yields.
public struct ProbeOutput: Codable, Sendable {
    public struct Certificate: Codable, Sendable {
        public let subject: String
        public let issuer: String
        /// Names and addresses, at most 100 of them.
        public let names: [String]
        /// How many names it has in all.
        public let nameCount: Int
        /// As in RFC 3339.
        public let notBefore: String?
        public let notAfter: String?
        /// Whole days until it is over, by this worker's clock; negative when it is.
        public let daysLeft: Int?
        /// SHA-256 of the certificate, in hexadecimal.
        public let fingerprint: String

        enum CodingKeys: String, CodingKey {
            case subject, issuer, names, fingerprint
            case nameCount = "name_count"
            case notBefore = "not_before"
            case notAfter = "not_after"
            case daysLeft = "days_left"
        }
    }

    public struct TLS: Codable, Sendable {
        public let version: String?
        public let cipher: String?
        public let handshakeMilliseconds: Double?
        /// Whether the certificate proves the name.
        public let verified: Bool
        /// Why not, or why there was no handshake.
        public let flaw: String?
        public let certificate: Certificate?
        public let chainLength: Int

        enum CodingKeys: String, CodingKey {
            case version, cipher, verified, flaw, certificate
            case handshakeMilliseconds = "handshake_ms"
            case chainLength = "chain_length"
        }
    }

    public let host: String
    public let port: Int
    /// Whether there was a connection.
    public let reachable: Bool
    /// The address that was connected to, or tried last.
    public let address: String?
    /// Why there was none.
    public let error: String?
    public let resolveMilliseconds: Double
    public let connectMilliseconds: Double?
    public let tls: TLS?

    enum CodingKeys: String, CodingKey {
        case host, port, reachable, address, error, tls
        case resolveMilliseconds = "resolve_ms"
        case connectMilliseconds = "connect_ms"
    }
}
