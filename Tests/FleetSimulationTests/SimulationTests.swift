import FleetModel
import Glibc
import Testing

@Suite("The fleet's rules in worlds where everything fails", .timeLimit(.minutes(5)))
struct SimulationTests {
    /// How many worlds a run of the tests lets happen.
    static let worlds = getenv("GAIA_SIMULATION_WORLDS").flatMap { UInt64(String(cString: $0)) } ?? 10_000
    /// Within how many a planted bug must be found.
    static let worldsForMutant: UInt64 = 6_000

    @Test("Ten thousand worlds keep every rule")
    func worlds() async {
        let failed = await Self.failures(in: 0..<Self.worlds)
        for seed in failed.prefix(3) { Issue.record("\(Self.report(seed))") }
        #expect(failed.isEmpty, "of \(Self.worlds) seeds \(failed.count) break a rule: \(failed.prefix(20))")
    }

    /// `GAIA_SIMULATION_SEED=n` lets that one world happen and prints it.
    @Test("The world that GAIA_SIMULATION_SEED names", .enabled(if: getenv("GAIA_SIMULATION_SEED") != nil))
    func oneWorld() throws {
        let variable = try #require(getenv("GAIA_SIMULATION_SEED"))
        let seed = try #require(UInt64(String(cString: variable)), "GAIA_SIMULATION_SEED is a whole number")
        let plan = Plan(seed: seed)
        let outcome = World(plan).run()
        print("\(plan)\n\(outcome.history.timeline(of: nil))")
        if outcome.violation != nil { Issue.record("\(Self.report(seed))") }
    }

    @Test("A planted bug is found", arguments: Mutant.allCases)
    func plantedBug(_ mutant: Mutant) throws {
        let found = (0..<Self.worldsForMutant).lazy.compactMap { seed in
            World(Plan(seed: seed), mutants: [mutant]).run().violation.map { (seed, $0) }
        }.first
        let (seed, violation) = try #require(found, "\(mutant) is not found within \(Self.worldsForMutant) seeds")
        print("\(mutant): seed \(seed), \(violation)")
        let healthy = World(Plan(seed: seed)).run().violation
        #expect(healthy == nil, "seed \(seed) breaks a rule without \(mutant)")
    }

    /// Or the rules would be kept for want of occasion.
    @Test("Everything that can happen does")
    func occasions() {
        var facts: Set<History.Fact> = []
        var answers: Set<Int64> = []
        for seed in UInt64(0)..<500 {
            for line in World(Plan(seed: seed)).run().history.lines {
                facts.insert(line.fact)
                if line.fact == .answered { answers.insert(line.number) }
            }
        }
        #expect(History.Fact.allCases.filter { !facts.contains($0) } == [])
        #expect(answers == [1, 2, 3, 4, 5, 6], "each answer to a claim but that it is claimed")
    }

    @Test("A seed has one history, and another seed another")
    func oneHistory() {
        var hashes: Set<UInt64> = []
        for seed in UInt64(0)..<200 {
            let history = World(Plan(seed: seed)).run().history
            #expect(World(Plan(seed: seed)).run().history.hash == history.hash, "seed \(seed)")
            hashes.insert(history.hash)
        }
        #expect(hashes.count == 200)
    }

    @Test("A failing plan is made smaller as long as it breaks the same rule")
    func shrinks() throws {
        let mutants: Set<Mutant> = [.ackBeforeCommit]
        let plan = try #require(
            (UInt64(0)..<1_000).lazy.map { Plan(seed: $0) }.first {
                World($0, mutants: mutants).run().violation?.invariant == .finishes && $0.faults.count > 3
            })
        let small = Shrinking.shrink(plan, breaking: .finishes, mutants: mutants)
        #expect(World(small, mutants: mutants).run().violation?.invariant == .finishes)
        #expect(World(small).run().violation == nil)
        #expect(Self.report(plan.seed, mutants: mutants).contains("GAIA_SIMULATION_SEED=\(plan.seed)"))
        #expect(small.faults.count <= 2 && small.faults.count < plan.faults.count, "\(small)")
        #expect(small.jobs.filter { !$0.isLeftOut }.count <= 2, "\(small)")
    }

    // MARK: Running many

    /// Seeds that break a rule, in order. The worlds are shared out over two tasks.
    private static func failures(in seeds: Range<UInt64>) async -> [UInt64] {
        await withTaskGroup(of: [UInt64].self) { group in
            for part in UInt64(0)..<2 {
                group.addTask {
                    seeds.filter { $0 % 2 == part && World(Plan(seed: $0)).run().violation != nil }
                }
            }
            return await group.reduce(into: []) { $0 += $1 }.sorted()
        }
    }

    /// What a person needs to see why: the rule, the smallest plan that breaks it, and what happened to the job.
    static func report(_ seed: UInt64, mutants: Set<Mutant> = []) -> String {
        let plan = Plan(seed: seed)
        guard let violation = World(plan, mutants: mutants).run().violation else {
            return "seed \(seed) breaks nothing"
        }
        let small = Shrinking.shrink(plan, breaking: violation.invariant, mutants: mutants)
        let outcome = World(small, mutants: mutants).run()
        return """
            seed \(seed), \(violation)
            replay it with GAIA_SIMULATION_SEED=\(seed); shrunk, it is: \(outcome.violation.map { "\($0)" } ?? "")
            \(small)
            \(outcome.history.timeline(of: outcome.violation?.key))
            """
    }
}
