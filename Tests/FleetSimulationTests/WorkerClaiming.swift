import FleetModel
import FleetStore

/// From arrival to claim, as `Worker.claim` and `Worker.act` do it.
extension SimulatedWorker {
    func claimNext() {
        guard !isClaiming, !isDraining else { return endIfDrained() }
        let batch = takeBatch()
        if batch.isEmpty { return }
        isClaiming = true
        var fresh: [SimulatedArrival] = []
        var repeats: [SimulatedArrival] = []
        for arrival in batch {
            switch match(arrival) {
            case .none: fresh.append(arrival)
            case .adopted: release()
            case .duplicate: repeats.append(arrival)
            }
        }
        ask(fresh, isClaim: true) { [self] in
            ask(repeats, isClaim: false) { [self] in
                isClaiming = false
                claimNext()
            }
        }
    }

    /// As many as there are free slots; of several with one key only the first.
    private func takeBatch() -> [SimulatedArrival] {
        var batch: [SimulatedArrival] = []
        var kept: [SimulatedArrival] = []
        for arrival in waiting {
            if busySlots < world.plan.slots, !batch.contains(where: { $0.key == arrival.key }) {
                batch.append(arrival)
                busySlots += 1
            } else {
                kept.append(arrival)
            }
        }
        waiting = kept
        return batch
    }

    func release() {
        busySlots -= 1
        after(0) { [self] in claimNext() }
    }

    private enum Match { case none, adopted, duplicate }

    /// A job that runs here and whose delivery was lost with the connection takes the new one for its own; not that of a
    /// repeat, which has somebody else to answer.
    private func match(_ arrival: SimulatedArrival) -> Match {
        guard let entry = running[arrival.key] else { return .none }
        let isSame = entry.arrival.replyTo == arrival.replyTo || world.mutants.contains(.adoptsAnyRepeat)
        if entry.arrival.tag.generation < arrival.tag.generation, arrival.delivery.isRedelivered,
            entry.arrival.content == arrival.content, isSame
        {
            running[arrival.key]?.arrival.tag = arrival.tag
            return .adopted
        }
        return .duplicate
    }

    // MARK: Asking

    private func ask(_ batch: [SimulatedArrival], isClaim: Bool, then: @escaping () -> Void) {
        if batch.isEmpty { return then() }
        withOwner { [self] owner in
            guard let owner else {
                abandon(batch)
                return then()
            }
            for arrival in batch where reach(.claiming, arrival.key) { return }
            attempt(batch, owner, isClaim: isClaim, failures: 0) { [self] answers in
                act(on: answers, batch, owner, then: then)
            }
        }
    }

    /// Waits while there is no epoch to claim under.
    private func withOwner(_ body: @escaping (WorkerEpoch?) -> Void) {
        if let owner { body(owner) } else { asking.append(body) }
    }

    /// One try of a question; one whose answer was lost is asked again from its beginning.
    private func attempt(
        _ batch: [SimulatedArrival], _ owner: WorkerEpoch, isClaim: Bool, failures: Int,
        then: @escaping ([ModelAnswer]) -> Void
    ) {
        let again = { [self] in
            patiently(failures: failures + 1) { [self] in
                attempt(batch, owner, isClaim: isClaim, failures: failures + 1, then: then)
            }
        }
        let questions = batch.map { arrival -> ClaimQuestion in
            let job = world.plan.jobs[arrival.key]
            return ClaimQuestion(
                key: arrival.key, content: arrival.content, attemptsMax: job.attemptsMax,
                isRepeatable: job.isRepeatable, replyTo: arrival.replyTo)
        }
        let classify = { [self] (answers: [ModelAnswer?]) in
            let open = answers.indices.filter { answers[$0] == nil }
            if open.isEmpty { return then(answers.compactMap { $0 }) }
            world.database.ask(self, .other, { $0.classify(open.map { questions[$0] }, by: owner) }) { said in
                guard let said else { return again() }
                var answers = answers
                for (position, answer) in zip(open, said) { answers[position] = answer }
                then(answers.map { $0 ?? .again })
            }
        }
        guard isClaim else { return classify(questions.map { _ in nil }) }
        world.database.ask(self, .claim(owner), { $0.claim(questions, by: owner) }) { answers in
            guard let answers else { return again() }
            classify(answers)
        }
    }

