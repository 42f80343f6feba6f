import DevTools
import Metrics
import RootedFiles
import Synchronization

/// Carries out what ``PoolState`` decides.
final class PoolCore: Sendable {
    private typealias Lease = Result<BrowserTab, BrowserPoolError>

    private struct Inner {
        var state: PoolState
        var instances: [Int: BrowserInstance] = [:]
        var tabs: [Int: BrowserTab] = [:]
        var waiters: [UInt64: CheckedContinuation<Lease, Never>] = [:]
        /// Why the last browser did not start.
        var launchError: BrowserPoolError?
        var counts = BrowserPoolStatus()
    }

    let surroundings: BrowserInstance.Surroundings
    let profiles: ProfileDirectories
    private let threads: FileThreads
    private let inner: Mutex<Inner>
    private let waiterIDs = Atomic<UInt64>(0)
    /// What is to be done, in order. Its length is bounded by the number of tabs and instances: each has one order at a time.
    private let orders: AsyncStream<PoolState.Action>
    private let ordering: AsyncStream<PoolState.Action>.Continuation

    private var settings: BrowserPoolSettings { surroundings.settings }
    private var metrics: BrowserMetrics { surroundings.metrics }

    init(_ surroundings: BrowserInstance.Surroundings, profiles: ProfileDirectories, threads: FileThreads) {
        self.surroundings = surroundings
        self.profiles = profiles
        self.threads = threads
        let settings = surroundings.settings
        inner = Mutex(
            Inner(
                state: PoolState(
                    PoolState.Limits(
                        instancesMax: settings.instancesMax, tabsMax: settings.tabsMax,
                        tabsPerInstanceMax: settings.tabsPerInstanceMax, warmTabs: settings.warmTabs,
                        leasesPerInstanceMax: settings.leasesPerInstanceMax, waitingMax: settings.waitingMax))))
        (orders, ordering) = AsyncStream.makeStream()
    }

    // MARK: Leases

