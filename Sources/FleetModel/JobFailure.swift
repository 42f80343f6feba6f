/// Why an attempt failed, and so what is to happen next. Handlers throw it; any other error counts as transient.
public struct JobFailure: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of failure decides what follows.
    public enum Kind: Sendable, Equatable {
        /// May well succeed later: retried after the policy's backoff.
        case transient
        /// The other side asked for a pause: retried after it, and no attempt is spent.
        case throttled(retryAfter: Duration)
        /// Will fail each time: discarded at once.
        case permanent
        /// May have had its effect and cannot be repeated safely: set aside as indeterminate for an operator.
        case unsafe

        /// The name stored in the ledger.
        public var name: String {
            switch self {
            case .transient: "transient"
            case .throttled: "throttled"
            case .permanent: "permanent"
            case .unsafe: "unsafe"
            }
        }
    }

    public let kind: Kind
    /// A short stable word for grouping, such as `api.503` or `timeout`.
    public let code: String
    /// What happened, for a person. No secrets: it is stored and published.
    public let message: String

    /// The longest message kept, in characters.
    public static let messageCharactersMax = 2_000

    public init(_ kind: Kind, code: String, message: String) {
        self.kind = kind
        self.code = code
        // PostgreSQL stores no NUL, and a message may quote what came from outside.
        self.message = String(message.prefix(Self.messageCharactersMax)).replacing("\0", with: "\u{FFFD}")
    }

    public var description: String { "\(code): \(message)" }

    /// Any thrown error as a failure.
    public init(_ error: any Error) {
        switch error {
        case let failure as JobFailure: self = failure
        case let error as LockError: self = error.failure
        case let error as LimitError: self = error.failure
        case let error as ClaimLost: self = error.failure
        case is CancellationError:
            self.init(.transient, code: "cancelled", message: "the handler was cancelled before it could finish")
        default: self.init(.transient, code: "\(Swift.type(of: error))", message: "\(error)")
        }
    }
}
