/// How a run ended. No process of it is left.
public struct ProcessEnd: Sendable {
    public enum Status: Sendable, Hashable {
        case exited(Int32)
        case signalled(Int32)
    }

    /// Why it was made to end.
    public enum Cause: Sendable, Hashable {
        /// The wall-clock time was over.
        case timeout
        /// The task that ran it was cancelled.
        case cancelled
        /// Its tree held too many processes.
        case processes
        /// Its tree held too much memory.
        case memory
    }

    /// Of the program itself, not of what it started.
    public var status: Status
    /// Nil when it ended by itself.
    public var cause: Cause?
    public var output: CapturedOutput
    public var error: CapturedOutput
    /// From order to report.
    public var duration: Duration
    /// Of all its processes.
    public var userTime: Duration
    public var systemTime: Duration
    /// The most resident memory of its largest process.
    public var residentBytesMax: Int
    /// Processes that outlived the program and were killed.
    public var strayCount: Int
    /// The most processes at once, as far as was looked.
    public var processesMax: Int
}

/// What came by a pipe.
public struct CapturedOutput: Sendable, Hashable {
    /// The beginning, as far as it was to be kept.
    public var bytes: [UInt8] = []
    /// All that was written.
    public var byteCount = 0

    public var isTruncated: Bool { byteCount > bytes.count }
}

/// Why a process did not run, or nobody knows how it ended.
public struct ProcessError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Reason: Sendable, Equatable {
        /// The keeper is closed.
        case closed
        /// The task was cancelled before there was a process.
        case cancelled
        /// Descriptors or memory of this process are used up.
        case exhausted
        /// It could not be started; `errno` at which step.
        case notStarted(Step, errno: Int32)
        /// Its supervisor ended without a report. What ran is killed by the keeper.
        case lost
        /// It has not ended although it was killed: the kernel waits for a device.
        case unkillable
    }

    public enum Step: Sendable, Equatable {
        case prepare, fork, user, directory, descriptors, limits, execute
    }

    public let reason: Reason
    public let description: String

    init(_ reason: Reason, _ description: String) {
        self.reason = reason
        self.description = description
    }
}
