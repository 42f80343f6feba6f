/// What a pool holds and what it shall do next: pure. Whoever calls an event method carries out what it returns.
///
/// ```
/// instance: starting ──▶ ready ──leases, memory, age, trouble──▶ draining ──no tab left──▶ ending ──▶ (gone)
///               └── start failed ─────────────── died, hung ───────────────────────────────────────────▲
///
/// tab:      opening ──▶ warm ──▶ leased ──▶ closing ──▶ (gone)
/// ```
struct PoolState {
    enum Action: Equatable {
        case startInstance(Int)
        case endInstance(Int)
        case openTab(Int, instance: Int)
        case closeTab(Int)
        /// A warm tab for a waiter.
        case lend(tab: Int, waiter: UInt64)
        /// A browser has had its leases, and takes no more.
        case noteRecycling(Int)
        /// No tab for these.
        case refuse([UInt64])
    }

    enum Phase: Equatable {
        case starting, ready, draining, ending
    }

    enum TabPhase: Equatable {
        case opening, warm, leased, closing
    }

    struct Instance {
        var phase = Phase.starting
        /// Leases begun.
        var leases = 0
        var tabs = 0
        var opening = 0
        /// As last looked at.
        var memoryBytes = 0
        var processes = 0
    }

    struct Tab {
        var instance: Int
        var phase = TabPhase.opening
    }

    struct Limits {
        var instancesMax: Int
        var tabsMax: Int
        var tabsPerInstanceMax: Int
        var warmTabs: Int
        var leasesPerInstanceMax: Int
        var waitingMax: Int
    }

    /// Tabs that are opened at once in one browser: at most, and as long as half of the warm ones are there and nobody waits.
    /// More makes none of them ready sooner, and those that are only to be kept ready must not slow down the jobs that run.
    static let openingMax = 8
    static let openingUnhurriedMax = 2
    /// So many tabs in a row that could not be opened are the machine's trouble, not a browser's.
    static let failuresMax = 3

    private let limits: Limits
    private(set) var instances: [Int: Instance] = [:]
    private(set) var tabs: [Int: Tab] = [:]
    /// Oldest first.
    private(set) var warm: [Int] = []
    /// First come, first served.
    private(set) var waiters: [UInt64] = []
    private var lastInstance = 0
    private var lastTab = 0
    private var failures = 0
    /// Whether tabs are kept warm: from the first lease on, until no browser can be had.
    private var isActive = false
    private(set) var isClosed = false

    init(_ limits: Limits) { self.limits = limits }

    // MARK: Jobs

    /// Nil when too many wait already.
    mutating func ask(_ waiter: UInt64) -> [Action]? {
        guard waiters.count < limits.waitingMax else { return nil }
        isActive = true
        waiters.append(waiter)
        return plan()
    }

    /// A waiter wants no more. False when it has been served.
    mutating func giveUp(_ waiter: UInt64) -> Bool {
        guard let place = waiters.firstIndex(of: waiter) else { return false }
        waiters.remove(at: place)
        return true
    }

    /// A job is done with its tab.
    mutating func giveBack(_ tab: Int) -> [Action] { retire(tab) }

    // MARK: Tabs

    mutating func opened(_ tab: Int) -> [Action] {
        guard let instance = tabs[tab]?.instance, tabs[tab]?.phase == .opening else { return [] }
        failures = 0
        instances[instance]?.opening -= 1
        if instances[instance]?.phase != .ready { return close(tab) + plan() }
        tabs[tab]?.phase = .warm
        warm.append(tab)
        return plan()
    }

    /// A tab could not be opened: its browser takes no more.
    mutating func openingFailed(_ tab: Int) -> [Action] {
        guard let instance = tabs[tab]?.instance, tabs[tab]?.phase == .opening else { return [] }
        instances[instance]?.opening -= 1
        failures += 1
        tabs[tab]?.phase = .closing
        let refused: [Action] = failures >= Self.failuresMax ? refuseAll() : []
        return closed(tab) + drain(instance) + refused
    }

    /// A page's process died. One that is lent stays so: its job will notice.
    mutating func crashed(_ tab: Int) -> [Action] {
        guard tabs[tab]?.phase == .warm else { return [] }
        return retire(tab)
    }

    /// A tab and all of its belongings are gone.
    mutating func closed(_ tab: Int) -> [Action] {
        guard let instance = tabs.removeValue(forKey: tab)?.instance else { return [] }
        instances[instance]?.tabs -= 1
        return endIfDrained(instance) + plan()
    }

    private mutating func retire(_ tab: Int) -> [Action] {
        guard tabs[tab]?.phase == .warm || tabs[tab]?.phase == .leased else { return [] }
        return close(tab) + plan()
    }

    private mutating func close(_ tab: Int) -> [Action] {
        warm.removeAll { $0 == tab }
        tabs[tab]?.phase = .closing
        return [.closeTab(tab)]
    }

    // MARK: Instances

    mutating func started(_ instance: Int) -> [Action] {
        guard instances[instance]?.phase == .starting else { return [] }
        instances[instance]?.phase = .ready
        return plan()
    }

