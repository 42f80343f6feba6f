import AMQPClient
import Testing

@Suite struct ConfirmTrackerTests {
    private func settled(_ tracker: inout ConfirmTracker<Int>, _ number: UInt64, _ multiple: Bool) -> [Int] {
        var settled: [Int] = []
        tracker.settle(number, multiple: multiple) { settled.append($0) }
        return settled
    }

    @Test func `a multiple confirm settles everything up to its number in order`() {
        var tracker = ConfirmTracker<Int>(window: 10)
        for ticket in 1...5 { tracker.sent(ticket * 10) }
        #expect(settled(&tracker, 2, false) == [20])
        #expect(settled(&tracker, 4, true) == [10, 30, 40])
        #expect(tracker.open == 1)
        #expect(settled(&tracker, 0, true) == [50])
    }

    @Test func `repeated and unknown numbers are ignored`() {
        var tracker = ConfirmTracker<Int>(window: 10)
        tracker.sent(1)
        #expect(settled(&tracker, 2, true) == [])
        #expect(settled(&tracker, 1, false) == [1])
        #expect(settled(&tracker, 1, false) == [])
        #expect(settled(&tracker, 1, true) == [])
        #expect(tracker.open == 0)
    }

    @Test func `the window bounds what is open, and one stuck message does not stop the rest at once`() {
        var tracker = ConfirmTracker<Int>(window: 2)
        tracker.sent(0)
        tracker.sent(1)
        #expect(!tracker.hasRoom)
        var passed = 0
        while !tracker.hasRoom || passed == 0 || tracker.open < 2 {
            #expect(settled(&tracker, UInt64(passed + 2), false).count == 1)
            guard tracker.hasRoom else { break }
            tracker.sent(passed + 2)
            passed += 1
        }
        // The ring spans four windows rounded up to a power of two.
        #expect(passed == 6)
        #expect(settled(&tracker, 1, false) == [0])
        #expect(tracker.hasRoom)
    }

    @Test func `numbers run on over many turns of the ring`() {
        var tracker = ConfirmTracker<Int>(window: 3)
        var number: UInt64 = 0
        for round in 0..<1000 {
            number = tracker.sent(round)
            #expect(settled(&tracker, number, round % 2 == 0) == [round])
        }
        #expect(number == 1000)
    }

    @Test func `returns are found in publishing order, so that twins are told apart`() {
        var tracker = ConfirmTracker<String>(window: 10)
        for ticket in ["a", "b", "a", "c"] { tracker.sent(ticket) }
        expectReturn(of: "a", "a", &tracker)
        expectReturn(of: "a", "a", &tracker)
        expectReturn(of: "a", nil, &tracker)
        expectReturn(of: "b", nil, &tracker)
        expectReturn(of: "c", "c", &tracker)
    }

    @Test func `reset gives back what was open and begins at one`() {
        var tracker = ConfirmTracker<Int>(window: 10)
        for ticket in 1...4 { tracker.sent(ticket) }
        _ = settled(&tracker, 2, false)
        var lost: [Int] = []
        tracker.reset { lost.append($0) }
        #expect(lost == [1, 3, 4])
        let number = tracker.sent(9)
        #expect(number == 1)
    }

    private func expectReturn(of ticket: String, _ expected: String?, _ tracker: inout ConfirmTracker<String>) {
        let found = tracker.returned { $0 == ticket }
        #expect(found == expected)
    }
}
