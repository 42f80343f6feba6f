import FleetWorker
import Testing

@Suite("The pace of batches")
struct PaceTests {
    /// Begins a batch of `count` every `interval`, each done in 1 ms.
    ///
    /// - Returns: for each batch, how long after its begin the next may begin; nil for at once.
    private func pauses(of count: Int, every interval: Duration, times: Int, isFull: Bool = false) -> [Duration?] {
        var now = ContinuousClock.now
        var pace = Pace(now: now)
        return (0..<times).map { _ in
            defer { now += interval }
            let next = pace.next(after: count, begunAt: now, now: now + .milliseconds(1), isFull: isFull)
            return next.map { $0 - now }
        }
    }

    @Test("Below the rate each batch goes at once, however many batches there are")
    func idle() {
        #expect(pauses(of: 1, every: .milliseconds(2), times: 500).allSatisfy { $0 == nil })
        #expect(pauses(of: 30, every: .milliseconds(20), times: 100).allSatisfy { $0 == nil })
    }

    @Test("Above it small batches wait, and soon")
    func busy() {
        let pauses = pauses(of: 8, every: .milliseconds(2), times: 100)
        #expect(pauses[30...].allSatisfy { $0 == .milliseconds(16) })
    }

    @Test("A full batch never waits: its successor is there already")
    func full() {
        #expect(pauses(of: 500, every: .milliseconds(10), times: 100, isFull: true).allSatisfy { $0 == nil })
    }

    @Test("When the load is gone, waiting is")
    func calm() {
        var now = ContinuousClock.now
        var pace = Pace(now: now)
        for _ in 0..<100 {
            _ = pace.next(after: 100, begunAt: now, now: now, isFull: false)
            now += .milliseconds(10)
        }
        #expect(pace.isBusy)
        now += .seconds(1)
        #expect(pace.next(after: 1, begunAt: now, now: now, isFull: false) == nil)
    }
}
