import FleetModel
import FleetStack

/// A promise that did not hold, and whose.
public struct Violation: Sendable, Codable {
    public let invariant: String
    public let text: String
    /// The jobs concerned, a few of them.
    public let keys: [String]
}

/// Everything that was seen in a run.
struct Evidence: Sendable {
    let workload: Workload
    let journal: [JournalEntry]
    let effects: [Effect]
    /// Ids of results by job.
    let results: [String: [String: Int]]
    let ledger: [String: Observer.LedgerRow]
    let transitions: [Observer.Transition]
    /// Names of worker rows.
    let crew: [Int64: String]
    let staleWrites: [Observer.StaleWrite]
    let strikes: [StrikeRecord]
    let ends: [Seat.End]
    let footprint: Footprint
    /// The most connections to the database that the fleet is to have.
    let connectionsMax: Int
    /// What lies in `gaia.dead`, as (reason, key, payload).
    let setAside: [(reason: String, key: String, payload: String)]
    let leftInQueues: Int
    /// The database's clock when the load began.
    let epoch: Double
}

/// Holds what was seen against what is promised.
struct Checker: Sendable {
    let evidence: Evidence
    private let byKey: [String: Workload.Item]
    private let transitions: [String: [Observer.Transition]]
    private let effects: [String: [Effect]]
    private let acknowledged: Set<String>

    init(_ evidence: Evidence) {
        self.evidence = evidence
        byKey = Dictionary(uniqueKeysWithValues: evidence.workload.items.map { ($0.key, $0) })
        transitions = Dictionary(grouping: evidence.transitions, by: \.key)
        effects = Dictionary(grouping: evidence.effects, by: \.key)
        acknowledged = Set(evidence.journal.filter { $0.outcome == .ok }.map(\.key))
    }

    /// Each invariant by its name; all of them are looked at, whatever the others say.
    func violations() -> [Violation] {
        [
            ("every acknowledged job ends", everyJobEnds()), ("a job ends once", endsOnce()),
            ("a job ends as it must", endsAsItMust()), ("one effect per job", oneEffect()),
            ("repeats are explained", repeatsAreExplained()),
            ("what must not be repeated is not", unrepeatable()),
            ("nothing runs that was not enqueued", nothingFromNowhere()), ("tokens rise", tokensRise()),
            ("a lock has one owner", lockTokens()), ("no owner is robbed", nobodyIsRobbed()),
            ("a result for each end, under one id", results()), ("a conflict never runs", conflicts()),
            ("no innocent is set aside", innocents()), ("a deposed leader writes nothing", deposedLeaders()),
            ("lost jobs are taken up in time", recovery()), ("memory, descriptors, threads bounded", bounds()),
            ("no process ends by itself", processes()), ("nothing is left in the queues", leftovers()),
        ].flatMap { name, found in
            found.map { Violation(invariant: name, text: $0.text, keys: $0.keys) }
        }
    }

    static let invariants = 18

    typealias Finding = (text: String, keys: [String])

    /// One finding for many jobs with the same fault.
    private func finding(_ keys: some Sequence<String>, _ text: (Int) -> String) -> [Finding] {
        let all = Array(keys).sorted()
        return all.isEmpty ? [] : [(text(all.count), Array(all.prefix(5)))]
    }

    // MARK: Ends

    /// Jobs that lay in the queue when an operator deleted it are gone with it, by the operator's will: acknowledged before,
    /// and never seen by the ledger.
    private func wentWithTheQueue(_ key: String) -> Bool {
        guard let first = evidence.journal.first(where: { $0.key == key && $0.outcome == .ok }) else { return false }
        return evidence.strikes.contains { $0.strike.fault == .queueDelete && first.at <= $0.ended }
            && evidence.ledger[key] == nil
    }

    private func everyJobEnds() -> [Finding] {
        let open = acknowledged.filter { key in
            guard let row = evidence.ledger[key] else { return !wentWithTheQueue(key) }
            return !Observer.Transition.ends.contains(row.state)
        }
        return finding(open) { "\($0) acknowledged jobs have not ended" }
    }

    private func endsOnce() -> [Finding] {
        let several = transitions.filter { $0.value.filter(\.isEnd).count > 1 }.keys
        let left = transitions.filter { _, lines in zip(lines, lines.dropFirst()).contains { $0.0.isEnd } }.keys
        return finding(several) { "\($0) jobs ended more than once" }
            + finding(left) { "\($0) jobs went on after their end" }
    }

    /// Which ends are right.
    private static func rightEnds(_ kind: Workload.Kind) -> Set<String> {
        switch kind {
        case .effect, .lock: ["succeeded"]
        case .once: ["succeeded", "indeterminate"]
        case .doomed: ["discarded"]
        case .poison: ["discarded"]
        }
    }

