import FleetModel
import FleetStore
import Testing

/// The simulation is worth as much as its model of the ledger is true: verbs in random order, given to both, must have the
/// same answers and leave the same rows.
@Suite("The model of the ledger beside the ledger", .timeLimit(.minutes(5)))
struct ConformanceTests {
    static let sequences: UInt64 = 60
    static let steps = 80
    /// Within how many sequences a bug of the model must be noticed.
    static let sequencesForMutant: UInt64 = 200

    @Test("The model does what the database does")
    func agrees() async throws {
        try await RealLedger.with { real in
            for seed in 0..<Self.sequences {
                if let difference = try await Self.difference(seed, real, Mutant.ofTheDatabase) {
                    Issue.record("\(difference)")
                    return
                }
            }
        }
    }

    /// Or the test above would prove nothing of the rule that the mutant breaks.
    @Test("A model with a planted bug is told from the database")
    func tells() async throws {
        try await RealLedger.with { real in
            for mutant in Mutant.allCases where mutant.isOfTheLedger {
                let mutants = Mutant.ofTheDatabase.symmetricDifference([mutant])
                var isTold = false
                for seed in 0..<Self.sequencesForMutant where !isTold {
                    isTold = try await Self.difference(seed, real, mutants) != nil
                }
                #expect(isTold, "\(mutant) makes no difference in \(Self.sequencesForMutant) sequences")
            }
        }
    }

    /// - Returns: where the two go apart and what led to it; nil when they agree to the end.
    private static func difference(_ seed: UInt64, _ real: RealLedger, _ mutants: Set<Mutant>) async throws -> String? {
        try await real.clear()
        var random = SplitMix64(seed: seed).split("conformance")
        var model = LedgerModel(keys: LedgerStep.keys, mutants: mutants)
        var seenByModel: [ModelDue] = []
        var seenByReal: [DueDelivery] = []
        var history: [String] = []
        for _ in 0..<steps {
            let step = LedgerStep.next(model, &random)
            let said = model.perform(step, seen: &seenByModel)
            let answered = try await real.perform(step, seen: &seenByReal)
            history.append("\(step): \(answered)")
            let (rows, others) = (model.rows, try await real.rows())
            if said == answered, rows == others { continue }
            return """
                seed \(seed), step \(history.count): the model says '\(said)' and the database '\(answered)'
                only in the model: \(Set(rows).subtracting(others).sorted())
                only in the database: \(Set(others).subtracting(rows).sorted())
                \(history.suffix(25).joined(separator: "\n"))
                """
        }
        return nil
    }
}
