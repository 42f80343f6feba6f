import BrowserPool

/// What a ``BrowserSubsystem`` allows itself and its jobs.
public struct BrowserSettings: Sendable {
    /// Browsers and tabs, where they may connect to, and how they are kept from the machine.
    public var pool = BrowserPoolSettings()
    /// How long a job waits in its slot for a tab before it is postponed.
    public var leaseWait: Duration = .seconds(30)
    /// The longest text, HTML or value that stays in a job's output, in bytes; longer texts go into files.
    public var inlineBytesMax = 128 << 10
    /// The largest file that a job makes of a page, downloads or uploads, in bytes.
    public var fileBytesMax = 256 << 20
    /// Files that one job may download.
    public var downloadsMax = 20

    public init() {}
}
