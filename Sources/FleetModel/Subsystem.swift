/// A family of job types as a worker is given it: handlers, and what they hold open together, such as a pool of connections.
public protocol Subsystem: Sendable {
    /// The kinds of job that it runs.
    var definitions: [JobDefinition] { get }

    /// How many of its jobs a worker can run at once, where each holds something that cannot be had twice, such as a browser's
    /// tab; nil where it is a matter of configuration alone. Such slots are not lent and not borrowed, and no more jobs are
    /// delivered than there are of them.
    var places: Int? { get }

    /// What is amiss with it just now, as "127.0.0.1:80 is left alone for 4 s". `gaia status` and `gaia top` show the first ten,
    /// up to 200 characters of each, and in the worker's health the subsystem is `warn` while there is any.
    var notices: [String] { get }

    /// What it holds just now, such as so many browsers, in up to 200 characters; nil when there is nothing to say.
    var holdings: String? { get }

    /// Gives back what it holds, and returns when that is done. Called once, when no job of it runs any more.
    func close() async
}

extension Subsystem {
    public var places: Int? { nil }
    public var notices: [String] { [] }
    public var holdings: String? { nil }
}