    // MARK: Acting

    private func act(
        on answers: [ModelAnswer], _ batch: [SimulatedArrival], _ owner: WorkerEpoch, then: @escaping () -> Void
    ) {
        var finished: [(SimulatedArrival, JobState)] = []
        var suspects: [(SimulatedArrival, ModelAnswer)] = []
        var again: [SimulatedArrival] = []
        var parked: [DeliveryTag] = []
        for (arrival, answer) in zip(batch, answers) {
            if case .claimed(let token, _, _, _, _) = answer {
                world.note(.claimed, self, arrival.key, number: token)
                if reach(.claimed, arrival.key) { return }
                if answer.isSuspect && !world.mutants.contains(.suspectRunsInCompany) {
                    suspects.append((arrival, answer))
                } else if begin(arrival, answer, owner) {
                    return
                }
                continue
            }
            release()
            world.note(.answered, self, arrival.key, number: answer.code)
            switch answer {
            case .claimed: break
            case .finished(let state, _), .ended(let state, _): finished.append((arrival, state))
            case .parked: parked.append(arrival.tag)
            case .conflict: setAside(arrival)
            case .again, .fenced: again.append(arrival)
            }
        }
        world.broker.acknowledge(parked, by: self)
        if answers.contains(.fenced), self.owner == owner { renew() }
        answer(finished) { [self] in
            if isDraining { world.broker.requeue(again.map(\.tag), by: self) } else { waiting += again }
            runAlone(suspects[...], owner, then: then)
        }
    }

    private func setAside(_ arrival: SimulatedArrival) {
        add(SimulatedPublication(messages: [.setAside(arrival.delivery)], acknowledge: arrival.tag))
    }

    /// Deliveries of finished jobs get the stored result, and so does everyone who still waits for it.
    private func answer(_ finished: [(SimulatedArrival, JobState)], failures: Int = 0, then: @escaping () -> Void) {
        if finished.isEmpty { return then() }
        world.database.ask(self, .other, { ledger in finished.map { ledger.waiters[$0.0.key] } }) { [self] found in
            guard let found else {
                return patiently(failures: failures + 1) { [self] in
                    answer(finished, failures: failures + 1, then: then)
                }
            }
            for ((arrival, state), waiters) in zip(finished, found) {
                add(publication(arrival, state, waiters))
            }
            then()
        }
    }

    /// Runs jobs whose workers were lost before, one by one, each when everything else here has ended.
    private func runAlone(
        _ suspects: ArraySlice<(SimulatedArrival, ModelAnswer)>, _ owner: WorkerEpoch, then: @escaping () -> Void
    ) {
        guard let (arrival, answer) = suspects.first, case .claimed(let token, _, _, _, _) = answer else {
            return then()
        }
        let next = { [self] in runAlone(suspects.dropFirst(), owner, then: then) }
        whenEmpty { [self] in
            if isDraining {
                handBackUnbegun(arrival, answer, owner)
                return next()
            }
            noteAlone(arrival.key, token, failures: 0) { [self] isOurs in
                guard isOurs else {
                    handBackUnbegun(arrival, answer, owner)
                    return next()
                }
                if begin(arrival, answer, owner, isAlone: true) { return }
                whenEmpty(next)
            }
        }
    }

    private func noteAlone(_ key: Int, _ token: Int64, failures: Int, then: @escaping (Bool) -> Void) {
        world.database.ask(self, .other, { $0.runAlone(key, token: token) }) { [self] isOurs in
            if let isOurs { return then(isOurs) }
            patiently(failures: failures + 1) { [self] in noteAlone(key, token, failures: failures + 1, then: then) }
        }
    }

    func whenEmpty(_ body: @escaping () -> Void) {
        if running.isEmpty { body() } else { onEmpty.append(body) }
    }

    /// The worker stops before these could be claimed: they are the broker's still.
    private func abandon(_ batch: [SimulatedArrival]) {
        world.broker.requeue(batch.map(\.tag), by: self)
        for _ in batch { release() }
    }
}

extension ModelAnswer {
    /// For the timeline.
    var code: Int64 {
        switch self {
        case .claimed: 0
        case .ended: 1
        case .finished: 2
        case .parked: 3
        case .conflict: 4
        case .again: 5
        case .fenced: 6
        }
    }
}
