/// # DevTools
///
/// A browser driven by the Chrome DevTools Protocol over a socket that it inherits (`--remote-debugging-pipe`): no port is
/// open, so nobody else on the machine can drive it. It knows no pools and no jobs.
///
/// ```
///  session.send(command) ──JSON, NUL──▶ socket ──▶ browser
///       ▲                                             │
///       │ answer                                      ▼
///  PendingCalls ◀── MessageScanner ◀── MessageFrames ◀── one thread per connection (poll)
///  EventQueue   ◀──┘  finds the parts of a message; each is decoded once, by whom it is for
///       └──batches──▶ DevToolsEvents, one bounded queue per subscriber
/// ```
///
/// Sessions are flat: every message of a page bears the session's id, and all share the one socket. A command always ends: with
/// an answer, at its deadline, with the session or with the connection. What comes for nobody is dropped and counted.
public enum DevTools {}

/// A command with typed parameters and a typed answer.
///
/// The parameters are the command's own properties as JSON; nil ones are left out.
public protocol DevToolsCommand: Encodable, Sendable {
    associatedtype Answer: DevToolsAnswer
    /// As the protocol names it, such as `Page.navigate`.
    static var method: String { get }
}

/// What a command is answered with.
public protocol DevToolsAnswer: Sendable {
    init(json: JSONSlice) throws
}

extension DevToolsAnswer where Self: Decodable {
    public init(json: JSONSlice) throws { self = try json.decode(Self.self) }
}

/// Of commands that answer nothing.
public struct NoAnswer: DevToolsAnswer {
    public init(json: JSONSlice) {}
}

/// Something that the browser tells unasked, once its domain is enabled.
public protocol DevToolsEvent: Decodable, Sendable {
    /// As the protocol names it, such as `Page.loadEventFired`.
    static var method: String { get }
}
