import FleetModel

/// A plan that breaks a rule, made as small as it can be while it breaks the same rule.
struct Shrinking {
    private let mutants: Set<Mutant>
    private let invariant: Invariant
    private(set) var plan: Plan
    private var triesLeft: Int

    /// - Parameter tries: how many smaller plans are tried at most.
    static func shrink(_ plan: Plan, breaking invariant: Invariant, mutants: Set<Mutant>, tries: Int = 1_500) -> Plan {
        var shrinking = Shrinking(mutants: mutants, invariant: invariant, plan: plan, triesLeft: tries)
        while shrinking.pass() {}
        return shrinking.plan
    }

    /// - Returns: whether anything could be left out.
    private mutating func pass() -> Bool {
        var isSmaller = false
        for index in plan.faults.indices.reversed() { isSmaller = attempt { $0.faults.remove(at: index) } || isSmaller }
        // A job keeps its number, which faults and the history name.
        for key in plan.jobs.indices where !plan.jobs[key].isLeftOut {
            isSmaller = attempt { $0.jobs[key].leaveOut() } || isSmaller
        }
        for key in plan.jobs.indices {
            for index in plan.jobs[key].publishes.indices.dropFirst().reversed() {
                isSmaller = attempt { $0.jobs[key].publishes.remove(at: index) } || isSmaller
            }
            if plan.jobs[key].cancelAt != nil { isSmaller = attempt { $0.jobs[key].cancelAt = nil } || isSmaller }
            if plan.jobs[key].lock != nil { isSmaller = attempt { $0.jobs[key].lock = nil } || isSmaller }
            if plan.jobs[key].fates.count > 1 {
                isSmaller = attempt { $0.jobs[key].fates.removeFirst() } || isSmaller
            }
        }
        return isSmaller
    }

    /// What is left out changes all chance after it, so each smaller plan is given some luck.
    private mutating func attempt<Ignored>(_ change: (inout Plan) -> Ignored) -> Bool {
        var smaller = plan
        _ = change(&smaller)
        for luck in 0..<Self.luckMax where triesLeft > 0 {
            triesLeft -= 1
            smaller.chance = plan.chance &+ luck
            if World(smaller, mutants: mutants).run().violation?.invariant == invariant {
                plan = smaller
                return true
            }
        }
        return false
    }

    private static let luckMax: UInt64 = 12
}

extension JobPlan {
    var isLeftOut: Bool { publishes.isEmpty && cancelAt == nil }

    mutating func leaveOut() {
        publishes = []
        cancelAt = nil
    }
}

extension Plan: CustomStringConvertible {
    var description: String {
        var lines = ["seed \(seed), chance \(chance): \(workers) workers of \(slots) slots, \(dispatchers) dispatchers"]
        for (key, job) in jobs.enumerated() where !job.isLeftOut { lines.append("  job \(key): \(job)") }
        for fault in faults { lines.append("  \(fault)") }
        return lines.joined(separator: "\n")
    }
}

extension JobPlan: CustomStringConvertible {
    var description: String {
        var words = publishes.map { publish in
            "at \(publish.at)" + (publish.payload == 0 ? "" : " another payload")
                + (publish.delay.map { " for \($0) later" } ?? "") + (publish.wantsReply ? "" : " without reply")
        }
        words.append("\(fates.map { "\($0)" }.joined(separator: ", ")) after \(duration) ms")
        if !isRepeatable { words.append("unrepeatable") }
        if isPoison { words.append("kills its worker") }
        if !honoursCancellation { words.append("ignores cancellation") }
        if let lock { words.append("takes lock \(lock)") }
        if let cancelAt { words.append("called off at \(cancelAt)") }
        return words.joined(separator: "; ") + "; at most \(attemptsMax) attempts"
    }
}

extension Fault: CustomStringConvertible {
    var description: String { "\(at) ms: \(kind) for \(length) ms" }
}
