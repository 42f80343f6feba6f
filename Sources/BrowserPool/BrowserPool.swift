import DevTools
import EgressProxy
import Glibc
import Metrics
import ProcessKeeper
import RootedFiles

/// # BrowserPool
///
/// Chromiums and their tabs, lent to jobs. It knows no jobs.
///
/// ```
///  withTab ──▶ PoolState (pure: who gets which tab, what is opened, recycled, ended)
///                 │ actions
///                 ▼
///              PoolCore ── BrowserInstance: keeper ──▶ Chromium ──▶ renderers …   one tree, which dies with this process
///                 │           │ DevToolsConnection (a socket, no port)
///                 │           └─ BrowserTab: page in a browser context of its own ──▶ EgressGate ──▶ network
///                 └─ checks: answers? memory? age? ──▶ replaced, as are crashed and hung ones
/// ```
///
/// A tab is used once. What a job leaves behind goes with its browser context, and Chromium lets no two contexts share a
/// process, so nothing would be won by cleaning a tab for the next job; instead the next ones are opened beforehand and kept
/// warm. A browser is used for many tabs, and recycled after so many leases, beyond so much memory, and after so long.
public final class BrowserPool: Sendable {
    public let settings: BrowserPoolSettings
    private let core: PoolCore
    /// Ends by ``close()``, and with the last reference to the pool.
    private let work: Task<Void, Never>

    /// Checks the settings and the machine, and removes what killed workers left; no browser is started before the first lease.
    ///
    /// - Throws: ``BrowserPoolError`` of the reasons `badSetting`, `launchFailed` and `notSandboxed`.
    public init(_ settings: BrowserPoolSettings, metrics factory: any MetricsFactory = MetricsSystem.factory)
        throws(BrowserPoolError)
    {
        try Self.check(settings)
        self.settings = settings
        let account = try Self.account(settings)
        if settings.sandbox == .required, let flaw = SandboxCheck.flaw(isRoot: geteuid() == 0 && account == nil) {
            throw BrowserPoolError(.notSandboxed, flaw)
        }
        let shell: ExecutableFile
        do throws(ExecutableFile.Flaw) { shell = try ExecutableFile(path: "/bin/sh") } catch {
            throw BrowserPoolError(.launchFailed, "/bin/sh cannot be executed")
        }
        let executable = try BrowserExecutable.located(settings)
        let profiles = try ProfileDirectories(in: settings.profileParent)
        try profiles.removeLeftovers()
        let surroundings = BrowserInstance.Surroundings(
            settings: settings, executable: executable, account: account,
            // Trees of browsers are large, and what they may hold is looked at by the pool itself.
            keeper: ProcessKeeper(watch: .seconds(30)), shell: shell,
            proxy: EgressProxy(user: account?.userID ?? geteuid()), metrics: BrowserMetrics(factory))
        let core = PoolCore(
            surroundings, profiles: profiles, threads: FileThreads(named: "browser-files", count: 1))
        self.core = core
        work = Task { await core.run() }
    }

    deinit { core.close() }

    /// Lends a tab at `about:blank` for as long as `body` runs, and throws it away afterwards, whatever state it is in; that
    /// takes none of the caller's time.
    ///
    /// - Parameter limit: how long to wait for the tab. First come, first served.
    /// - Throws: ``BrowserPoolError``, or what `body` throws.
    public func withTab<Value: Sendable>(
        _ wish: TabWish = TabWish(), within limit: Duration, isolation: isolated (any Actor)? = #isolation,
        _ body: (BrowserTab) async throws -> Value
    ) async throws -> Value {
        let tab = try await core.lease(within: limit)
        defer { core.giveBack(tab) }
        try await tab.prepare(wish)
        return try await body(tab)
    }

    public var status: BrowserPoolStatus { core.status }

    /// A directory that nobody else may change or list, for what jobs and browsers hand each other. It goes with the pool, and
    /// when its process was killed, with the next pool.
    public var privateDirectory: String { core.profiles.path }

    /// Ends all browsers, with the jobs that use them, and returns when no process and no file of theirs is left.
    public func close() async {
        core.close()
        await work.value
    }

    /// Process ids of the browsers, for tests that harm them.
    package var browserProcesses: [Int32] { core.processes }

    // MARK: Checks

    static func account(_ settings: BrowserPoolSettings) throws(BrowserPoolError) -> Account? {
        guard let user = settings.user, Account.canChange else { return nil }
        guard let account = Account(name: user) else {
            throw BrowserPoolError(.badSetting, "there is no user '\(user)' to run browsers as; set browser.user")
        }
        return account
    }

    static func check(_ settings: BrowserPoolSettings) throws(BrowserPoolError) {
        func demand(_ isSo: Bool, _ message: String) throws(BrowserPoolError) {
            if !isSo { throw BrowserPoolError(.badSetting, message) }
        }
        try demand((1...100).contains(settings.instancesMax), "browser.instances is 1 to 100")
        try demand((1...10_000).contains(settings.tabsMax), "browser.tabs is 1 to 10,000")
        try demand((1...10_000).contains(settings.tabsPerInstanceMax), "browser.tabs_per_instance is 1 to 10,000")
        try demand((0...settings.tabsMax).contains(settings.warmTabs), "browser.warm_tabs is 0 to browser.tabs")
        try demand(settings.leasesPerInstanceMax > 0, "browser.leases_per_instance is above 0")
        try demand(settings.waitingMax > 0, "as many jobs as may wait must be above 0")
        try demand(settings.profileParent.hasPrefix("/"), "browser.profile_parent is an absolute path")
        for path in settings.extensions {
            try demand(
                path.hasPrefix("/") && !path.contains(","),
                "a directory of an extension is an absolute path without commas")
            try demand(
                access("\(path)/manifest.json", R_OK) == 0, "there is no extension with a manifest.json in \(path)")
        }
    }
}