    func lease(within limit: Duration) async throws(BrowserPoolError) -> BrowserTab {
        let start = ContinuousClock.now
        let id = waiterIDs.add(1, ordering: .relaxed).newValue
        var alarm: Task<Void, Never>?
        defer { alarm?.cancel() }
        let answer: Lease = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                ask(id, continuation)
                // The handler may have run just before there was anything to cancel.
                if Task.isCancelled { turnAway(id, Self.cancelled) }
                // Not before it can find the waiter: an alarm that goes off too early does not go off again.
                alarm = Task {
                    // Woken by its cancellation too: then nobody waits any more.
                    do { try await Task.sleep(for: limit) } catch { return }
                    turnAway(id, BrowserPoolError(.exhausted, "no tab became free within \(limit)"))
                }
            }
        } onCancel: {
            turnAway(id, Self.cancelled)
        }
        let tab = try answer.get()
        metrics.leased(after: .now - start)
        return tab
    }

    func giveBack(_ tab: BrowserTab) {
        if tab.egress.refusedCount > 0 {
            inner.withLock { $0.counts.refusedConnections += tab.egress.refusedCount }
        }
        apply { $0.giveBack(tab.number) }
    }

    private static let cancelled = BrowserPoolError(.cancelled, "the task was cancelled")

    private func ask(_ id: UInt64, _ continuation: CheckedContinuation<Lease, Never>) {
        var refusal: BrowserPoolError?
        apply { state in
            if state.isClosed {
                refusal = BrowserPoolError(.closed, "the pool of browsers is closed")
            } else if let actions = state.ask(id) {
                return actions
            } else {
                refusal = BrowserPoolError(.exhausted, "\(settings.waitingMax) jobs wait for a tab already")
            }
            return []
        } before: { inner in
            inner.waiters[id] = continuation
        }
        guard let refusal else { return }
        _ = inner.withLock { $0.waiters.removeValue(forKey: id) }
        continuation.resume(returning: .failure(refusal))
    }

    private func turnAway(_ id: UInt64, _ error: BrowserPoolError) {
        let waiter = inner.withLock { inner in
            inner.state.giveUp(id) ? inner.waiters.removeValue(forKey: id) : nil
        }
        waiter?.resume(returning: .failure(error))
    }

    // MARK: Events and orders

    /// Tells the state what happened, and sees to what it decides.
    private func apply(
        _ event: (inout PoolState) -> [PoolState.Action], before prepare: (inout Inner) -> Void = { _ in }
    ) {
        let (answers, rest, isOver) = inner.withLock { inner in
            prepare(&inner)
            let actions = event(&inner.state)
            var answers: [(CheckedContinuation<Lease, Never>, Lease)] = []
            var rest: [PoolState.Action] = []
            for action in actions {
                switch action {
                case .lend(let number, let waiter):
                    guard let tab = inner.tabs[number], let waiter = inner.waiters.removeValue(forKey: waiter) else {
                        preconditionFailure("what is lent is open, and who is served waits")
                    }
                    inner.counts.leases += 1
                    answers.append((waiter, .success(tab)))
                case .noteRecycling:
                    inner.counts.recycles += 1
                    metrics.recycled(.leases)
                case .refuse(let waiters):
                    let error = Self.refusal(inner)
                    answers += waiters.compactMap { inner.waiters.removeValue(forKey: $0) }.map {
                        ($0, .failure(error))
                    }
                case .startInstance, .endInstance, .openTab, .closeTab: rest.append(action)
                }
            }
            return (answers, rest, inner.state.isClosed && inner.state.instances.isEmpty)
        }
        for (waiter, answer) in answers { waiter.resume(returning: answer) }
        for action in rest { ordering.yield(action) }
        if isOver { ordering.finish() }
        metrics.show(status)
    }

    private static func refusal(_ inner: Inner) -> BrowserPoolError {
        if inner.state.isClosed { return BrowserPoolError(.closed, "the pool of browsers was closed") }
        return inner.launchError ?? BrowserPoolError(.launchFailed, "browsers run, but open no tabs")
    }

    var status: BrowserPoolStatus {
        inner.withLock { inner in
            var status = inner.counts
            status.instances = inner.state.instances.count
            status.tabs = inner.state.tabs.count
            status.warm = inner.state.warm.count
            status.leased = inner.state.tabs.values.count { $0.phase == .leased }
            status.waiting = inner.state.waiters.count
            status.memoryBytes = inner.state.instances.values.reduce(0) { $0 + $1.memoryBytes }
            status.processes = inner.state.instances.values.reduce(0) { $0 + $1.processes }
            return status
        }
    }

    /// Of the browsers that have started.
    var processes: [Int32] { inner.withLock { inner in inner.instances.values.compactMap(\.processID) } }

    /// Works until the pool is closed and nothing of it is left.
    func run() async {
        await withDiscardingTaskGroup { group in
            for await order in orders { group.addTask { await self.carryOut(order) } }
        }
        await surroundings.keeper.close()
        await surroundings.proxy.close()
        await onThread("removing the profiles") { [profiles] in try profiles.removeAll() }
        await threads.close()
    }

    func close() { apply { $0.isClosed ? [] : $0.close() } }

    private func carryOut(_ order: PoolState.Action) async {
        switch order {
        case .startInstance(let number): await live(number)
        case .endInstance(let number):
            inner.withLock { $0.instances[number] }?.connection.close("the browser was ended by its pool")
        case .openTab(let tab, let instance): await open(tab, instance)
        case .closeTab(let tab): await close(tab)
        case .lend, .refuse, .noteRecycling: break
        }
    }

    // MARK: Tabs

    private func open(_ number: Int, _ instanceNumber: Int) async {
        guard let instance = inner.withLock({ $0.instances[instanceNumber] }) else { return }
        do {
            let tab = try await instance.openTab(number) { [weak self] in self?.crashed(number) }
            apply {
                $0.opened(number)
            } before: {
                $0.tabs[number] = tab
            }
        } catch let error as DevToolsError where error.reason == .closed {
            // With its browser, whose end says what becomes of its tabs.
        } catch {
            inner.withLock { inner in
                inner.launchError = BrowserPoolError(.launchFailed, "a browser opens no tabs: \(error)")
            }
            if inner.withLock({ $0.state.isWanted(instanceNumber) }) { metrics.recycled(.trouble) }
            apply { $0.openingFailed(number) }
        }
    }

    private func crashed(_ number: Int) {
        metrics.crashed(.tab)
        inner.withLock { $0.counts.tabCrashes += 1 }
        apply { $0.crashed(number) }
    }

    private func close(_ number: Int) async {
        let (tab, instance) = inner.withLock { inner in
            let tab = inner.tabs.removeValue(forKey: number)
            return (tab, inner.state.tabs[number].map { $0.instance }.flatMap { inner.instances[$0] })
        }
        guard let tab else { return }
        tab.retire()
        if let instance {
            do { try await instance.close(tab) } catch {
                // It may still hold what was the job's: nobody else gets a tab of this browser.
                recycle(instance.number, .trouble)
            }
        }
        apply { $0.closed(number) }
    }

    // MARK: Instances

    private func recycle(_ number: Int, _ reason: BrowserMetrics.Recycling) {
        guard inner.withLock({ $0.state.instances[number]?.phase == .ready }) else { return }
        metrics.recycled(reason)
        inner.withLock { $0.counts.recycles += 1 }
        apply { $0.drain(number) }
    }

    /// The life of a browser, from its profile to the removal of it.
    private func live(_ number: Int) async {
        let start = ContinuousClock.now
        let hasStarted = Flag()
        do {
            let owner = surroundings.account.map { ($0.userID, $0.groupID) }
            let profile = try await threads.run { [profiles] in try profiles.make(number, owner: owner) }
            let instance = try BrowserInstance(number, profile: profile, surroundings)
            inner.withLock { $0.instances[number] = instance }
            if inner.withLock({ !$0.state.isWanted(number) }) { instance.connection.close("the pool was closed") }
            await withTaskGroup(of: Void.self) { group in
                group.addTask { [self] in
                    let error = await instance.run()
                    if !hasStarted.isSet { inner.withLock { $0.launchError = error } }
                }
                group.addTask { _ = await instance.connection.waitUntilClosed() }
                group.addTask { [self] in
                    do {
                        try await instance.start()
                        hasStarted.set()
                        metrics.started(after: .now - start)
                        apply { $0.started(number) }
                        try await watch(instance, since: start)
                    } catch {
                        apply { $0.lost(number) }
                        instance.connection.close("the browser does not answer: \(error)")
                    }
                }
                // The first to end ends the others: there is no browser without its process, nor one without answers.
                await group.next()
                instance.connection.close("the browser was ended")
                group.cancelAll()
            }
        } catch {
            inner.withLock { inner in
                inner.launchError =
                    error as? BrowserPoolError ?? BrowserPoolError(.launchFailed, "no browser can be started: \(error)")
            }
        }
        bury(number, hasStarted.isSet)
        await onThread("removing a profile") { [profiles] in try profiles.remove(number) }
        apply {
            $0.ended(number, wasStarting: !hasStarted.isSet)
        }
    }

    /// Lets go of what a browser that is gone had.
    private func bury(_ number: Int, _ hadStarted: Bool) {
        let (tabs, wasWanted) = inner.withLock { inner in
            inner.instances[number] = nil
            let numbers = inner.state.tabs.filter { $0.value.instance == number }.keys
            // Removed from here, closed below; a job that still has one notices by its commands.
            return (numbers.compactMap { inner.tabs.removeValue(forKey: $0) }, inner.state.isWanted(number))
        }
        for tab in tabs { tab.retire() }
        if wasWanted && hadStarted {
            metrics.crashed(.instance)
            inner.withLock { $0.counts.instanceCrashes += 1 }
        }
    }

    /// Looks at a browser from time to time, until it does not answer or is too large.
    private func watch(_ instance: BrowserInstance, since start: ContinuousClock.Instant) async throws {
        while true {
            try await Task.sleep(for: settings.checkInterval)
            try await instance.check()
            if let process = instance.processID {
                let (bytes, processes) = try await threads.run { ProcessTreeMemory.size(of: process) }
                apply { state in
                    state.measured(instance.number, bytes: bytes, processes: processes)
                    return []
                }
                // One that is too large before its first lease would be followed by another that is.
                let isUsed = inner.withLock { ($0.state.instances[instance.number]?.leases ?? 0) > 0 }
                if isUsed, bytes > settings.instanceMemoryBytesMax { recycle(instance.number, .memory) }
                if bytes > 2 * settings.instanceMemoryBytesMax {
                    throw BrowserPoolError(.launchFailed, "its processes hold \(bytes) bytes")
                }
            }
            if .now - start > settings.instanceAgeMax { recycle(instance.number, .age) }
        }
    }

    /// For what must not stop the pool: what is left behind is removed by the next one.
    private func onThread(_ what: String, _ body: @escaping @Sendable () throws -> Void) async {
        do { try await threads.run(body) } catch { metrics.crashed(.removal) }
    }

    private final class Flag: Sendable {
        private let value = Atomic(false)
        var isSet: Bool { value.load(ordering: .acquiring) }
        func set() { value.store(true, ordering: .releasing) }
    }
}
