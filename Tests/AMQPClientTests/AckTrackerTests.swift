import AMQPClient
import FleetModel
import Testing

@Suite struct AckTrackerTests {
    private func tracker(_ tags: ClosedRange<UInt64>) -> AckTracker {
        var tracker = AckTracker()
        for tag in tags { tracker.delivered(tag) }
        return tracker
    }

    private func acknowledge(_ tag: UInt64, _ tracker: inout AckTracker, isNews: Bool = true) {
        let wasNews = tracker.acknowledge(tag)
        #expect(wasNews == isNews)
    }

    private func reject(_ tag: UInt64, requeue: Bool, _ tracker: inout AckTracker, isNews: Bool = true) {
        let wasNews = tracker.reject(tag, requeue: requeue)
        #expect(wasNews == isNews)
    }

    private func commands(_ tracker: inout AckTracker, force: Bool = false) -> [AckCommand] {
        var commands: [AckCommand] = []
        tracker.takeCommands(force: force, into: &commands)
        return commands
    }

    @Test func `a finished prefix goes out as one multiple acknowledgement, whatever the order it finished in`() {
        var tracker = tracker(1...5)
        for tag: UInt64 in [3, 1, 2] { acknowledge(tag, &tracker) }
        #expect(commands(&tracker) == [.acknowledge(3, multiple: true)])
        #expect(tracker.unsettled == 2)
    }

    @Test func `what finished behind a gap is held until the gap closes`() {
        var tracker = tracker(1...4)
        for tag: UInt64 in [2, 3] { acknowledge(tag, &tracker) }
        #expect(commands(&tracker) == [])
        #expect(tracker.isHolding)
        acknowledge(1, &tracker)
        #expect(commands(&tracker) == [.acknowledge(3, multiple: true)])
        #expect(!tracker.isHolding)
    }

    @Test func `force sends what is held one by one and leaves the gap open`() {
        var tracker = tracker(1...4)
        for tag: UInt64 in [2, 4] { acknowledge(tag, &tracker) }
        #expect(
            commands(&tracker, force: true) == [.acknowledge(2, multiple: false), .acknowledge(4, multiple: false)])
        #expect(!tracker.isHolding)
        for tag: UInt64 in [1, 3] { acknowledge(tag, &tracker) }
        // 4 was told already; naming it again would be refused by the broker and close the channel.
        #expect(commands(&tracker) == [.acknowledge(3, multiple: true)])
    }

    @Test func `a rejected delivery is told at once and never covered by name`() {
        var tracker = tracker(1...3)
        reject(3, requeue: false, &tracker)
        acknowledge(1, &tracker)
        acknowledge(2, &tracker)
        #expect(commands(&tracker) == [.reject(3, requeue: false), .acknowledge(2, multiple: true)])
        #expect(tracker.unsettled == 0)
    }

    @Test func `a tag that was settled or never delivered is ignored`() {
        var tracker = tracker(1...2)
        acknowledge(1, &tracker)
        acknowledge(1, &tracker, isNews: false)
        reject(1, requeue: true, &tracker, isNews: false)
        acknowledge(9, &tracker, isNews: false)
        #expect(commands(&tracker) == [.acknowledge(1, multiple: false)])
        #expect(commands(&tracker, force: true) == [])
    }

    /// A model of the broker: every tag must be told exactly once, and `multiple` must name an open tag.
    @Test(arguments: 0..<20) func `random settling tells every delivery exactly once`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var tracker = AckTracker()
        var open: Set<UInt64> = []
        var unsettled: [UInt64] = []
        var next: UInt64 = 1
        for _ in 0..<2000 {
            for _ in 0..<Int.random(in: 0...5, using: &random) where unsettled.count < 50 {
                tracker.delivered(next)
                open.insert(next)
                unsettled.append(next)
                next += 1
            }
            for _ in 0..<Int.random(in: 0...5, using: &random) where !unsettled.isEmpty {
                let tag = unsettled.remove(at: Int.random(in: 0..<min(unsettled.count, 8), using: &random))
                let done = Bool.random(using: &random) || tag % 3 != 0
                let isNews = done ? tracker.acknowledge(tag) : tracker.reject(tag, requeue: true)
                #expect(isNews)
            }
            for command in commands(&tracker, force: Int.random(in: 0..<7, using: &random) == 0) {
                switch command {
                case .reject(let tag, _), .acknowledge(let tag, multiple: false):
                    let wasOpen = open.remove(tag) != nil
                    #expect(wasOpen)
                case .acknowledge(let tag, multiple: true):
                    #expect(open.contains(tag))
                    open = open.filter { $0 > tag }
                }
            }
            #expect(tracker.unsettled == unsettled.count)
            #expect(Set(unsettled).isSubset(of: open))
        }
        _ = commands(&tracker, force: true)
        for tag in unsettled { acknowledge(tag, &tracker) }
        #expect(commands(&tracker).count <= 1 + 50)
    }
}
