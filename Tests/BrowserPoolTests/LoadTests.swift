import BrowserLoad
import BrowserPool
import Testing

extension Browsers {
    @Test("What is measured is measured, and a few leases leave processes, descriptors and files where they were")
    func load() async throws {
        try await Self.withParent { parent in
            var settings = try Self.settings()
            settings.profileParent = parent
            let figures = try await BrowserLoad.measure(
                settings, tabs: 3, leases: 10, warm: 2, idle: 2,
                visits: BrowserFloor.Visits(url: "data:text/html,<p>a", count: 3, screenshots: 2, slots: 2))
            // The figures are for a machine that does nothing else; here only that nothing stands still.
            #expect(
                figures.coldLease > 0 && figures.coldTabs > 0 && figures.coldPages > 0 && figures.leasesPerSecond > 0)
            #expect(figures.leaseMedian <= figures.leaseP99 && figures.leaseP99 <= figures.leaseMax)
            #expect(figures.floor.coldTabs > 0 && figures.floor.coldPages > 0 && figures.floor.tabMedian > 0)
            #expect(figures.floor.visits > 0 && figures.floor.warmVisits > 0 && figures.floor.screenshots > 0)
            #expect(figures.before.processes > 4 && figures.before.memoryBytes > 0)
            #expect(figures.after.processes <= figures.before.processes + 1)
            #expect(figures.after.descriptors <= figures.before.descriptors + 1)
        }
    }
}
