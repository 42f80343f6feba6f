import BrowserPool
import DevTools
import Glibc

/// # BrowserLoad
///
/// Measures a pool of browsers: how fast tabs open and are lent, what an idle one holds, and what is left after many leases.
/// Beside it runs the floor: the same over the same kind of socket by a bare script, without a pool.
public enum BrowserLoad {
    /// What was measured; times in seconds.
    public struct Figures: Sendable {
        /// From nothing to the first tab lent.
        public var coldLease = 0.0
        /// From nothing to so many tabs ready, each in a browser context of its own.
        public var coldTabs = 0.0
        public var tabs = 0
        /// From nothing to as many pages of one job, in its one browser context.
        public var coldPages = 0.0
        public var leaseMedian = 0.0
        public var leaseP99 = 0.0
        public var leaseMax = 0.0
        /// Leases a second, one after the other and so many at once.
        public var leasesPerSecond = 0.0
        /// Memory of the browser over the number of idle tabs, without what it holds with one.
        public var bytesPerIdleTab = 0
        public var before = Footprint()
        public var after = Footprint()
        public var floor = BrowserFloor.Figures()

        public init() {}
    }

    /// What a pool holds of the machine.
    public struct Footprint: Sendable, Hashable {
        public var processes = 0
        /// Of this process.
        public var descriptors = 0
        /// Directories of profiles, and files in them.
        public var files = 0
        public var memoryBytes = 0
    }

    /// - Parameters:
    ///   - settings: its limits on tabs, warm tabs and leases are overwritten; its parent of profiles should be empty.
    ///   - tabs: how many are opened at once, from nothing.
    ///   - leases: how many are made, two at a time; at least one.
    ///   - warm: tabs that are kept ready meanwhile.
    ///   - idle: how many tabs' memory is measured.
    ///   - visits: what the bare script visits; the pool's visits are jobs, and measured as such.
    public static func measure(
        _ settings: BrowserPoolSettings, tabs: Int = 100, leases: Int = 1_000, warm: Int = 10, idle: Int = 40,
        visits: BrowserFloor.Visits
    ) async throws -> Figures {
        var figures = Figures()
        figures.tabs = tabs
        figures.floor = try await BrowserFloor.measure(settings, tabs, visits)
        try await measureCold(settings, tabs, &figures)
        try await measureWarm(settings, leases, warm, &figures)
        figures.bytesPerIdleTab = try await measureMemory(settings, idle)
        return figures
    }

    // MARK: Cold

    private static func measureCold(_ settings: BrowserPoolSettings, _ tabs: Int, _ figures: inout Figures) async throws
    {
        var settings = settings
        (settings.instancesMax, settings.tabsMax, settings.tabsPerInstanceMax) = (1, tabs, tabs)
        settings.warmTabs = 0
        settings.checkInterval = .milliseconds(500)
        let start = ContinuousClock.now
        let pool = try BrowserPool(settings)
        figures.coldTabs = try await closing(pool) {
            try await allAtOnce(pool, tabs)
            return seconds(since: start)
        }
        let again = ContinuousClock.now
        let other = try BrowserPool(settings)
        (figures.coldLease, figures.coldPages) = try await closing(other) {
            try await other.withTab(within: patience) { tab in
                let lease = seconds(since: again)
                try await withThrowingDiscardingTaskGroup { group in
                    for _ in 1..<tabs {
                        group.addTask {
                            try await tab.browser.send(
                                Target.CreateTarget(url: "about:blank", browserContextId: tab.contextID))
                        }
                    }
                }
                return (lease, seconds(since: again))
            }
        }
    }

    /// Holds so many leases at one moment.
    private static func allAtOnce(_ pool: BrowserPool, _ count: Int) async throws {
        let gate = Meeting(count)
        try await withThrowingDiscardingTaskGroup { group in
            for _ in 0..<count {
                group.addTask { try await pool.withTab(within: patience) { _ in await gate.arrive() } }
            }
        }
    }

    // MARK: Warm

