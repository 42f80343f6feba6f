import Metrics

/// What the pool counts.
struct BrowserMetrics: Sendable {
    enum Recycling: String, CaseIterable { case leases, memory, age, trouble }
    /// What crashed or hung, or what was left behind and could not be removed.
    enum Crash: String, CaseIterable { case tab, instance, removal }

    private let factory: any MetricsFactory
    /// Browsers that run.
    private let instances: Meter
    /// Memory of all browsers.
    private let memory: Meter
    /// Leases begun.
    private let leases: Counter
    /// From asking for a tab to having it.
    private let leaseWait: Timer
    /// From starting a browser to its first answer.
    private let start: Timer
    /// Pages that opened by themselves and were closed.
    private let popups: Counter
    /// Dialogs of scripts that were answered.
    private let dialogs: Counter
    /// Connections of pages that the policy of addresses refused.
    private let refused: Counter
    /// Navigations of pages to schemes that jobs may not open.
    private let blocked: Counter
    private let crashes: [Crash: Counter]
    private let recycles: [Recycling: Counter]

    init(_ factory: any MetricsFactory) {
        self.factory = factory
        instances = Meter(label: "gaia_browser_instances", factory: factory)
        memory = Meter(label: "gaia_browser_memory_bytes", factory: factory)
        leases = Counter(label: "gaia_browser_leases_total", factory: factory)
        leaseWait = Timer(label: "gaia_browser_lease_wait_seconds", factory: factory)
        start = Timer(label: "gaia_browser_start_seconds", factory: factory)
        popups = Counter(label: "gaia_browser_popups_total", factory: factory)
        dialogs = Counter(label: "gaia_browser_dialogs_total", factory: factory)
        refused = Counter(label: "gaia_browser_refused_connections_total", factory: factory)
        blocked = Counter(label: "gaia_browser_blocked_navigations_total", factory: factory)
        // Told from the start, at zero: of a counter that comes into being with its first event Prometheus sees no increase.
        crashes = Dictionary(
            uniqueKeysWithValues: Crash.allCases.map {
                (
                    $0,
                    Counter(label: "gaia_browser_crashes_total", dimensions: [("what", $0.rawValue)], factory: factory)
                )
            })
        recycles = Dictionary(
            uniqueKeysWithValues: Recycling.allCases.map {
                (
                    $0,
                    Counter(
                        label: "gaia_browser_recycles_total", dimensions: [("reason", $0.rawValue)], factory: factory)
                )
            })
        show(BrowserPoolStatus())
    }

    func show(_ status: BrowserPoolStatus) {
        instances.set(status.instances)
        memory.set(status.memoryBytes)
        for (state, count) in [
            ("warm", status.warm), ("leased", status.leased), ("other", status.tabs - status.warm - status.leased),
        ] {
            // Tabs by what they are for just now.
            Meter(label: "gaia_browser_tabs", dimensions: [("state", state)], factory: factory).set(count)
        }
        // Jobs that wait for a tab.
        Meter(label: "gaia_browser_waiting", factory: factory).set(status.waiting)
    }

    func leased(after wait: Duration) {
        leases.increment()
        leaseWait.record(duration: wait)
    }

    func started(after duration: Duration) { start.record(duration: duration) }

    func crashed(_ what: Crash) { crashes[what]?.increment() }

    /// Browsers that were replaced, by why.
    func recycled(_ reason: Recycling) { recycles[reason]?.increment() }

    func popup() { popups.increment() }
    func dialog() { dialogs.increment() }
    func refusedConnection() { refused.increment() }
    func blockedNavigation() { blocked.increment() }
}
