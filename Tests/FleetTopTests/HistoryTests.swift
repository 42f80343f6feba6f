import FleetStore
import Testing

@testable import FleetTop

@Suite("Rates from counts that grow")
struct HistoryTests {
    private func history(_ looks: [[WorkerRecord]]) -> History {
        var history = History()
        for (index, workers) in looks.enumerated() { history.add(ledger(workers), at: Double(index)) }
        return history
    }

    @Test("A rate is what two reports differ by, over the time between them by the database's clock")
    func rate() throws {
        let history = history([
            [worker(reported: 100, load: [tally("api", ended: 50, failed: 1, retried: 10)])],
            [worker(reported: 104, load: [tally("api", ended: 90, failed: 3, retried: 10)])],
        ])
        let rates = try #require(history.rates["api"])
        #expect((rates.ended, rates.failed, rates.retried) == (10, 0.5, 0))
        #expect(history.ended(worker: 1) == 10)
        #expect(history.curve == [10])
    }

    @Test("Before a second report, and of a worker that tells no counts, nothing is known")
    func unknown() throws {
        let silent = WorkerLoad.Subsystem(name: "api", busy: 0, slots: 1, waiting: 0)
        let once = history([[worker(load: [tally("api", ended: 5)])]])
        #expect(once.rates["api"]?.ended == nil && once.rates["api"]?.silent == 1 && once.curve.isEmpty)
        let old = history([[worker(reported: 1, load: [silent])], [worker(reported: 2, load: [silent])]])
        #expect(old.rates["api"]?.ended == nil && old.ended(worker: 1) == nil)
        // Beside one that tells, it is so much at least.
        let mixed = history(
            [1.0, 2].map { at in
                [
                    worker(id: 1, reported: at, load: [silent]),
                    worker(id: 2, reported: at, load: [tally("api", ended: Int(at) * 7)]),
                ]
            })
        #expect(mixed.rates["api"]?.ended == 7 && mixed.rates["api"]?.silent == 1)
    }

    @Test("The same report seen twice changes nothing")
    func unchanged() {
        let first = worker(reported: 100, load: [tally("api", ended: 0)])
        let second = worker(reported: 110, load: [tally("api", ended: 100)])
        let history = history([[first], [first], [second], [second], [second]])
        #expect(history.rates["api"]?.ended == 10)
    }

    @Test("A worker whose counts have fallen has begun anew: what it counts since was done since")
    func restarted() {
        let history = history([
            [worker(reported: 100, load: [tally("api", ended: 1_000, runs: [.seconds(1)])])],
            [worker(reported: 101, load: [tally("api", ended: 1_010, runs: [.seconds(1)])])],
            [worker(reported: 103, load: [tally("api", ended: 6)])],
        ])
        #expect(history.rates["api"]?.ended == 3)
    }

    @Test("A worker that has started since the last look has done in between all that it has done")
    func joined() {
        let old = worker("a", id: 1, reported: 100, load: [tally("file", ended: 0)])
        let history = history([
            [old],
            [old, worker("b", id: 2, started: 101, reported: 103, load: [tally("api", ended: 8)])],
        ])
        #expect(history.rates["api"]?.ended == 4)
        // One that was there before and was not seen has not.
        let late = self.history([
            [old], [old, worker("b", id: 2, started: 50, reported: 103, load: [tally("api", ended: 8)])],
        ])
        #expect(late.rates["api"]?.ended == nil)
    }

    @Test("What is gone or has fallen silent counts no more")
    func gone() {
        let looks = [100.0, 101].map { [worker(reported: $0, load: [tally("api", ended: Int($0))])] }
        #expect(history(looks).rates["api"]?.ended == 1)
        #expect(history(looks + [[worker(state: "gone", reported: 101)]]).rates["api"] == nil)
        let silent = worker(reported: 101, now: 120, load: [tally("api", ended: 101)])
        #expect(history(looks + [[silent]]).rates["api"] == nil)
    }

    @Test("Rates are of the last ten seconds, however long it is watched, and its memory does not grow")
    func window() {
        var history = History()
        for second in 0..<1_000 {
            // A hundred a second until the last ten seconds, then one.
            let ended = second < 989 ? second * 100 : 98_900 + (second - 989)
            history.add(
                ledger([worker(reported: Double(second), load: [tally("api", ended: ended)])]), at: Double(second))
        }
        #expect(history.rates["api"]?.ended == 1)
        #expect(history.curve.count == History.curveMax)
    }

    @Test("Latencies of several workers are of all their jobs in that time, and of no earlier ones")
    func latencies() throws {
        let before = [Duration](repeating: .seconds(30), count: 50)
        let history = history([
            [worker(id: 1, reported: 100, load: [tally("api", ended: 0, runs: before)]), worker(id: 2, reported: 100)],
            [
                worker(
                    id: 1, reported: 101,
                    load: [
                        tally("api", ended: 0, runs: before + Array(repeating: .milliseconds(5), count: 90))
                    ]),
                worker(
                    id: 2, reported: 101,
                    load: [
                        tally("api", ended: 0, runs: Array(repeating: .milliseconds(500), count: 10))
                    ]),
            ],
        ])
        let run = try #require(history.rates["api"]?.run)
        #expect(run.total == 100)
        #expect((0.004...0.0063).contains(try #require(run.quantile(0.5))))
        #expect((0.4...0.63).contains(try #require(run.quantile(0.95))))
    }

    @Test("Jobs that were given up are counted from when it was first watched, for a minute")
    func dead() {
        var history = History()
        for (at, dead) in [(0.0, 7), (30, 9), (59, 12)] { history.add(ledger([]) { $0.dead = dead }, at: at) }
        #expect(history.deadGrowth == 5)
        history.add(ledger([]) { $0.dead = 12 }, at: 200)
        #expect(history.deadGrowth == 0)
    }
}