    private static func measureWarm(
        _ settings: BrowserPoolSettings, _ leases: Int, _ warm: Int, _ figures: inout Figures
    ) async throws {
        var settings = settings
        (settings.instancesMax, settings.tabsMax, settings.tabsPerInstanceMax) = (1, 64, 64)
        settings.warmTabs = warm
        settings.leasesPerInstanceMax = leases * 10
        settings.checkInterval = .milliseconds(500)
        let parent = settings.profileParent
        let pool = try BrowserPool(settings)
        let waits = Waits()
        try await closing(pool) {
            for _ in 0..<(2 * warm) { try await lease(pool) }
            figures.before = try await rest(pool, parent, warm: warm)
            let start = ContinuousClock.now
            try await withThrowingDiscardingTaskGroup { group in
                for half in 0..<2 {
                    group.addTask {
                        for _ in 0..<((leases + half) / 2) { waits.note(try await lease(pool)) }
                    }
                }
            }
            figures.leasesPerSecond = Double(leases) / seconds(since: start)
            figures.after = try await rest(pool, parent, warm: warm)
        }
        let sorted = waits.sorted
        figures.leaseMedian = sorted[sorted.count / 2]
        figures.leaseP99 = sorted[sorted.count * 99 / 100]
        figures.leaseMax = sorted[sorted.count - 1]
    }

    /// One lease with a script in it; how long it waited for its tab.
    @discardableResult
    private static func lease(_ pool: BrowserPool) async throws -> Double {
        let start = ContinuousClock.now
        return try await pool.withTab(within: patience) { tab in
            let wait = seconds(since: start)
            try await tab.session.send(Runtime.Evaluate("1 + 1"))
            return wait
        }
    }

    /// The difference that so many idle tabs make, over their number.
    private static func measureMemory(_ settings: BrowserPoolSettings, _ idle: Int) async throws -> Int {
        var held: [Int] = []
        for warm in [1, 1 + idle] {
            var settings = settings
            (settings.instancesMax, settings.tabsMax, settings.tabsPerInstanceMax) = (1, warm + 1, warm + 1)
            settings.warmTabs = warm
            settings.checkInterval = .milliseconds(500)
            let pool = try BrowserPool(settings)
            try await closing(pool) {
                try await lease(pool)
                held.append(try await rest(pool, settings.profileParent, warm: warm).memoryBytes)
            }
        }
        return (held[1] - held[0]) / idle
    }

    // MARK: What is held

    /// What a pool holds once nothing is under way any more and its memory has been looked at since.
    private static func rest(_ pool: BrowserPool, _ parent: String, warm: Int) async throws -> Footprint {
        let deadline = ContinuousClock.now + patience
        while pool.status.warm != warm || pool.status.tabs != warm {
            guard ContinuousClock.now < deadline else { throw LoadFailure("the pool does not come to rest") }
            try await Task.sleep(for: .milliseconds(20))
        }
        // Twice as long as from one look at its memory to the next.
        try await Task.sleep(for: .seconds(1))
        let processes = pool.status.processes
        return Footprint(
            processes: processes, descriptors: (0..<65_536).count { fcntl(Int32($0), F_GETFD) >= 0 },
            files: files(in: parent), memoryBytes: pool.status.memoryBytes)
    }

    private static func files(in path: String) -> Int {
        guard let directory = opendir(path) else { return 0 }
        defer { closedir(directory) }
        var count = 0
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            count += 1
            if entry.pointee.d_type == UInt8(DT_DIR) { count += files(in: "\(path)/\(name)") }
        }
        return count
    }

    // MARK: Time

    /// More than any of it takes on a machine that works.
    private static let patience: Duration = .seconds(60)

    static func seconds(since start: ContinuousClock.Instant) -> Double { (ContinuousClock.now - start) / .seconds(1) }

    private static func closing<Value>(
        _ pool: BrowserPool, isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Value
    ) async throws -> Value {
        let result: Result<Value, any Error>
        do { result = .success(try await body()) } catch { result = .failure(error) }
        await pool.close()
        return try result.get()
    }
}
