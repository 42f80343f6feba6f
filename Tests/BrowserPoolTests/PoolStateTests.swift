import Testing

@testable import BrowserPool

@Suite("What a pool decides")
struct PoolStateTests {
    private func state(_ change: (inout PoolState.Limits) -> Void = { _ in }) -> PoolState {
        var limits = PoolState.Limits(
            instancesMax: 2, tabsMax: 6, tabsPerInstanceMax: 4, warmTabs: 1, leasesPerInstanceMax: 100, waitingMax: 10)
        change(&limits)
        return PoolState(limits)
    }

    @Test("Nothing is started before the first job, and then what it needs and one more")
    func start() {
        var state = state()
        #expect(state.instances.isEmpty)
        #expect(state.ask(1) == [.startInstance(1)])
        #expect(state.started(1) == [.openTab(1, instance: 1), .openTab(2, instance: 1)])
        #expect(state.opened(1) == [.lend(tab: 1, waiter: 1)])
        #expect(state.opened(2) == [])
        #expect(state.warm == [2])
        #expect(state.ask(2) == [.lend(tab: 2, waiter: 2), .openTab(3, instance: 1)])
    }

    @Test("Never more tabs than may be, in one browser and in all")
    func limits() {
        var state = state { $0.warmTabs = 0 }
        var opened = 0
        var pending = (1...10).flatMap { state.ask($0) ?? [] }
        while let action = pending.popLast() {
            switch action {
            case .startInstance(let number): pending += state.started(number)
            case .openTab(let tab, _):
                opened += 1
                pending += state.opened(tab)
            default: break
            }
            #expect(state.tabs.count <= 6 && state.instances.count <= 2)
            #expect(state.instances.values.allSatisfy { $0.tabs <= 4 })
        }
        #expect(opened == 6 && state.waiters == [7, 8, 9, 10])
        #expect(state.giveBack(1) == [.closeTab(1)])
        #expect(state.closed(1).contains { if case .openTab = $0 { true } else { false } })
        #expect(state.ask(11) != nil)
    }

    @Test("While a tab is lent few are kept ready; then all, and as soon as half of them are there a few at a time")
    func pace() {
        var state = state {
            $0.tabsMax = 100
            $0.tabsPerInstanceMax = 100
            $0.warmTabs = 20
        }
        /// Opens what is to be opened, and returns the most that was under way with this many warm already.
        func open(_ actions: [PoolState.Action], from warm: Int = 0) -> Int {
            var opening = actions.filter { if case .openTab = $0 { true } else { false } }
            var most = 0
            while case .openTab(let tab, _) = opening.first {
                opening.removeFirst()
                opening += state.opened(tab).filter { if case .openTab = $0 { true } else { false } }
                if state.warm.count >= warm { most = max(most, opening.count) }
            }
            return most
        }
        _ = state.ask(1)
        let first = state.started(1)
        #expect(first.count == PoolState.openingMax)
        _ = open(first)
        #expect(state.warm.count == PoolState.openingMax)
        let rest = state.giveBack(1)
        #expect(rest.count { if case .openTab = $0 { true } else { false } } == PoolState.openingMax)
        // What was under way in a hurry is done by then.
        #expect(open(rest, from: 10 + PoolState.openingMax) <= PoolState.openingUnhurriedMax)
        #expect(state.warm.count == 20)
    }

    @Test("A browser drains: its warm tabs go, its lent ones stay, and it ends with the last")
    func drain() {
        var state = state()
        _ = state.ask(1)
        _ = state.started(1)
        _ = state.opened(1)
        _ = state.opened(2)
        #expect(state.drain(1) == [.closeTab(2), .startInstance(2)])
        #expect(state.drain(1) == [], "once")
        #expect(state.closed(2) == [])
        _ = state.giveBack(1)
        #expect(state.closed(1) == [.endInstance(1)])
        #expect(state.isWanted(1) == false && state.isWanted(2))
        #expect(state.ended(1, wasStarting: false) == [])
        #expect(state.started(2) == [.openTab(3, instance: 2)])
    }

