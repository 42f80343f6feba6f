import FleetModel
import FleetStack
import Testing

@testable import FleetChaos

@Suite("The checker of a run")
struct CheckerTests {
    /// What is seen of a run in which all goes well: every job runs once, on one worker, a millisecond after the other.
    struct Scene: Sendable {
        var workload = Workload(seed: 7, jobs: 400)
        var journal: [JournalEntry] = []
        var effects: [Effect] = []
        var results: [String: [String: Int]] = [:]
        var ledger: [String: Observer.LedgerRow] = [:]
        var transitions: [Observer.Transition] = []
        var staleWrites: [Observer.StaleWrite] = []
        var strikes: [StrikeRecord] = []
        var ends: [Seat.End] = []
        var footprint = Footprint()
        var setAside: [(reason: String, key: String, payload: String)] = []
        var left = 0

        init() {
            for item in workload.items where !item.isRolledBack { addRun(item) }
            for item in workload.items where item.isRolledBack { note(item, .rolledBack) }
        }

        private mutating func addRun(_ item: Workload.Item) {
            note(item, .ok)
            let state = item.kind == .doomed || item.kind == .poison ? "discarded" : "succeeded"
            move(item.key, nil, "running", token: 1)
            move(item.key, "running", state, token: 1)
            let steps: [EffectReport.Step] =
                switch item.kind {
                case .effect, .once: [.effect]
                case .lock: [.begin, .end]
                case .doomed, .poison: [.attempt]
                }
            for step in steps { addEffect(item, step, token: 1) }
            ledger[item.key] = Observer.LedgerRow(state: state, token: 1, attempt: 1, crashes: 0, errors: "[]")
            results[item.key] = ["chaos/\(item.key)/\(state)": 1]
            if item.hasConflict { setAside.append(("conflict", item.key, "{}")) }
        }

        mutating func note(_ item: Workload.Item, _ outcome: JournalEntry.Outcome) {
            journal.append(
                JournalEntry(
                    at: .seconds(item.index), item: item.index, key: item.key, nonce: "first", route: item.route,
                    outcome: outcome, why: ""))
        }

        mutating func move(
            _ key: String, _ old: String?, _ new: String, token: Int64, oldToken: Int64? = nil, isStolen: Bool = false,
            at: Double = 1, worker: Int64 = 1
        ) {
            transitions.append(
                Observer.Transition(
                    at: at, key: key, oldState: old, newState: new, token: token,
                    oldToken: old == nil ? nil : oldToken ?? token, worker: worker, epoch: 1, isStolen: isStolen,
                    application: "worker-1.1"))
        }

        mutating func addEffect(
            _ item: Workload.Item, _ step: EffectReport.Step, token: Int64, nonce: String = "first",
            lockToken: Int64? = nil, isAccepted: Bool = true
        ) {
            effects.append(
                Effect(
                    at: .seconds(effects.count), key: item.key, step: step, token: token, attempt: 1, nonce: nonce,
                    process: 1, lock: item.kind == .lock ? item.lock : nil,
                    lockToken: item.kind == .lock ? lockToken ?? Int64(item.index) : nil, isAccepted: isAccepted))
        }

        func item(_ kind: Workload.Kind) -> Workload.Item {
            guard let item = workload.items.first(where: { $0.kind == kind && !$0.isRolledBack && !$0.hasConflict })
            else { preconditionFailure("the seed gives one of each kind") }
            return item
        }

        mutating func set(_ kind: Workload.Kind, state: String, token: Int64 = 1, errors: String = "[]") {
            ledger[item(kind).key] = Observer.LedgerRow(
                state: state, token: token, attempt: 1, crashes: 1, errors: errors)
        }

        /// As if nothing but its producer had known of it.
        mutating func forget(_ key: String) {
            (ledger[key], results[key]) = (nil, nil)
            transitions.removeAll { $0.key == key }
            effects.removeAll { $0.key == key }
        }

