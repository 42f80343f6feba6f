/// What a pool holds now, and has counted since its start.
public struct BrowserPoolStatus: Sendable, Hashable {
    /// Browsers that run, starting and ending ones included.
    public var instances = 0
    /// Tabs that are open or being opened.
    public var tabs = 0
    /// Of these, ready for the next job.
    public var warm = 0
    /// Of these, lent to jobs.
    public var leased = 0
    /// Jobs that wait for a tab.
    public var waiting = 0
    /// Leases begun.
    public var leases = 0
    /// Pages whose process died.
    public var tabCrashes = 0
    /// Browsers that ended unasked, or hung and were ended.
    public var instanceCrashes = 0
    /// Browsers that were replaced after their leases, memory or age.
    public var recycles = 0
    /// Connections of pages that were refused by the policy of addresses.
    public var refusedConnections = 0
    /// Memory of all browsers in bytes, as last looked at.
    public var memoryBytes = 0
    /// Processes of all browsers, as last looked at.
    public var processes = 0

    public init() {}
}
