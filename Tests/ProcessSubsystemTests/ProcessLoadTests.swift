import ProcessLoad
import Testing

@Suite("Load of process jobs", .timeLimit(.minutes(1)))
struct ProcessLoadTests {
    @Test("Two hundred programs at once end well, all of them")
    func concurrent() async throws {
        let figures = try await ProcessLoad.concurrent(processes: 200, rounds: 1)
        #expect(figures.processes == 200 && figures.floor.median > 0)
        // The figure is for `gaia bench`, on a machine that does nothing else; here only that nothing stands still.
        #expect(figures.jobs.median < 20_000)
    }
}