    @Test("A tab that is ready when its browser drains already goes at once")
    func lateTab() {
        var state = state { $0.warmTabs = 0 }
        _ = state.ask(1)
        _ = state.started(1)
        #expect(state.drain(1) == [.startInstance(2)])
        #expect(state.opened(1) == [.closeTab(1)])
        #expect(state.waiters == [1])
    }

    @Test("What dies with its browser is forgotten, and who waits gets another")
    func death() {
        var state = state()
        _ = state.ask(1)
        _ = state.started(1)
        _ = state.opened(1)
        _ = state.opened(2)
        #expect(state.ended(1, wasStarting: false) == [.startInstance(2)])
        #expect(state.tabs.isEmpty && state.warm.isEmpty)
        #expect(state.giveBack(1) == [] && state.closed(1) == [] && state.crashed(2) == [])
    }

    @Test("When no browser starts, all who wait are refused, and only the next job tries again")
    func refusal() {
        var state = state()
        _ = state.ask(1)
        _ = state.ask(2)
        #expect(state.ended(1, wasStarting: true) == [.refuse([1, 2])])
        #expect(state.ask(3) == [.startInstance(2)])
    }

    @Test("When tabs cannot be opened again and again, those who wait are refused")
    func noTabs() {
        var state = state { $0.warmTabs = 0 }
        var refusals = 0
        var actions = state.ask(1) ?? []
        for _ in 0..<20 {
            guard let action = actions.first else { break }
            actions.removeFirst()
            switch action {
            case .startInstance(let number): actions += state.started(number)
            case .openTab(let tab, _): actions += state.openingFailed(tab)
            case .endInstance(let number): actions += state.ended(number, wasStarting: false)
            case .refuse: refusals += 1
            default: break
            }
        }
        #expect(refusals == 1 && actions.isEmpty && state.waiters.isEmpty)
    }

    @Test("A warm tab that crashes is replaced; a lent one is its job's to notice")
    func crash() {
        var state = state()
        _ = state.ask(1)
        _ = state.started(1)
        _ = state.opened(1)
        _ = state.opened(2)
        #expect(state.crashed(1) == [])
        #expect(state.crashed(2) == [.closeTab(2), .openTab(3, instance: 1)])
    }

    @Test("Of a browser that answers no more nobody gets a tab, though it has not ended yet")
    func lost() {
        var state = state()
        _ = state.ask(1)
        _ = state.started(1)
        _ = state.opened(1)
        _ = state.opened(2)
        #expect(state.warm == [2])
        #expect(state.lost(1) == [.startInstance(2)] && state.warm == [])
        #expect(state.ask(2) == [] && state.waiters == [2])
        #expect(state.isWanted(1), "it ends unasked")
        #expect(state.ended(1, wasStarting: false) == [] && state.tabs.isEmpty)
        #expect(state.started(2) == [.openTab(3, instance: 2), .openTab(4, instance: 2)])
        #expect(state.opened(3) == [.lend(tab: 3, waiter: 2)])
    }

    @Test("After its leases a browser takes no more")
    func leases() {
        var state = state { $0.leasesPerInstanceMax = 2 }
        _ = state.ask(1)
        _ = state.started(1)
        _ = state.opened(1)
        _ = state.opened(2)
        let actions = state.ask(2)
        #expect(actions == [.lend(tab: 2, waiter: 2), .noteRecycling(1), .startInstance(2)])
        #expect(state.giveBack(1) == [.closeTab(1)] && state.giveBack(2) == [.closeTab(2)])
        #expect(state.closed(1) == [] && state.closed(2) == [.endInstance(1)])
    }

    @Test("Closing refuses who waits and ends all browsers, and nothing begins after it")
    func close() {
        var state = state()
        _ = state.ask(1)
        #expect(state.close() == [.refuse([1]), .endInstance(1)])
        #expect(state.started(1) == [] && state.ended(1, wasStarting: true) == [])
        #expect(!state.isWanted(1))
    }
}
