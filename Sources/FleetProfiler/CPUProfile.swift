/// Where a process has spent processor time: stacks with the samples that found them.
public struct CPUProfile: Sendable, Equatable {
    /// What may be asked for.
    public struct Request: Sendable, Equatable {
        public static let secondsRange = 1...300
        public static let hertzRange = 1...1_000

        public static let secondsUnasked = 10
        public static let hertzUnasked = 99

        public let seconds: Int
        /// Samples in a second of a thread's processor time. Not a divisor of what else happens regularly is best.
        public let hertz: Int

        /// - Throws: ``ProfileError/outOfRange(_:_:)``
        public init(seconds: Int = secondsUnasked, hertz: Int = hertzUnasked) throws(ProfileError) {
            guard Self.secondsRange.contains(seconds) else { throw .outOfRange("seconds", Self.secondsRange) }
            guard Self.hertzRange.contains(hertz) else { throw .outOfRange("hertz", Self.hertzRange) }
            self.seconds = seconds
            self.hertz = hertz
        }
    }

    /// Of each stack the frames from outside in, the thread's name first, and its samples.
    public var stacks: [[String]: Int] = [:]
    public let request: Request
    /// Samples of all stacks.
    public var samples: Int { stacks.values.reduce(0, +) }
    /// Samples for which there was no room, and which no stack has.
    public var dropped = 0
    /// Threads that were looked at.
    public var threads = 0
    /// Threads that block SIGPROF, or could not be given a timer: no stack is theirs.
    public var deafThreads = 0

    /// A line for each stack, as speedscope, inferno and flamegraph.pl read them: frames parted by semicolons, a blank, the
    /// count.
    public var folded: String {
        stacks.map { "\($0.key.joined(separator: ";")) \($0.value)\n" }.sorted().joined()
    }
}

/// Why there is no profile.
public enum ProfileError: Error, Equatable, CustomStringConvertible {
    case outOfRange(String, ClosedRange<Int>)
    /// A part of the question that has this name.
    case unknown(String)
    /// One is taken already.
    case busy
    /// By the system, with its words.
    case refused(String)
    /// The task that asked was cancelled.
    case cancelled

    public var description: String {
        switch self {
        case .outOfRange(let name, let range):
            "\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound)"
        case .unknown(let name): "there is no '\(name)' to ask for, only seconds and hertz"
        case .busy: "a profile of this process is being taken; ask again when it is done"
        case .refused(let words): "this process cannot be profiled: \(words)"
        case .cancelled: "the profile was broken off"
        }
    }
}
