import FleetModel
import FleetStore
import FleetWorker
import Testing

/// A moment of a test, which makes its own time.
private struct Time {
    private let begin = ContinuousClock.now
    func callAsFunction(_ milliseconds: Int) -> ContinuousClock.Instant { begin + .milliseconds(milliseconds) }
}

extension [LimitOutcome] {
    fileprivate var done: [Int64] { filter { if case .success = $0.result { true } else { false } }.map(\.id) }
    fileprivate var failures: [Int64: LimitError] {
        Dictionary(
            uniqueKeysWithValues: compactMap { if case .failure(let error) = $0.result { ($0.id, error) } else { nil } }
        )
    }
}

@Suite("Units of a rate in one worker")
struct RateLineTests {
    private static let rule = LimitRule(name: "n", rate: 100, burst: 10)

    private func line(_ time: Time) -> RateLine { RateLine("n", Self.rule, now: time(0)) }

    @Test("Those who wait are served in order, each when its unit has come, and a newcomer does not overtake them")
    func order() throws {
        let time = Time()
        var line = line(time)
        for id in 1...3 as ClosedRange<Int64> {
            #expect(line.wait(id, units: 1, within: .seconds(5), now: time(0)) == nil)
        }
        let asked = line.ask(time(0))
        let question = try #require(asked)
        #expect(question.first == 1 && question.more == 2 && question.wait == .seconds(5))
        #expect(line.ask(time(0)) == nil, "one question at a time")
        #expect(line.settle(.granted(units: 3, ahead: 0.02, rate: 100), time(5)).isEmpty)
        #expect(line.turn(time(34)).done.isEmpty)
        #expect(line.turn(time(35)).done == [1])
        #expect(line.spend(1, now: time(45)) == false, "two wait already")
        #expect(line.turn(time(54)).done == [2])
        #expect(line.turn(time(56)).done == [3])
        #expect(line.spend(1, now: time(60)) == false)
    }

    @Test("Units that nobody uses in time are not used any more, and are given back once")
    func lifetime() throws {
        let time = Time()
        var line = line(time)
        #expect(line.wait(1, units: 1, within: .seconds(5), now: time(0)) == nil)
        _ = line.ask(time(0))
        #expect(line.settle(.granted(units: 11, ahead: 0, rate: 100), time(0)).done.isEmpty)
        #expect(line.turn(time(10)).done == [1])
        // Numbers 2 to 6 are older than that by then, 7 to 11 are not.
        let late = time(60) + RateLine.lifetime
        #expect(line.spend(6, now: late) == false)
        #expect(line.spend(5, now: late) == true)
        _ = line.turn(late)
        let asked = line.ask(late + RateLine.tick)
        let back = try #require(asked)
        #expect(abs(back.unused - 5) < 0.001)
        _ = line.settle(.granted(units: 0, ahead: 0, rate: 100), late + RateLine.tick)
        #expect(line.ask(late + RateLine.tick * 5)?.unused ?? 0 == 0)
    }

    @Test("What is promised for later is not added to, and is given back when nobody waits for it any more")
    func promises() throws {
        let time = Time()
        var line = line(time)
        #expect(line.wait(1, units: 1, within: .seconds(5), now: time(0)) == nil)
        _ = line.ask(time(0))
        _ = line.settle(.granted(units: 1, ahead: 1, rate: 100), time(0))
        #expect(line.wait(2, units: 1, within: .seconds(5), now: time(0)) == nil)
        #expect(line.ask(time(0)) == nil, "that would be a second promise for later")
        #expect(line.ask(time(950))?.first == 1)
        _ = line.settle(.granted(units: 1, ahead: 2, rate: 100), time(950))
        line.abandon(1)
        line.abandon(2)
        // Units are given back a tick after the last were, at the earliest.
        #expect(line.ask(time(1_060))?.unused == 2)
    }

