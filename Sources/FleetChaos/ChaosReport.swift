import FleetModel
import FleetStack
import FoundationEssentials

/// What a run came to.
public struct ChaosReport: Sendable {
    public struct Count: Sendable, Codable {
        public let name: String
        public let value: Int
    }

    public let seed: UInt64
    /// Why the strikes ended before their time, when one could not be brought about: the run has not shown what it was to.
    public let failure: ChaosError?
    /// How many promises are looked at.
    public static let invariants = Checker.invariants
    public private(set) var violations: [Violation]
    /// How often each fault was brought about.
    public let injections: [(fault: Fault, count: Int)]
    public let counts: [Count]
    /// From the kill of a worker, with nothing else going on, to its jobs' next claim, in seconds.
    public let rescueSeconds: [Double]
    /// What happened, as far as the violated jobs are concerned.
    public let timelines: [String]
    /// What was seen of each strike.
    public let strikes: [String]
    /// What the fleet's processes held.
    public let footprint: Footprint

    init(_ options: ChaosOptions, _ evidence: Evidence, isSettled: Bool, failure: ChaosError?) {
        self.failure = failure
        let checker = Checker(evidence)
        var violations = checker.violations()
        if !isSettled {
            violations.append(
                Violation(
                    invariant: "the fleet settles",
                    text: "not all jobs had ended and been told of within \(options.settleLimit) after the last strike",
                    keys: []))
        }
        seed = options.seed
        footprint = evidence.footprint
        self.violations = violations
        rescueSeconds = checker.rescueSeconds
        injections = Fault.allCases.compactMap { fault in
            let count = evidence.strikes.filter { $0.strike.fault == fault }.count
            return count > 0 ? (fault, count) : nil
        }
        counts = Self.count(evidence, checker)
        strikes = evidence.strikes.map {
            "\(Seconds.text($0.began.inSeconds)) to \(Seconds.text($0.ended.inSeconds))  \($0.strike.fault.rawValue): \($0.evidence)"
        }
        let keys = violations.flatMap { $0.keys.prefix(2) }
        timelines = Array(Set(keys)).sorted().prefix(8).map { Timeline(evidence, key: $0).text }
    }

    mutating func add(_ failures: [String]) {
        violations += failures.map { Violation(invariant: "processes drain", text: $0, keys: []) }
    }

    private static func count(_ evidence: Evidence, _ checker: Checker) -> [Count] {
        func journal(_ outcome: JournalEntry.Outcome) -> Int {
            evidence.journal.filter { $0.outcome == outcome }.count
        }
        let states = Dictionary(grouping: evidence.ledger.values, by: \.state).mapValues(\.count)
        let effects = evidence.effects.filter { $0.step == .effect && $0.isAccepted }
        let acknowledged = Set(evidence.journal.filter { $0.outcome == .ok }.map(\.key))
        var counts = [
            Count(name: "enqueues acknowledged", value: journal(.ok)),
            Count(name: "enqueues failed", value: journal(.failed)),
            Count(name: "enqueues unknown", value: journal(.unknown)),
            Count(name: "transactions rolled back", value: journal(.rolledBack)),
            Count(name: "different jobs acknowledged", value: acknowledged.count),
            Count(
                name: "gone with their queue, which was deleted",
                value: acknowledged.subtracting(evidence.ledger.keys).count),
        ]
        for state in states.keys.sorted() { counts.append(Count(name: "jobs \(state)", value: states[state] ?? 0)) }
        counts += [
            Count(name: "effects taken by the target", value: effects.count),
            Count(name: "of these repeats under a later claim", value: effects.count - Set(effects.map(\.key)).count),
            Count(name: "reports refused for a stale token", value: evidence.effects.filter { !$0.isAccepted }.count),
            Count(name: "results read", value: evidence.results.values.reduce(0) { $0 + $1.values.reduce(0, +) }),
            Count(
                name: "of these repeats under the same id",
                value: evidence.results.values.reduce(0) { $0 + $1.values.reduce(-1, +) }),
            Count(
                name: "conflicting messages set aside",
                value: evidence.setAside.count { $0.reason == "conflict" }),
            Count(
                name: "taken for poison, alone on a worker that was struck",
                value: evidence.workload.items.count { $0.kind != .poison && checker.isTakenForPoison($0.key) }),
            Count(name: "processes that ended", value: evidence.ends.count),
            Count(name: "most connections to the database", value: evidence.footprint.connectionsMost),
            Count(name: "most memory of a process, MB", value: evidence.footprint.most(\.residentBytes) >> 20),
            Count(name: "most descriptors of a process", value: evidence.footprint.most(\.descriptors)),
            Count(name: "most threads of a process", value: evidence.footprint.most(\.threads)),
        ]
        return counts
    }
}

/// One job's way through a run, from all that was seen of it.
struct Timeline {
    let key: String
    private let lines: [(at: Double, text: String)]

    init(_ evidence: Evidence, key: String) {
        self.key = key
        var lines: [(at: Double, text: String)] = evidence.journal.filter { $0.key == key }.map {
            (
                $0.at.inSeconds,
                "producer  \($0.outcome.rawValue) by \($0.route.rawValue), payload '\($0.nonce)' \($0.why)"
            )
        }
        lines += evidence.transitions.filter { $0.key == key }.map { line in
            let worker = line.worker.flatMap { evidence.crew[$0] } ?? ""
            return (
                line.at - evidence.epoch,
                "ledger    \(line.oldState ?? "-") → \(line.newState), token \(line.token), owner \(worker) epoch \(line.epoch ?? 0), by \(line.application)"
            )
        }
        lines += evidence.effects.filter { $0.key == key }.map {
            (
                $0.at.inSeconds,
                "target    \($0.step.rawValue) under token \($0.token), process \($0.process), payload '\($0.nonce)'"
                    + ($0.lock.map { " lock \($0)" } ?? "") + ($0.lockToken.map { " token \($0)" } ?? "")
                    + ($0.isAccepted ? "" : ": refused")
            )
        }
        if let first = lines.map(\.at).min(), let last = lines.map(\.at).max() {
            for record in evidence.strikes
            where record.ended.inSeconds > first - 5 && record.began.inSeconds < last + 5 {
                lines.append((record.began.inSeconds, "strike    \(record.strike.fault.rawValue): \(record.evidence)"))
                lines.append((record.ended.inSeconds, "          \(record.strike.fault.rawValue) is over"))
            }
        }
        if let row = evidence.ledger[key] {
            lines.append(
                (
                    .infinity,
                    "at the end \(row.state), token \(row.token), attempt \(row.attempt), crashes \(row.crashes), errors \(row.errors.prefix(600))"
                ))
        }
        let results = evidence.results[key] ?? [:]
        lines.append((.infinity, "results   \(results.map { "\($0.key) × \($0.value)" }.joined(separator: ", "))"))
        self.lines = lines.sorted { $0.at < $1.at }
    }

    var text: String {
        "\(key)\n" + lines.map { "  \($0.at.isFinite ? Seconds.text($0.at) : "") \($0.text)" }.joined(separator: "\n")
    }
}
