/// What went wrong between a caller and PostgreSQL, and what to do about it.
///
/// Three kinds tell apart what matters after a lost link: ``Kind/connectionLost`` was certainly not applied and may be
/// repeated, ``Kind/outcomeUnknown`` may have been applied and is to be read back first, ``Kind/server(sqlState:)`` was
/// refused by the server, which rolled it back.
public struct PostgresError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Kind: Sendable, Hashable {
        /// The server refused: a five-character SQLSTATE of PostgreSQL's Appendix A.
        case server(sqlState: String)
        /// The link went before the work could take effect: certainly not applied.
        case connectionLost
        /// It was sent and the link went before the answer: applied or not, read it back.
        case outcomeUnknown
        /// No connection could be made.
        case unavailable
        /// All connections were in use for as long as the caller was prepared to wait, or too many waited already.
        case acquireTimeout
        /// The server gave the statement up at its statement timeout (SQLSTATE 57014): rolled back.
        case timeout
        /// A value came back that is not of the type asked for.
        case decoding
        /// The URL or a setting makes no sense.
        case invalidConfiguration
        /// The pool, connection or session has been closed. After an end that had a reason, callers get the reason instead.
        case closed
        /// The task was cancelled; its statement was not applied.
        case cancelled
    }

    public var kind: Kind
    public var message: String
    /// SQLSTATE, where a server spoke.
    public var sqlState: String?
    /// `ERROR`, `FATAL` or `PANIC`, where a server spoke.
    public var severity: String?
    public var detail: String?
    public var hint: String?
    /// The constraint that was violated, if one was.
    public var constraint: String?
    /// Name of the ``PostgresStatement`` that failed.
    public var statement: String?
    /// Whether the server holds a plan or a prepared statement that is no longer good; a repeat prepares it anew.
    package var isStalePlan = false

    public init(
        kind: Kind, message: String, sqlState: String? = nil, severity: String? = nil, detail: String? = nil,
        hint: String? = nil, constraint: String? = nil, statement: String? = nil
    ) {
        self.kind = kind
        self.message = message
        if case .server(let state) = kind { self.sqlState = sqlState ?? state } else { self.sqlState = sqlState }
        self.severity = severity
        self.detail = detail
        self.hint = hint
        self.constraint = constraint
        self.statement = statement
    }

    /// Whether the same work may succeed later without anybody mending anything. With ``Kind/outcomeUnknown`` it may also
    /// have succeeded already, so read back, or repeat only what is harmless to repeat.
    public var isTransient: Bool {
        switch kind {
        case .connectionLost, .outcomeUnknown, .unavailable, .acquireTimeout, .timeout: return true
        case .decoding, .invalidConfiguration, .closed, .cancelled: return false
        case .server(let state):
            if isStalePlan { return true }
            switch state {
            case "40001", "40P01", "55P03": return true
            default: return state.hasPrefix("57P0") || state.hasPrefix("08") || state.hasPrefix("53")
            }
        }
    }

    /// Whether connecting again is pointless until somebody changes the configuration or the server.
    package var forbidsConnecting: Bool {
        switch sqlState {
        case "28P01", "28000", "3D000": return true
        default: return kind == .invalidConfiguration
        }
    }

    public var description: String {
        var text = "PostgreSQL: \(message)"
        if let sqlState { text += " [\(sqlState)]" }
        if let statement { text += " in statement '\(statement)'" }
        if let constraint { text += "; constraint \(constraint)" }
        if let detail { text += "; \(detail)" }
        if let hint { text += "; hint: \(hint)" }
        return text
    }

    func inStatement(_ name: String?) -> PostgresError {
        guard statement == nil, let name else { return self }
        var copy = self
        copy.statement = name
        return copy
    }

    static let poolClosed = PostgresError(kind: .closed, message: "the connection or pool has been closed")
    static let cancelled = PostgresError(kind: .cancelled, message: "the task was cancelled")
}
