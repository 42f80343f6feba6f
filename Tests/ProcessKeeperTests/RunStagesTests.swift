import Testing

@testable import ProcessKeeper

@Suite("Stages of a run")
struct RunStagesTests {
    private let start = ContinuousClock.now

    private func stages() -> RunStages { RunStages(start: start, timeout: .seconds(10), grace: .seconds(2)) }

    @Test("It is told to end at its time, killed after the grace, and given up after patience")
    func timeout() {
        var stages = stages()
        #expect(stages.tick(start + .seconds(9)) == nil)
        #expect(stages.tick(start + .seconds(10)) == .terminate)
        #expect(stages.cause == .timeout && stages.deadline == start + .seconds(12))
        #expect(stages.tick(start + .seconds(11)) == nil)
        #expect(stages.tick(start + .seconds(12)) == .kill)
        #expect(stages.tick(start + .seconds(12) + RunStages.patience) == .giveUp)
        #expect(stages.stage == .lost)
        #expect(stages.tick(start + .seconds(1000)) == nil)
    }

    @Test("The first cause stays; a stop without grace kills at once")
    func stops() {
        var stages = stages()
        #expect(stages.stop(.cancelled, isPolite: true, at: start) == .terminate)
        #expect(stages.stop(.timeout, isPolite: true, at: start) == nil)
        #expect(stages.stop(.timeout, isPolite: false, at: start) == .kill)
        #expect(stages.stop(.timeout, isPolite: false, at: start) == nil)
        #expect(stages.cause == .cancelled)
        var graceless = RunStages(start: start, timeout: .seconds(10), grace: .zero)
        #expect(graceless.stop(.cancelled, isPolite: true, at: start) == .kill)
    }
}
