import AddressPolicy
import EgressProxy

/// What a pool may use, and how it behaves.
public struct BrowserPoolSettings: Sendable {
    /// How browsers are kept from the machine.
    public enum Sandbox: String, Sendable, CaseIterable {
        /// Every process of a page is in Chromium's sandbox; where the machine allows none, no browser is started.
        case required
        /// Pages run with all rights of the account that the browser runs as. For machines that are a sandbox themselves.
        case off
    }

    /// The program; nil for the first that is found of ``BrowserExecutable/candidates``.
    public var executable: String?
    /// Browsers at once, 1 to 100.
    public var instancesMax: Int
    /// Tabs at once, warm ones included, 1 to 10,000.
    public var tabsMax: Int
    /// Tabs at once in one browser.
    public var tabsPerInstanceMax: Int
    /// Tabs that are kept ready for the next jobs, once the first job has come.
    public var warmTabs: Int
    /// After so many leases a browser takes no more, and is replaced when its last tab is given back.
    public var leasesPerInstanceMax: Int
    /// A browser whose processes hold more memory than this takes no more leases; one that holds twice as much is ended at
    /// once, with the jobs that use it.
    public var instanceMemoryBytesMax: Int
    /// A browser older than this takes no more leases, and is ended after as long again.
    public var instanceAgeMax: Duration
    /// From starting a browser to its first answer.
    public var startTimeout: Duration
    /// How long commands of the pool and, unless they say otherwise, of jobs may take.
    public var commandTimeout: Duration
    /// How often a browser is asked whether it lives, and its memory is looked at.
    public var checkInterval: Duration
    /// A browser that does not answer within this is ended.
    public var checkTimeout: Duration
    /// Leases that may wait for a tab; one more is refused.
    public var waitingMax: Int
    /// Directories of unpacked extensions, absolute. They need the full Chromium: the headless shell has none.
    public var extensions: [String]
    public var sandbox: Sandbox
    /// Whom browsers run as, when this process is root. Nil keeps root, for which Chromium has no sandbox.
    public var user: String?
    /// Where profiles and their locks are made: an absolute path to a directory that only this process's user may change, or
    /// one with the sticky bit, such as /tmp.
    public var profileParent: String
    /// Where pages may connect to.
    public var addresses: AddressPolicy
    /// What one lease may send and receive.
    public var egress: GateLimits
    /// Of a tab's window, in CSS pixels.
    public var windowWidth: Int
    public var windowHeight: Int

    public init(
        executable: String? = nil, instancesMax: Int = 4, tabsMax: Int = 64, tabsPerInstanceMax: Int = 32,
        warmTabs: Int = 4, leasesPerInstanceMax: Int = 1_000, instanceMemoryBytesMax: Int = 2 << 30,
        instanceAgeMax: Duration = .seconds(6 * 3_600), startTimeout: Duration = .seconds(30),
        commandTimeout: Duration = .seconds(15), checkInterval: Duration = .seconds(10),
        checkTimeout: Duration = .seconds(10), waitingMax: Int = 1_000, extensions: [String] = [],
        sandbox: Sandbox = .required, user: String? = "nobody", profileParent: String = "/tmp",
        addresses: AddressPolicy = .globalOnly, egress: GateLimits = GateLimits(), windowWidth: Int = 1_280,
        windowHeight: Int = 720
    ) {
        self.executable = executable
        self.instancesMax = instancesMax
        self.tabsMax = tabsMax
        self.tabsPerInstanceMax = tabsPerInstanceMax
        self.warmTabs = warmTabs
        self.leasesPerInstanceMax = leasesPerInstanceMax
        self.instanceMemoryBytesMax = instanceMemoryBytesMax
        self.instanceAgeMax = instanceAgeMax
        self.startTimeout = startTimeout
        self.commandTimeout = commandTimeout
        self.checkInterval = checkInterval
        self.checkTimeout = checkTimeout
        self.waitingMax = waitingMax
        self.extensions = extensions
        self.sandbox = sandbox
        self.user = user
        self.profileParent = profileParent
        self.addresses = addresses
        self.egress = egress
        self.windowWidth = windowWidth
        self.windowHeight = windowHeight
    }
}