        mutating func strike(_ fault: Fault, at began: Int, _ evidence: String) {
            let strike = Strike(
                number: strikes.count + 1, at: began * 1_000, fault: fault, part: .broker, milliseconds: 0, choice: 0)
            strikes.append(
                StrikeRecord(strike: strike, began: .seconds(began), ended: .seconds(began), evidence: evidence))
        }

        var violations: [Violation] {
            Checker(
                Evidence(
                    workload: workload, journal: journal, effects: effects, results: results, ledger: ledger,
                    transitions: transitions, crew: [1: "worker-1.1"], staleWrites: staleWrites, strikes: strikes,
                    ends: ends, footprint: footprint, connectionsMax: 66, setAside: setAside,
                    leftInQueues: left, epoch: 0)
            ).violations()
        }
    }

    @Test("A run in which all went well has no violation")
    func clean() {
        let violations = Scene().violations
        #expect(violations.isEmpty, "\(violations)")
    }

    /// Something that goes wrong, and the promise that it breaks.
    struct Wrong: Sendable, CustomStringConvertible {
        let description: String
        let invariant: String
        let happen: @Sendable (inout Scene) -> Void

        init(_ description: String, breaks invariant: String, _ happen: @escaping @Sendable (inout Scene) -> Void) {
            self.description = description
            self.invariant = invariant
            self.happen = happen
        }
    }

