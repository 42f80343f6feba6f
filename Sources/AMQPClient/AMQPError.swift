/// What went wrong with a broker, in a form to act on.
///
/// `message` is for people: it says what happened and what to do, and never holds a password.
public struct AMQPError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Kind: Sendable, Equatable {
        /// No endpoint answered: refused, no route, name unknown, or the handshake broke off.
        case unreachable
        /// The broker does not take this user and password.
        case credentialsRefused
        /// The broker knows no virtual host of this name.
        case virtualHostNotFound
        /// The user may not do this here.
        case accessRefused
        /// An exchange or queue is not there, and the user may not declare it; somebody else may.
        case topologyMissing
        /// The peer's certificate or our own TLS files are not good.
        case tls
        /// The link was up and is gone.
        case connectionLost
        /// The broker closed the connection, with the AMQP reply code it gave.
        case closedByBroker(code: Int)
        /// The broker closed the channel, with the AMQP reply code and text it gave.
        case channelClosed(code: Int, reason: String)
        /// The broker did not answer, or took no bytes, within the time allowed.
        case timeout
        /// The URL or another part of the configuration cannot be used.
        case invalidURL
        /// One side broke the protocol.
        case protocolViolation
        /// This object has been closed.
        case closed
    }

    public let kind: Kind
    public let message: String
    /// Whether time alone cannot mend it. `run()` throws such errors and retries the others.
    public let isPermanent: Bool

    /// - Parameter isPermanent: nil to derive it from the kind.
    public init(_ kind: Kind, _ message: String, isPermanent: Bool? = nil) {
        self.kind = kind
        self.message = message
        self.isPermanent = isPermanent ?? Self.isUsuallyPermanent(kind)
    }

    public var description: String { message }

    private static func isUsuallyPermanent(_ kind: Kind) -> Bool {
        switch kind {
        case .credentialsRefused, .virtualHostNotFound, .accessRefused, .tls, .invalidURL: true
        // A closed channel may be a missing queue that somebody declares later; whoever sets up topology knows better.
        case .unreachable, .connectionLost, .closedByBroker, .channelClosed, .timeout, .protocolViolation, .closed,
            .topologyMissing:
            false
        }
    }
}

/// Reply codes of AMQP 0-9-1 that are acted on.
enum ReplyCode {
    static let success = 200
    static let accessRefused = 403
    static let notFound = 404
    static let preconditionFailed = 406
    static let commandInvalid = 503
    static let notAllowed = 530
}
