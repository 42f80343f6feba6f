import AMQPClient
import FleetModel
import FleetWorker
import PostgresClient
import Testing

@Suite("Sharing slots")
struct SlotSharesTests {
    private typealias Load = SlotShares.Load
    private let idle = Load(busy: 0, waiting: 0)

    /// A worker of three subsystems, with twenty slots each, that has been quiet for long.
    private func quiet() -> SlotShares {
        var shares = SlotShares(declared: ["a": 20, "b": 20, "c": 20])
        for _ in 0..<10 { #expect(shares.tick([:]).isEmpty) }
        return shares
    }

    private func total(_ shares: SlotShares) -> Int { shares.slots.values.reduce(0, +) }

    @Test("A backlog takes up what others do not need, but for a reserve of theirs, within a few ticks")
    func borrow() {
        var shares = quiet()
        for _ in 0..<3 {
            let own = shares.slots["a"] ?? 0
            _ = shares.tick(["a": Load(busy: own, waiting: own / 2 + 50), "b": Load(busy: 3, waiting: 0)])
            #expect(total(shares) == 60)
        }
        // Of b three are busy and five are kept, of c five are kept.
        #expect(shares.slots == ["a": 60 - 8 - 5, "b": 8, "c": 5])
    }

    @Test("No more is borrowed than waits, and nothing by one that has free slots of its own")
    func modest() {
        var shares = quiet()
        _ = shares.tick(["a": Load(busy: 20, waiting: 4)])
        #expect(shares.slots["a"] == 24)
        var other = quiet()
        #expect(other.tick(["a": Load(busy: 19, waiting: 4)]).isEmpty)
    }

    @Test("Nothing is borrowed from one that has had jobs waiting this moment")
    func busyLender() {
        var shares = quiet()
        _ = shares.tick([
            "a": Load(busy: 20, waiting: 50), "b": Load(busy: 2, waiting: 1), "c": Load(busy: 20, waiting: 9),
        ])
        #expect(shares.slots == ["a": 20, "b": 20, "c": 20])
    }

    @Test("A lender whose jobs wait has its own back at once, also from slots that are busy")
    func reclaim() {
        var shares = quiet()
        _ = shares.tick(["a": Load(busy: 20, waiting: 80)])
        #expect(shares.slots == ["a": 50, "b": 5, "c": 5])
        let changed = shares.tick(["a": Load(busy: 50, waiting: 50), "b": Load(busy: 5, waiting: 10)])
        #expect(changed == ["a", "b"])
        #expect(shares.slots == ["a": 40, "b": 15, "c": 5])
        _ = shares.tick(["a": Load(busy: 50, waiting: 50), "b": Load(busy: 15, waiting: 30)])
        #expect(shares.slots["b"] == 20, "its own, and no more while another has need too")
        #expect(total(shares) == 60)
    }

    @Test("What was borrowed is given back when the need has been over for some ticks, not for one")
    func giveBack() {
        var shares = quiet()
        _ = shares.tick(["a": Load(busy: 20, waiting: 80)])
        for _ in 1..<SlotShares.calmTicks { #expect(shares.tick(["a": Load(busy: 50, waiting: 0)]).isEmpty) }
        #expect(shares.tick(["a": Load(busy: 50, waiting: 1)]).isEmpty, "a gust begins the count anew")
        for _ in 1..<SlotShares.calmTicks { #expect(shares.tick(["a": Load(busy: 30, waiting: 0)]).isEmpty) }
        _ = shares.tick(["a": Load(busy: 30, waiting: 0)])
        #expect(shares.slots["a"] == 30, "what is busy stays")
        _ = shares.tick(["a": idle])
        #expect(shares.slots == ["a": 20, "b": 20, "c": 20])
    }

    @Test("Slots that stand for something are neither lent nor borrowed")
    func fixed() {
        var shares = SlotShares(declared: ["a": 20, "b": 20, "browser": 4], fixed: ["browser"])
        for _ in 0..<10 {
            _ = shares.tick(["browser": Load(busy: 4, waiting: 100), "a": Load(busy: 20, waiting: 100)])
        }
        #expect(shares.slots["browser"] == 4)
        #expect(total(shares) == 44 && shares.slots["a"] ?? 0 > 20, "the others go on among themselves")
    }

    @Test("No more is delivered than has a place, and a smaller setting wins")
    func places() throws {
        var configuration = WorkerConfiguration(
            amqp: AMQPConfiguration(endpoints: [AMQPEndpoint(host: "nowhere", port: 1)]),
            database: try PostgresConfiguration(url: "postgres://nobody@nowhere/nothing"), name: "w", host: "h")
        configuration.places = ["browser": 4]
        #expect(configuration.slots(of: "browser") == 4 && configuration.slots(of: "api") == 200)
        #expect(configuration.prefetch(of: "browser", slots: 4) == 4)
        #expect(configuration.prefetch(of: "api", slots: 4) == 54)
        configuration.slots["browser"] = 2
        #expect(configuration.slots(of: "browser") == 2)
        configuration.slots["browser"] = 10
        #expect(configuration.slots(of: "browser") == 4)
    }

    @Test("Whatever the loads, the sum stays, nobody has less than nothing, and quiet brings back what was declared")
    func anyLoads() {
        for seed in UInt64(1)...50 {
            var random = SplitMix64(seed: seed)
            let declared = [
                "a": Int.random(in: 1...50, using: &random), "b": 1, "c": Int.random(in: 1...300, using: &random),
            ]
            var shares = SlotShares(declared: declared)
            for _ in 0..<200 {
                var loads: [String: Load] = [:]
                for (name, slots) in shares.slots {
                    loads[name] = Load(
                        busy: Int.random(in: 0...slots, using: &random),
                        waiting: Bool.random(using: &random) ? 0 : Int.random(in: 0...100, using: &random))
                }
                _ = shares.tick(loads)
                #expect(total(shares) == declared.values.reduce(0, +))
                #expect(shares.slots.values.allSatisfy { $0 >= 0 })
            }
            for _ in 0..<20 { _ = shares.tick([:]) }
            #expect(shares.slots == declared, "seed \(seed)")
        }
    }
}
