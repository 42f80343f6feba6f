/// Why a command has no answer, or events have ended.
public struct DevToolsError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Reason: Sendable, Hashable {
        /// The browser is gone, or the connection was closed on our side.
        case closed
        /// No answer within the time of the command.
        case timeout
        /// The task was cancelled.
        case cancelled
        /// The browser says no; its code and words.
        case refused(code: Int, message: String)
        /// The session's target was closed, or let go.
        case detached
        /// The process behind the session's page died. The page never answers again.
        case crashed
        /// The answer is larger than ``DevToolsLimits/messageBytesMax``.
        case tooLarge
        /// An answer or event that is not what the protocol says.
        case malformed
        /// The browser takes no more: ``DevToolsLimits/unsentBytesMax`` wait to be sent.
        case overloaded
        /// More events came than the subscriber's queue holds, and it wanted all of them.
        case overflow
    }

    public var reason: Reason
    /// For a person: names the command, holds none of its parameters.
    public var message: String

    public init(_ reason: Reason, _ message: String) {
        self.reason = reason
        self.message = message
    }

    public var description: String { message }

    /// Whether nothing that is sent to the page or the browser can succeed any more.
    public var isFinal: Bool {
        switch reason {
        case .closed, .detached, .crashed: true
        default: false
        }
    }
}

/// What bounds a connection.
public struct DevToolsLimits: Sendable, Hashable {
    /// The largest message taken, in bytes. A larger one is skipped; the command that it answers fails as `tooLarge`.
    public var messageBytesMax: Int
    /// The most that may wait to be sent to a browser that does not read, in bytes.
    public var unsentBytesMax: Int
    /// How long a command may take that names no time of its own.
    public var commandTimeout: Duration

    public init(
        messageBytesMax: Int = 256 << 20, unsentBytesMax: Int = 16 << 20, commandTimeout: Duration = .seconds(15)
    ) {
        self.messageBytesMax = messageBytesMax
        self.unsentBytesMax = unsentBytesMax
        self.commandTimeout = commandTimeout
    }
}

/// What a connection has counted since its start.
public struct DevToolsStatistics: Sendable, Hashable {
    /// Messages that came, whole.
    public var received = 0
    /// Commands sent.
    public var sent = 0
    /// Answers that came after their command had been given up.
    public var lateAnswers = 0
    /// Messages that were larger than allowed, or no protocol at all.
    public var dropped = 0
    /// Commands without an answer so far.
    public var pending = 0
    /// Subscribers to events.
    public var subscribers = 0

    public init() {}
}