    /// It takes no more leases, and ends when its tabs are given back.
    mutating func drain(_ instance: Int) -> [Action] {
        guard instances[instance]?.phase == .ready else { return [] }
        instances[instance]?.phase = .draining
        let idle = warm.filter { tabs[$0]?.instance == instance }
        return idle.flatMap { close($0) } + endIfDrained(instance) + plan()
    }

    /// It answers no more: nobody gets a tab of it until it has ended, which takes a moment, and its tabs go with it.
    mutating func lost(_ instance: Int) -> [Action] {
        guard instances[instance]?.phase == .ready else { return [] }
        instances[instance]?.phase = .draining
        warm.removeAll { tabs[$0]?.instance == instance }
        return plan()
    }

    /// It is gone, with all of its tabs.
    mutating func ended(_ instance: Int, wasStarting: Bool) -> [Action] {
        guard instances.removeValue(forKey: instance) != nil else { return [] }
        warm.removeAll { tabs[$0]?.instance == instance }
        tabs = tabs.filter { $0.value.instance != instance }
        // Nobody can be served, and trying again at once would most likely end alike.
        if wasStarting, !instances.values.contains(where: { $0.phase == .ready }) { return refuseAll() }
        return plan()
    }

    mutating func measured(_ instance: Int, bytes: Int, processes: Int) {
        instances[instance]?.memoryBytes = bytes
        instances[instance]?.processes = processes
    }

    /// Whether what ends now does so unasked.
    func isWanted(_ instance: Int) -> Bool {
        guard let phase = instances[instance]?.phase else { return false }
        return phase != .ending && !isClosed
    }

    private mutating func endIfDrained(_ instance: Int) -> [Action] {
        guard instances[instance]?.phase == .draining, instances[instance]?.tabs == 0 else { return [] }
        instances[instance]?.phase = .ending
        return [.endInstance(instance)]
    }

    // MARK: The whole

    mutating func close() -> [Action] {
        isClosed = true
        for instance in instances.keys { instances[instance]?.phase = .ending }
        return refuseAll() + instances.keys.sorted().map { .endInstance($0) }
    }

    private mutating func refuseAll() -> [Action] {
        isActive = false
        failures = 0
        defer { waiters = [] }
        return waiters.isEmpty ? [] : [.refuse(waiters)]
    }

    /// Serves who waits, and makes what will be needed.
    private mutating func plan() -> [Action] {
        if isClosed { return [] }
        var actions: [Action] = []
        while let waiter = waiters.first, let tab = warm.first {
            waiters.removeFirst()
            warm.removeFirst()
            actions.append(.lend(tab: tab, waiter: waiter))
            guard let instance = tabs[tab]?.instance else { continue }
            tabs[tab]?.phase = .leased
            instances[instance]?.leases += 1
            if instances[instance]?.leases == limits.leasesPerInstanceMax { actions += drainQuietly(instance) }
        }
        guard isActive else { return actions }
        let coming = instances.values.reduce(0) { $0 + ($1.phase == .ready ? $1.opening : 0) }
        var missing = waiters.count + keptReady - warm.count - coming
        while missing > 0, tabs.count < limits.tabsMax, let instance = leastLoaded() {
            lastTab += 1
            tabs[lastTab] = Tab(instance: instance)
            instances[instance]?.tabs += 1
            instances[instance]?.opening += 1
            actions.append(.openTab(lastTab, instance: instance))
            missing -= 1
        }
        // What those that can take more will take, once they may.
        var room = instances.values.reduce(0) { $0 + self.room($1) }
        while missing > room, tabs.count + room < limits.tabsMax, instances.count < limits.instancesMax {
            lastInstance += 1
            instances[lastInstance] = Instance()
            actions.append(.startInstance(lastInstance))
            room += limits.tabsPerInstanceMax
        }
        return actions
    }

    /// How many tabs are to be warm. While jobs use some, those that were made for later would take the processors from them:
    /// then no more are made than may be asked for at once.
    private var keptReady: Int {
        let lent = tabs.values.count { $0.phase == .leased }
        return lent == 0 ? limits.warmTabs : min(limits.warmTabs, max(lent, Self.openingMax))
    }

    /// Like ``drain(_:)``, from within a plan.
    private mutating func drainQuietly(_ instance: Int) -> [Action] {
        guard instances[instance]?.phase == .ready else { return [] }
        instances[instance]?.phase = .draining
        return [.noteRecycling(instance)] + warm.filter { tabs[$0]?.instance == instance }.flatMap { close($0) }
    }

    /// How many tabs an instance may have beyond those that it has.
    private func room(_ instance: Instance) -> Int {
        guard instance.phase == .ready || instance.phase == .starting else { return 0 }
        return limits.tabsPerInstanceMax - instance.tabs
    }

    private func leastLoaded() -> Int? {
        let isUnhurried = waiters.isEmpty && 2 * warm.count >= keptReady
        let openingMax = isUnhurried ? Self.openingUnhurriedMax : Self.openingMax
        return instances.filter { $0.value.phase == .ready && room($0.value) > 0 && $0.value.opening < openingMax }
            .min { ($0.value.tabs, $0.key) < ($1.value.tabs, $1.key) }?.key
    }
}
