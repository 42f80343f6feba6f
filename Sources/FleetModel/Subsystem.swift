/// A family of job types as a worker is given it: handlers, and what they hold open together, such as a pool of connections.
public protocol Subsystem: Sendable {
    /// The kinds of job that it runs.
    var definitions: [JobDefinition] { get }

    /// Gives back what it holds, and returns when that is done. Called once, when no job of it runs any more.
    func close() async
}
