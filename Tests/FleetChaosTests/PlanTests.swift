import Testing

@testable import FleetChaos

@Suite("The schedule of faults")
struct PlanTests {
    private func options(seed: UInt64, injections: Int = 3, nodes: Int = 1) -> ChaosOptions {
        var options = ChaosOptions()
        (options.seed, options.injections, options.nodes) = (seed, injections, nodes)
        return options
    }

    @Test("The same seed gives the same schedule and the same jobs, another seed others")
    func repeatable() {
        for seed in UInt64(1)...20 {
            #expect(ChaosPlan(options(seed: seed)) == ChaosPlan(options(seed: seed)))
            #expect(ChaosPlan(options(seed: seed)).strikes != ChaosPlan(options(seed: seed + 1)).strikes)
            let (one, same) = (Workload(seed: seed, jobs: 200), Workload(seed: seed, jobs: 200))
            #expect(one.items.map(\.key) == same.items.map(\.key))
            #expect(one.items.map(\.key) != Workload(seed: seed + 1, jobs: 200).items.map(\.key))
        }
    }

    @Test("Each fault that this broker can suffer comes as often as was asked for", arguments: [1, 3])
    func counts(nodes: Int) {
        for seed in UInt64(1)...20 {
            let options = options(seed: seed, nodes: nodes)
            let strikes = ChaosPlan(options).strikes
            for fault in Fault.allCases {
                let isPossible = options.possibleFaults.contains(fault)
                #expect(strikes.count { $0.fault == fault } == (isPossible ? 3 : 0), "\(fault)")
            }
            #expect(options.possibleFaults.contains(.majorityLoss) == (nodes == 3))
            #expect(options.possibleFaults.contains(.brokerKill) == (nodes == 1))
        }
    }

    @Test("No two faults befall one part at the same time, and those that come alone have the fleet to themselves")
    func overlaps() {
        for seed in UInt64(1)...20 {
            let options = options(seed: seed)
            let strikes = ChaosPlan(options).strikes
            for (index, strike) in strikes.enumerated() {
                for later in strikes[(index + 1)...] where later.part.group == strike.part.group {
                    #expect(later.at >= strike.end, "\(strike.line) and \(later.line)")
                }
            }
            let alone = strikes.prefix(options.possibleFaults.count)
            for (one, next) in zip(alone, strikes.dropFirst()) { #expect(next.at >= one.end) }
            // Of the others some meet.
            let mixed = strikes.dropFirst(alone.count)
            #expect(zip(mixed, mixed.dropFirst()).contains { $0.1.at < $0.0.end })
        }
    }
}