    @Test("A wait that is bound to be too long is refused at once, one that proves so when that is known")
    func refusals() throws {
        let time = Time()
        var line = line(time)
        guard case .busy(_, let pause) = line.wait(1, units: 120, within: .seconds(1), now: time(0)) else {
            Issue.record("110 units are all that can come in a second")
            return
        }
        #expect(abs(pause / .milliseconds(1_100) - 1) < 0.001)
        for (id, seconds) in [(2, 1), (3, 2), (4, 9)] as [(Int64, Int)] {
            #expect(line.wait(id, units: 1, within: .seconds(seconds), now: time(0)) == nil)
        }
        _ = line.ask(time(0))
        let refused = line.settle(.busy(pause: .seconds(3)), time(1))
        #expect(Set(refused.failures.keys) == [2, 3])
        #expect(line.ask(time(1))?.first == 1)
        #expect(line.turn(time(8_999)).failures.isEmpty)
        guard case .busy = line.turn(time(9_000)).failures[4] else {
            Issue.record("the wait went on")
            return
        }
    }

    @Test("Now or not at all is answered by one question, or at once where others wait")
    func impatience() throws {
        let time = Time()
        var line = line(time)
        #expect(line.wait(1, units: 1, within: .zero, now: time(0)) == nil)
        guard case .busy = line.wait(2, units: 1, within: .zero, now: time(0)) else {
            Issue.record("it stands behind another")
            return
        }
        #expect(line.ask(time(0))?.wait == .zero)
        #expect(line.turn(time(50)).isEmpty, "its question is under way")
        #expect(line.settle(.granted(units: 1, ahead: -1, rate: 100), time(60)).done == [1])
        #expect(line.wait(3, units: 1, within: .zero, now: time(60)) == nil)
        _ = line.ask(time(60))
        guard case .unavailable = line.fail("gone", retryAfter: .seconds(1), time(61)).failures[3] else {
            Issue.record("it was told nothing")
            return
        }
        #expect(line.wait(4, units: 1, within: .seconds(5), now: time(62)) == nil)
        #expect(line.ask(time(62)) == nil)
        #expect(line.ask(time(1_061)) != nil)
    }

    @Test("Who uses many is asked for a reserve before it is used up, in proportion to what it uses")
    func reserve() throws {
        let time = Time()
        var line = RateLine("n", LimitRule(name: "n", rate: 100_000, burst: 10_000), now: time(0))
        #expect(line.wait(1, units: 1, within: .seconds(5), now: time(0)) == nil)
        _ = line.ask(time(0))
        _ = line.settle(.granted(units: 500, ahead: -1, rate: 100_000), time(0))
        for _ in 0..<400 { #expect(line.spend(1, now: time(10)) == true) }
        _ = line.turn(time(20))
        #expect(line.isLow(time(20)))
        let asked = line.ask(time(20))
        let question = try #require(asked)
        // 401 in 20 ms, of which half counts at first: a tenth of a second's worth.
        #expect(question.first == 0 && abs(question.more - (1_002.5 - 99)) < 1)
        #expect(!line.isLow(time(20)), "it is asked already")
    }
}

@Suite("Places in one worker")
struct PlaceLineTests {
    private static let rule = LimitRule(name: "n", places: 10)

    private func line(_ time: Time) -> PlaceLine { PlaceLine("n", Self.rule, now: time(0)) }