    private static func isSetAsPoison(_ row: Observer.LedgerRow) -> Bool {
        row.state == "discarded" && row.errors.contains(#""code": "poison""#)
    }

    /// A job that others' crashes made a suspect runs alone on its worker. When the harness took that very worker from it, it
    /// was to the fleet what a poison is.
    func isTakenForPoison(_ key: String) -> Bool {
        guard let row = evidence.ledger[key], Self.isSetAsPoison(row), let lines = transitions[key],
            let last = lines.lastIndex(where: { $0.newState == "running" }),
            let worker = lines[last].worker.flatMap({ evidence.crew[$0] })
        else { return false }
        let claimed = lines[last].at - evidence.epoch
        let lost = lines[(last + 1)...].first.map { $0.at - evidence.epoch } ?? .infinity
        return evidence.strikes.contains {
            $0.hits(worker) && $0.began.inSeconds < lost && $0.ended.inSeconds > claimed
        }
    }

    private func endsAsItMust() -> [Finding] {
        let wrong = evidence.ledger.filter { key, row in
            guard let item = byKey[key], Observer.Transition.ends.contains(row.state) else { return false }
            return !Self.rightEnds(item.kind).contains(row.state) && !isTakenForPoison(key)
        }.keys
        // In doubt only if its worker was lost or its report had no answer.
        return finding(wrong) { "\($0) jobs ended otherwise than they must" }
    }

    // MARK: Effects

    private func oneEffect() -> [Finding] {
        let without = evidence.ledger.filter { key, row in
            guard let item = byKey[key], row.state == "succeeded" else { return false }
            let steps: [EffectReport.Step] = item.kind == .lock ? [.begin, .end] : [.effect]
            // Told by the very owner whose success the ledger holds.
            return !steps.allSatisfy { step in
                (effects[key] ?? []).contains { $0.step == step && $0.isAccepted && $0.token == row.token }
            }
        }.keys
        return finding(without) { "\($0) jobs succeeded without their effect under the token that succeeded" }
    }

    /// A request for each claim at most: a repeat is a claim that came to nothing, and the ledger counts those.
    private func repeatsAreExplained() -> [Finding] {
        let unexplained = effects.filter { key, effects in
            Dictionary(grouping: effects) { "\($0.step) \($0.token)" }.contains { $0.value.count > 1 }
                || effects.contains { $0.token > evidence.ledger[key]?.token ?? 0 }
        }.keys
        return finding(unexplained) { "\($0) jobs had an effect twice under one claim, or under none" }
    }

    private func unrepeatable() -> [Finding] {
        let repeated = effects.filter { key, effects in byKey[key]?.kind == .once && effects.count > 1 }.keys
        return finding(repeated) { "\($0) jobs that must not be repeated were" }
    }

    private func nothingFromNowhere() -> [Finding] {
        let known = Set(evidence.journal.map(\.key))
        let possible = Set(evidence.journal.filter { [.ok, .unknown].contains($0.outcome) }.map(\.key))
        let strangers = Set(effects.keys).union(evidence.ledger.keys).subtracting(known)
        let refused = Set(effects.keys).union(evidence.ledger.keys).intersection(known).subtracting(possible)
        return finding(strangers) { "\($0) jobs were never enqueued" }
            + finding(refused) { "\($0) jobs run whose enqueue had certainly failed or was rolled back" }
    }

    private func conflicts() -> [Finding] {
        let both = effects.filter { Set($0.value.map(\.nonce)).count > 1 }.keys
        return finding(both) { "of \($0) keys both of two different jobs were run" }
    }

    // MARK: Owners

    private func tokensRise() -> [Finding] {
        let falling = transitions.filter { _, lines in
            lines.contains { line in
                guard let old = line.oldToken else { return line.token > 1 }
                return line.token < old || (line.newState == "running" && line.token != old + 1)
            }
        }.keys
        let taken = effects.filter { _, effects in
            let tokens = effects.filter(\.isAccepted).map(\.token)
            return tokens != tokens.sorted()
        }.keys
        return finding(falling) { "the tokens of \($0) jobs do not rise by one with each claim" }
            + finding(taken) { "at the target the tokens of \($0) jobs fell" }
    }

    /// Between the first and the last effect under a lock nobody else's comes, unless the first owner had lost it.
    private func lockTokens() -> [Finding] {
        var broken: Set<String> = []
        for (_, effects) in Dictionary(grouping: evidence.effects.filter { $0.lock != nil }, by: { $0.lock ?? "" }) {
            var highest: Int64 = 0
            var owners: [Int64: String] = [:]
            for effect in effects {
                guard let token = effect.lockToken else { continue }
                if effect.isAccepted, token < highest { broken.insert(effect.key) }
                if let owner = owners.updateValue(effect.key, forKey: token), owner != effect.key {
                    broken.insert(effect.key)
                }
                highest = max(highest, token)
            }
        }
        return finding(broken) { "\($0) jobs had a lock under a token that was another's or had been passed" }
    }

    private func nobodyIsRobbed() -> [Finding] {
        finding(Set(evidence.transitions.filter(\.isStolen).map(\.key))) {
            "\($0) running jobs were claimed from an owner who had its lease"
        }
    }

    private func deposedLeaders() -> [Finding] {
        evidence.staleWrites.prefix(5).map {
            ("\($0.application) wrote (\($0.what)) while \($0.leader) led", [])
        }
    }

    // MARK: Results and what was set aside

    private func results() -> [Finding] {
        let ended = evidence.ledger.filter { byKey[$0.key] != nil && Observer.Transition.ends.contains($0.value.state) }
        let missing = ended.keys.filter { evidence.results[$0] == nil }
        let several = evidence.results.filter { $0.value.count > 1 }.keys
        let wrong = ended.filter { key, row in
            evidence.results[key].map { $0.keys.contains { !$0.hasSuffix("/\(row.state)") } } ?? false
        }.keys
        return finding(missing) { "\($0) jobs ended without a result" }
            + finding(several) { "\($0) jobs have results with different ids" }
            + finding(wrong) { "the results of \($0) jobs say something else than the ledger" }
    }

    private func innocents() -> [Finding] {
        let wrong = evidence.setAside.filter { message in
            // The other job under a key that is taken is what this queue is for.
            !(message.reason == "conflict" && byKey[message.key]?.hasConflict == true)
                && !(message.reason == "poison" && isTakenForPoison(message.key))
        }
        let crashed = evidence.ledger.filter { key, row in
            // Crashes that it met are no harm to it; being taken for their cause is.
            Self.isSetAsPoison(row) && byKey[key]?.kind != .poison && !isTakenForPoison(key)
        }.keys
        return finding(wrong.map(\.key)) {
            "\($0) messages were set aside without cause, the first for '\(wrong.first?.reason ?? "")'"
        } + finding(crashed) { "\($0) jobs were set aside for crashes that were not theirs" }
    }

    private func leftovers() -> [Finding] {
        evidence.leftInQueues > 0 ? [("\(evidence.leftInQueues) messages are left in the queues of jobs", [])] : []
    }

    // MARK: Processes

    /// From the kill of a worker, with nothing else going on, to the next claim of what it ran.
    var rescueSeconds: [Double] {
        evidence.strikes.filter { $0.strike.fault == .workerKill && isAlone($0) }.flatMap { record -> [Double] in
            let name = record.evidence.split(separator: " ").first.map(String.init) ?? ""
            let rows = Set(evidence.crew.filter { $0.value == name }.keys)
            let at = evidence.epoch + record.began.inSeconds
            return transitions.values.compactMap { lines in
                guard let last = lines.last(where: { $0.at <= at + 0.05 }), last.newState == "running",
                    let worker = last.worker, rows.contains(worker), let next = lines.first(where: { $0.at > last.at }),
                    next.at > at
                else { return nil }
                return next.at - at
            }
        }
    }

    private func isAlone(_ record: StrikeRecord) -> Bool {
        let after = record.ended + .seconds(3)
        return !evidence.strikes.contains {
            $0.strike.number != record.strike.number && $0.began < after && $0.ended > record.began - .seconds(3)
        }
    }

    private func recovery() -> [Finding] {
        let limit = (ChaosOptions.lease + ChaosOptions.grace + ChaosOptions.poll).inSeconds + 2
        let slow = rescueSeconds.filter { $0 > limit }
        return slow.isEmpty
            ? [] : [("\(slow.count) jobs of a killed worker were taken up after more than \(limit) s", [])]
    }

    private func bounds() -> [Finding] {
        func most(_ what: String, _ value: KeyPath<Footprint.Sample, Int>, _ limit: Int) -> [Finding] {
            guard let sample = evidence.footprint.samples.max(by: { $0[keyPath: value] < $1[keyPath: value] }),
                sample[keyPath: value] > limit
            else { return [] }
            return [("\(sample.process) had \(sample[keyPath: value]) \(what), more than \(limit)", [])]
        }
        var findings = most("bytes of memory", \.residentBytes, Footprint.residentBytesMax)
        findings += most("open descriptors", \.descriptors, Footprint.descriptorsMax)
        findings += most("threads", \.threads, Footprint.threadsMax)
        if evidence.footprint.connectionsMost > evidence.connectionsMax {
            findings.append(
                (
                    "\(evidence.footprint.connectionsMost) connections to the database, more than "
                        + "\(evidence.connectionsMax)", []
                ))
        }
        return findings
    }

    private func processes() -> [Finding] {
        let poisonous = evidence.effects.filter { byKey[$0.key]?.kind == .poison }.count
        let killed = evidence.ends.filter { $0.status == .signalled(9) && !$0.wasTold }
        let others = evidence.ends.filter { end in
            switch end.status {
            // 15: told to end before it had begun to listen for it, and so before it had begun anything.
            case .signalled(let signal): signal != 9 && !(signal == 15 && end.wasTold)
            // 69: broker or database were away for longer than a process waits at its start; a supervisor starts it again.
            case .exited(let code): code != 69 && !(code == 0 && end.wasTold)
            }
        }
        var findings: [Finding] = others.prefix(5).map { ("\($0.process) \($0.status)", []) }
        if killed.count > poisonous {
            findings.append(("\(killed.count) processes were killed, and only \(poisonous) by poisonous jobs", []))
        }
        return findings
    }
}
