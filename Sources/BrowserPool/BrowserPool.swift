import DevTools
import EgressProxy
import Metrics

/// # BrowserPool
///
/// Chromiums and their tabs, lent to jobs.
public final class BrowserPool: Sendable {
    public let settings: BrowserPoolSettings

    /// Checks the settings and the machine; no browser is started before the first lease.
    ///
    /// - Throws: ``BrowserPoolError`` of the reasons `badSetting`, `launchFailed` and `notSandboxed`.
    public init(_ settings: BrowserPoolSettings, metrics factory: any MetricsFactory = MetricsSystem.factory)
        throws(BrowserPoolError)
    {
        self.settings = settings
        fatalError()
    }

    /// Lends a tab at `about:blank` for as long as `body` runs, and throws it away afterwards, whatever state it is in; that
    /// takes none of the caller's time.
    ///
    /// - Parameter limit: how long to wait for the tab. First come, first served.
    /// - Throws: ``BrowserPoolError``, or what `body` throws.
    public func withTab<Value: Sendable>(
        _ wish: TabWish = TabWish(), within limit: Duration, isolation: isolated (any Actor)? = #isolation,
        _ body: (BrowserTab) async throws -> Value
    ) async throws -> Value {
        fatalError()
    }

    public var status: BrowserPoolStatus { fatalError() }

    /// Ends all browsers, with the jobs that use them, and returns when no process and no file of theirs is left.
    public func close() async { fatalError() }
}