    private static let wrongs = [
        Wrong("an acknowledged job that the ledger never saw", breaks: "every acknowledged job ends") { scene in
            scene.forget(scene.item(.effect).key)
        },
        Wrong("a job that stays queued", breaks: "every acknowledged job ends") { $0.set(.effect, state: "queued") },
        Wrong("a job that ends twice", breaks: "a job ends once") {
            $0.move($0.item(.effect).key, "running", "succeeded", token: 1)
        },
        Wrong("a job that is taken up after its end", breaks: "a job ends once") {
            $0.move($0.item(.effect).key, "succeeded", "running", token: 2, oldToken: 1)
        },
        Wrong("a job that fails though it cannot", breaks: "a job ends as it must") {
            $0.set(.effect, state: "discarded")
            $0.results[$0.item(.effect).key] = ["chaos/\($0.item(.effect).key)/discarded": 1]
        },
        Wrong("a success without an effect", breaks: "one effect per job") { scene in
            let key = scene.item(.effect).key
            scene.effects.removeAll { $0.key == key }
        },
        Wrong("a success under a token that had no effect", breaks: "one effect per job") {
            $0.set(.effect, state: "succeeded", token: 2)
        },
        Wrong("a lock's job without its last effect", breaks: "one effect per job") { scene in
            let key = scene.item(.lock).key
            scene.effects.removeAll { $0.key == key && $0.step == .end }
        },
        Wrong("an effect twice under one claim", breaks: "repeats are explained") {
            $0.addEffect($0.item(.effect), .effect, token: 1)
        },
        Wrong("an effect under a claim that the ledger does not know", breaks: "repeats are explained") {
            $0.addEffect($0.item(.effect), .effect, token: 9)
        },
        Wrong("a second effect of what must not be repeated", breaks: "what must not be repeated is not") {
            $0.set(.once, state: "succeeded", token: 2)
            $0.addEffect($0.item(.once), .effect, token: 2)
        },
        Wrong("an effect of a job that nobody enqueued", breaks: "nothing runs that was not enqueued") { scene in
            let key = scene.item(.effect).key
            scene.journal.removeAll { $0.key == key }
        },
        Wrong("a job whose enqueue had failed for certain", breaks: "nothing runs that was not enqueued") { scene in
            let item = scene.item(.effect)
            scene.journal.removeAll { $0.key == item.key }
            scene.note(item, .failed)
        },
        Wrong("a job whose transaction was rolled back", breaks: "nothing runs that was not enqueued") { scene in
            let item = scene.item(.effect)
            scene.journal.removeAll { $0.key == item.key }
            scene.note(item, .rolledBack)
        },
        Wrong("a claim under the same token", breaks: "tokens rise") {
            $0.transitions.insert(
                Observer.Transition(
                    at: 0, key: $0.item(.effect).key, oldState: "queued", newState: "running", token: 1, oldToken: 1,
                    worker: 1, epoch: 1, isStolen: false, application: ""), at: 0)
        },
        Wrong("a target that takes a lower token after a higher one", breaks: "tokens rise") { scene in
            let item = scene.item(.effect)
            scene.effects.removeAll { $0.key == item.key }
            scene.set(.effect, state: "succeeded", token: 2)
            scene.addEffect(item, .effect, token: 2)
            scene.addEffect(item, .effect, token: 1)
        },
        Wrong("two jobs with one token of a lock", breaks: "a lock has one owner") { scene in
            let other = scene.item(.lock)
            guard
                let same = scene.workload.items.first(where: {
                    $0.kind == .lock && $0.lock == other.lock && $0.key != other.key && !$0.isRolledBack
                })
            else { preconditionFailure("the seed gives two jobs for a lock") }
            scene.effects.removeAll { $0.key == same.key && $0.step == .begin }
            scene.addEffect(same, .begin, token: 1, lockToken: Int64(other.index))
        },
        Wrong("a claim from an owner with a lease", breaks: "no owner is robbed") { scene in
            let item = scene.item(.effect)
            scene.transitions.removeAll { $0.key == item.key }
            scene.move(item.key, nil, "running", token: 1)
            scene.move(item.key, "running", "running", token: 2, oldToken: 1, isStolen: true)
            scene.move(item.key, "running", "succeeded", token: 2)
            scene.set(.effect, state: "succeeded", token: 2)
            scene.addEffect(item, .effect, token: 2)
        },
        Wrong("an end without a result", breaks: "a result for each end, under one id") {
            $0.results[$0.item(.effect).key] = nil
        },
        Wrong("results under two ids", breaks: "a result for each end, under one id") {
            $0.results[$0.item(.effect).key]?["another/succeeded"] = 1
        },
        Wrong("a result that says something else", breaks: "a result for each end, under one id") {
            $0.results[$0.item(.effect).key] = ["chaos/k/discarded": 1]
        },
        Wrong("an effect of the other job under a key", breaks: "a conflict never runs") {
            $0.set(.effect, state: "succeeded", token: 2)
            $0.addEffect($0.item(.effect), .effect, token: 2, nonce: "other")
        },
        Wrong("a message set aside as poison", breaks: "no innocent is set aside") {
            $0.setAside.append(("poison", $0.item(.effect).key, "{}"))
        },
        Wrong("a conflict where there was none", breaks: "no innocent is set aside") {
            $0.setAside.append(("conflict", $0.item(.effect).key, "{}"))
        },
        Wrong("a job set aside for crashes of others' making", breaks: "no innocent is set aside") {
            $0.set(.doomed, state: "discarded", errors: #"[{"at": "now", "code": "poison", "attempt": 1}]"#)
        },
        Wrong("a write of a deposed leader", breaks: "a deposed leader writes nothing") {
            $0.staleWrites.append(
                Observer.StaleWrite(what: "DELETE of agenda", application: "dispatcher-1", leader: "dispatcher-2"))
        },
        Wrong("a job that nobody takes up for a minute", breaks: "lost jobs are taken up in time") {
            let key = $0.item(.effect).key
            $0.transitions.removeAll { $0.key == key }
            $0.move(key, nil, "running", token: 1, at: 99)
            $0.move(key, "running", "running", token: 2, oldToken: 1, at: 160, worker: 2)
            $0.strike(.workerKill, at: 100, "worker-1.1 killed")
        },
        Wrong("a worker that grows", breaks: "memory, descriptors, threads bounded") {
            $0.footprint.samples.append(
                Footprint.Sample(
                    at: 1, process: "worker-1.1", residentBytes: 1 << 30, descriptors: 1, threads: 1, sockets: 1))
        },
        Wrong("too many connections", breaks: "memory, descriptors, threads bounded") {
            $0.footprint.connections.append(.init(at: 1, count: 67))
        },
        Wrong("a process that crashes", breaks: "no process ends by itself") {
            $0.ends.append(Seat.End(at: .zero, process: "worker-1.1", status: .signalled(11), wasTold: false))
        },
        Wrong("a process killed by nobody", breaks: "no process ends by itself") { scene in
            let deaths = scene.effects.count { $0.step == .attempt } + 1
            for _ in 0..<deaths {
                scene.ends.append(Seat.End(at: .zero, process: "w", status: .signalled(9), wasTold: false))
            }
        },
        Wrong("a process that ends as if it were done", breaks: "no process ends by itself") {
            $0.ends.append(Seat.End(at: .zero, process: "worker-1.1", status: .exited(0), wasTold: false))
        },
        Wrong("messages that stay", breaks: "nothing is left in the queues") { $0.left = 1 },
    ]

    @Test("Whatever goes wrong is seen, and nothing else", arguments: wrongs)
    func sees(wrong: Wrong) {
        var scene = Scene()
        wrong.happen(&scene)
        let broken = Set(scene.violations.map(\.invariant))
        #expect(broken == [wrong.invariant])
    }

    @Test("Every promise has something that breaks it here")
    func complete() { #expect(Set(Self.wrongs.map(\.invariant)).count == Checker.invariants) }

    @Test("A job that an operator deleted with its queue is not missed; one that was acknowledged afterwards is")
    func deletedQueue() {
        var scene = Scene()
        let item = scene.item(.effect)
        scene.forget(item.key)
        scene.strike(.queueDelete, at: item.index + 1, "")
        #expect(scene.violations.isEmpty)
        scene.strikes = []
        scene.strike(.queueDelete, at: item.index - 1, "")
        #expect(scene.violations.map(\.invariant) == ["every acknowledged job ends"])
    }

    @Test(
        "A suspect whose worker the harness takes from it is no innocent set aside; one whose worker nobody touched is")
    func takenForPoison() {
        func broken(_ struck: String, at: Int, by fault: Fault = .workerFreeze) -> Set<String> {
            var scene = Scene()
            let key = scene.item(.effect).key
            scene.set(
                .effect, state: "discarded", token: 3, errors: #"[{"at": "now", "code": "poison", "attempt": 1}]"#)
            scene.results[key] = ["chaos/\(key)/discarded": 1]
            scene.transitions.removeAll { $0.key == key }
            scene.move(key, nil, "running", token: 1, at: 10)
            scene.move(key, "running", "running", token: 2, oldToken: 1, at: 20)
            scene.move(key, "running", "running", token: 3, oldToken: 2, at: 30)
            scene.move(key, "running", "discarded", token: 3, at: 38)
            scene.strike(fault, at: at, struck)
            return Set(scene.violations.map(\.invariant))
        }
        #expect(broken("worker-1.1 stopped for 8000 ms", at: 31).isEmpty)
        #expect(broken("between worker-1 and database", at: 31, by: .linkMute).isEmpty)
        let promises: Set<String> = ["a job ends as it must", "no innocent is set aside"]
        #expect(broken("worker-1.2 stopped for 8000 ms", at: 31) == promises)
        #expect(broken("between worker-2 and database", at: 31, by: .linkMute) == promises)
        #expect(broken("worker-1.1 stopped for 8000 ms", at: 25) == promises)
        #expect(broken("worker-1.1 stopped for 8000 ms", at: 39) == promises)
        #expect(broken("worker-1.1 exited(0)", at: 31, by: .workerDrain) == promises)
    }
}
