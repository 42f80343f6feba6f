/// Why there is no tab, or no more.
public struct BrowserPoolError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Reason: Sendable, Hashable {
        /// No tab became free in time, or too many wait already.
        case exhausted
        /// No browser could be started.
        case launchFailed
        /// The machine has no sandbox for browsers, and the settings want one.
        case notSandboxed
        /// A setting that cannot be.
        case badSetting
        /// The scheme of an address is none that jobs may open.
        case schemeRefused
        /// The pool was closed.
        case closed
        case cancelled
    }

    public var reason: Reason
    /// For a person: says what to do.
    public var message: String

    public init(_ reason: Reason, _ message: String) {
        self.reason = reason
        self.message = message
    }

    public var description: String { message }
}
