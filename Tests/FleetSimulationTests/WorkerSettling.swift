import FleetModel
import FleetStore

/// From outcome to acknowledgement, as `Settler` does it: commit the completion, publish the result and have it confirmed,
/// acknowledge the delivery.
extension SimulatedWorker {
    // MARK: Completing

    func completeNext() {
        guard !isCompleting, !endings.isEmpty else { return }
        isCompleting = true
        let batch = endings
        endings = []
        complete(batch, failures: 0)
    }

    private func complete(_ batch: [SimulatedEnding], failures: Int) {
        let completions = batch.map {
            ModelCompletion(key: $0.arrival.key, token: $0.token, settlement: $0.settlement)
        }
        let again = { [self] in
            patiently(failures: failures + 1) { [self] in complete(batch, failures: failures + 1) }
        }
        world.database.ask(
            self, .complete(completions),
            { ledger in (ledger.complete(completions), completions.map { ledger.waiters[$0.key] }) }
        ) { [self] answer in
            guard let (answers, waiters) = answer else { return again() }
            let open = answers.indices.filter { answers[$0] == .fenced }
            if open.isEmpty { return conclude(batch, answers) }
            world.database.ask(self, .other, { ledger in open.map { ledger.readBack(completions[$0]) } }) {
                [self] rows in
                guard let rows else { return again() }
                var answers = answers
                for (position, row) in zip(open, rows) {
                    // Written by an earlier try whose answer was lost, if it says what would have been written.
                    guard let row, row.state == completions[position].settlement.state else { continue }
                    answers[position] = .settled(
                        attempt: row.attempt, waiters: row.state.isFinal ? waiters[position] : [])
                }
                conclude(batch, answers)
            }
        }
        for ending in batch where reach(.completing, ending.arrival.key) { return }
    }

    private func conclude(_ batch: [SimulatedEnding], _ answers: [ModelCompletionAnswer]) {
        for ending in batch where reach(.completed, ending.arrival.key) { return }
        var requeued: [DeliveryTag] = []
        for (ending, answer) in zip(batch, answers) {
            let key = ending.arrival.key
            guard let tag = remove(key) else { continue }
            switch answer {
            case .fenced:
                world.note(.fenced, self, key, number: ending.token)
                if world.mutants.contains(.fencedOutcomePublished) {
                    publish(ending, [], tag)
                } else {
                    requeued.append(tag)
                }
            case .settled(_, let waiters):
                world.note(.settled, self, key, number: ending.token)
                if case .handBack = ending.settlement { requeued.append(tag) } else { publish(ending, waiters, tag) }
            }
        }
        world.broker.requeue(requeued, by: self)
        isCompleting = false
        completeNext()
        endIfDrained()
    }

    private func remove(_ key: Int) -> DeliveryTag? {
        let tag = running.removeValue(forKey: key)?.arrival.tag
        if running.isEmpty {
            let waiting = onEmpty
            onEmpty = []
            for body in waiting { after(0, body) }
        }
        return tag
    }

    private func publish(_ ending: SimulatedEnding, _ waiters: Set<Int>, _ tag: DeliveryTag) {
        var arrival = ending.arrival
        arrival.tag = tag
        let state = ending.settlement.state
        if state.isFinal {
            add(publication(arrival, state, waiters))
        } else {
            // Only news, which says nothing that the ledger does not.
            add(SimulatedPublication(acknowledge: tag))
        }
    }

    /// The result for everyone, for whoever asked with this delivery, and for the repeats that wait.
    func publication(_ arrival: SimulatedArrival, _ state: JobState, _ waiters: Set<Int>) -> SimulatedPublication {
        let key = arrival.key
        var publication = SimulatedPublication(acknowledge: arrival.tag, key: key)
        publication.messages.append(.result(key: key, state: state, id: resultID(arrival, state)))
        for replyTo in waiters.union(arrival.replyTo.map { [$0] } ?? []).sorted() {
            publication.messages.append(.reply(key: key, state: state, to: replyTo))
        }
        publication.waiters = waiters.sorted().map { (key, $0) }
        return publication
    }

    private func resultID(_ arrival: SimulatedArrival, _ state: JobState) -> String {
        if world.mutants.contains(.resultIdFromDelivery) { return "\(arrival.key)/\(arrival.tag.number)" }
        return JobResult(
            identity: JobIdentity(subsystem: "test", key: "\(arrival.key)"), type: "test.do.v1", state: state,
            attempt: 1, finishedAt: "", output: nil, error: nil
        ).id
    }

    // MARK: Publishing

    func add(_ publication: SimulatedPublication) {
        openPublications += 1
        if world.mutants.contains(.ackBeforePublish), let tag = publication.acknowledge {
            world.broker.acknowledge([tag], by: self)
        }
        publications.append(publication)
        publishNext()
    }

    private func publishNext() {
        guard !isPublishing, !publications.isEmpty else { return }
        isPublishing = true
        let batch = publications
        publications = []
        world.broker.publish(batch.flatMap(\.messages), by: self) { [self] outcomes in
            var position = 0
            var done: [SimulatedPublication] = []
            for publication in batch {
                let confirmed = outcomes[position..<(position + publication.messages.count)]
                position += publication.messages.count
                if confirmed.allSatisfy({ $0 }) {
                    done.append(publication)
                } else {
                    tryLater(publication, zip(publication.messages, confirmed).filter { !$1 }.map(\.0))
                }
            }
            for publication in done {
                if let key = publication.key, reach(.published, key) { return }
            }
            // A crash before this line repeats the results under the same ids; the delivery comes again.
            strikeOut(done.flatMap(\.waiters), tries: 4) { [self] in
                world.broker.acknowledge(done.compactMap(\.acknowledge), by: self)
                openPublications -= done.count
                isPublishing = false
                publishNext()
                endIfDrained()
            }
        }
    }

    private func tryLater(_ publication: SimulatedPublication, _ open: [SimulatedMessage]) {
        var publication = publication
        publication.messages = open
        patiently(failures: 2) { [self] in
            publications.append(publication)
            publishNext()
        }
    }

    /// If it cannot be written they stay on the agenda and are answered once more, under the same id.
    private func strikeOut(_ waiters: [(key: Int, replyTo: Int)], tries: Int, then: @escaping () -> Void) {
        if waiters.isEmpty || tries == 0 { return then() }
        world.database.ask(
            self, .other, { ledger in for waiter in waiters { ledger.answered(waiter.key, waiter.replyTo) } }
        ) { [self] done in
            if done != nil { return then() }
            patiently(failures: 2) { [self] in strikeOut(waiters, tries: tries - 1, then: then) }
        }
    }
}