    @Test("No more are used than the ledger says, in the order in which they were asked for")
    func share() throws {
        let time = Time()
        var line = line(time)
        #expect(line.enter(1) == false)
        for id in 2...5 as ClosedRange<Int64> { #expect(line.wait(id, within: .seconds(5), now: time(0)) == nil) }
        #expect(line.ask(time(0)) == PlacesQuestion(name: "n", rule: "n", used: 0, wanted: 4))
        #expect(line.settle(.share(2), time(1)).done == [2, 3])
        #expect(line.leave(2) == true)
        #expect(line.turn(time(2)).done == [4])
        for (number, isOurs) in [(3, true), (4, true), (3, false)] as [(Int64, Bool)] {
            #expect(line.leave(number) == isOurs)
        }
        #expect(line.turn(time(3)).done == [5])
    }

    @Test("While its word is under way a worker uses no more than it said, and after a failure neither")
    func underWay() throws {
        let time = Time()
        var line = line(time)
        #expect(line.wait(1, within: .seconds(5), now: time(0)) == nil)
        _ = line.ask(time(0))
        #expect(line.settle(.share(5), time(1)).done == [1])
        #expect(line.enter(2) == true)
        // It has five and says that it uses two; three may be taken from it by that.
        line.hint()
        #expect(line.ask(time(2))?.used == 2)
        #expect(line.enter(3) == false)
        #expect(line.fail("gone", retryAfter: .milliseconds(50), time(3)).isEmpty)
        #expect(line.enter(3) == false)
        #expect(line.ask(time(10)) == nil)
        #expect(line.ask(time(60))?.used == 2)
    }

    @Test("A place that came free is kept for the next job a while, but not when others want it")
    func spare() throws {
        let time = Time()
        var line = line(time)
        #expect(line.wait(1, within: .seconds(5), now: time(0)) == nil)
        _ = line.ask(time(0))
        _ = line.settle(.share(1), time(1))
        _ = line.leave(1)
        #expect(line.ask(time(2)) == nil)
        #expect(line.enter(2) == true)
        _ = line.leave(2)
        for moment in stride(from: 100, through: 300, by: 100) { _ = line.turn(time(moment)) }
        #expect(line.ask(time(301)) == PlacesQuestion(name: "n", rule: "n", used: 0, wanted: 0))
        _ = line.settle(.share(0), time(302))
        #expect(line.isIdle)

        #expect(line.wait(3, within: .seconds(5), now: time(302)) == nil)
        _ = line.ask(time(302))
        _ = line.settle(.share(1), time(303))
        _ = line.leave(3)
        line.hint()
        #expect(line.ask(time(304)) == PlacesQuestion(name: "n", rule: "n", used: 0, wanted: 0))
    }

    @Test("A worker that has more than its share lets what comes free go")
    func over() throws {
        let time = Time()
        var line = line(time)
        for id in 1...3 as ClosedRange<Int64> { #expect(line.wait(id, within: .seconds(5), now: time(0)) == nil) }
        _ = line.ask(time(0))
        #expect(line.settle(.share(2), time(1)).done == [1, 2])
        _ = line.ask(time(200))
        #expect(line.settle(.share(0), time(201)).isEmpty)
        #expect(line.leave(1) == true)
        #expect(line.turn(time(202)).done.isEmpty)
        #expect(line.ask(time(202)) == PlacesQuestion(name: "n", rule: "n", used: 1, wanted: 2))
    }

    @Test("With the epoch all places are lost, and giving one of them back changes nothing")
    func epoch() throws {
        let time = Time()
        var line = line(time)
        #expect(line.wait(1, within: .seconds(5), now: time(0)) == nil)
        _ = line.ask(time(0))
        #expect(line.settle(.share(3), time(1)).done == [1])
        line.lose()
        #expect(line.leave(1) == false)
        #expect(line.enter(2) == false)
        #expect(line.isIdle)
    }
}

@Suite("The list of limits")
struct LimitListTests {
    @Test("The exact name goes before patterns, and a longer pattern before a shorter one")
    func precedence() {
        func rule(_ name: String) -> LimitRule { LimitRule(name: name, rate: 1, burst: 1) }
        let rules = ["api.*", "api.host.a.b", "api.host.*", "files"].map(rule)
        let list = LimitList(LimitRules(rules: rules, closed: [("api.host.x.*", .seconds(9))]), now: .now)
        for (name, expected) in [
            ("api.host.a.b", "api.host.a.b"), ("api.host.a.b.c", "api.host.*"), ("api.host.z", "api.host.*"),
            ("api.all", "api.*"), ("files", "files"), ("files.x", nil), ("api", nil), ("api.host", "api.*"),
        ] as [(String, String?)] {
            #expect(list.rule(of: name)?.name == expected, "\(name)")
        }
        #expect(list.closing(of: "api.host.x.y", now: .now) != nil)
        #expect(list.closing(of: "api.host.x", now: .now) == nil)
    }
}
