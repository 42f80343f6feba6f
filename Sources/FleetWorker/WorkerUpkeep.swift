import FleetBroker
import FleetModel
import FleetStore
import PostgresClient
import Synchronization

/// What a worker does beside its jobs: it hears what operators want, shares out its slots, and tells how far it is.
extension Worker {
    /// How often is looked for jobs that were called off, when nothing was heard of any.
    static let ordersInterval: Duration = .milliseconds(500)
    /// How often is looked for what rests, when nothing was heard of it.
    static let pausesInterval: Duration = .seconds(5)

    /// Cancels what runs here and has been called off, and lets rest what is to rest. A notification says when to look; the
    /// table says what. One task looks, so that what is read first is also acted on first.
    func followOrders() async {
        let bell = Bell()
        await withDiscardingTaskGroup { group in
            group.addTask {
                for await notification in self.orders.notifications {
                    switch notification {
                    case .message(FleetStore.limitChannel, let payload): self.limits.hear(payload)
                    case .message(FleetStore.reportChannel, _): self.lease.report()
                    case .message: bell.ring()
                    // What was said meanwhile is unknown.
                    case .reconnected, .lagged:
                        self.limits.hearAll()
                        bell.ring()
                    }
                }
            }
            group.addTask {
                var looked = ContinuousClock.now
                while !Task.isCancelled {
                    let isHeard = await bell.wait(atMost: Self.ordersInterval)
                    do {
                        if isHeard || ContinuousClock.now - looked >= Self.pausesInterval {
                            looked = .now
                            try await self.lookForPauses()
                        }
                        try await self.lookForOrders()
                    } catch {
                        // The next turn looks again; the pool tells of an outage by itself.
                        self.logger.debug("orders could not be read: \(error)")
                    }
                }
            }
        }
    }

    /// What rests is not consumed, and what waited of it goes back to the broker, for others to hold or for later.
    func lookForPauses() async throws {
        let pauses = Pauses(try await store.pauses().map(\.scope))
        let before = self.pauses.withLock { current in
            defer { current = pauses }
            return current
        }
        for subsystem in subsystems where pauses.rests(subsystem: subsystem) != before.rests(subsystem: subsystem) {
            let isResting = pauses.rests(subsystem: subsystem)
            logger.notice("\(subsystem) \(isResting ? "rests" : "goes on")")
            subscribe(subsystem)
            handBack(intake.rest(subsystem, isResting))
        }
    }

    /// Has as much delivered of a subsystem as its slots and the pauses allow at the moment.
    private func subscribe(_ subsystem: String) {
        let isResting = pauses.withLock { $0.rests(subsystem: subsystem) }
        let slots = shares.withLock { $0.slots[subsystem] ?? 0 }
        for queue in [FleetBroker.urgentQueue(subsystem), FleetBroker.jobsQueue(subsystem)] {
            consumer.limit(queue: queue, prefetch: isResting ? 0 : configuration.prefetch(of: subsystem, slots: slots))
        }
    }

    /// How long after its loss a queue can be expected to be there again, and everything that was published to it before to
    /// be in the ledger as published.
    static let queueReturn: Duration = .seconds(5)

    /// Sees to it that jobs are published again whose messages went with their queue. Those that only the broker knew are gone
    /// with it.
    func followLosses() async {
        while !Task.isCancelled {
            for loss in await lostQueues.next() {
                do {
                    try await Task.sleep(until: loss.noticed + Self.queueReturn, clock: .continuous)
                    let count = try await Patience()({
                        try await self.store.republish(
                            subsystem: FleetBroker.subsystem(ofQueue: loss.queue),
                            urgent: FleetBroker.isUrgent(queue: loss.queue),
                            // What came since it was found idle is in it.
                            olderThan: loss.isWitnessed ? .zero : .now - loss.noticed,
                            isCertain: loss.isWitnessed)
                    })
                    lostQueues.remove(loss)
                    guard count > 0 || loss.isWitnessed else { continue }
                    let what = loss.isWitnessed ? "was deleted" : "held nothing, and nobody consumed from it"
                    logger.notice("\(loss.queue) \(what): \(count) jobs of the ledger are owed to it again")
                } catch {
                    // Cancelled: nothing else ends it.
                    return
                }
            }
        }
    }

    /// How often slots are shared out anew.
    static let sharingInterval: Duration = .seconds(1)

    func shareSlots() async {
        guard configuration.lendsSlots, subsystems.count > 1 else { return }
        while !Task.isCancelled {
            // Woken by cancellation too, which ends the loop.
            try? await Task.sleep(for: Self.sharingInterval)
            let changes = shares.withLock { shares -> [String: Int] in
                let before = shares.slots
                let changed = shares.tick(intake.loads(before))
                return Dictionary(
                    uniqueKeysWithValues: changed.map { ($0, (shares.slots[$0] ?? 0) - (before[$0] ?? 0)) })
            }
            for (subsystem, difference) in changes {
                intake.resize(subsystem, by: difference)
                subscribe(subsystem)
                logger.info("\(subsystem) \(difference > 0 ? "gets" : "gives") \(abs(difference)) slots")
            }
        }
    }

    /// What this worker reports with its lease.
    public var load: WorkerLoad {
        let slots = shares.withLock { $0.slots }
        let (notices, holdings) = (configuration.notices(), configuration.holdings())
        return WorkerLoad(
            busy: running.count,
            subsystems: intake.loads(slots).map { name, load in
                WorkerLoad.Subsystem(
                    name: name, busy: load.busy, slots: slots[name] ?? 0, waiting: load.waiting,
                    notices: notices[name] ?? [], holdings: holdings[name], tally: jobMetrics.tally(of: name).value)
            })
    }

    private func lookForOrders() async throws {
        guard running.count > 0, !Task.isCancelled, let owner = await lease.present else { return }
        for (identity, reason) in try await store.calledOff(owner) {
            running.callOff(identity, reason: reason)
        }
    }

    /// How often progress is written down.
    static let progressInterval: Duration = .seconds(1)

    func reportProgress() async {
        while !Task.isCancelled {
            // Woken by cancellation too, which ends the loop.
            try? await Task.sleep(for: Self.progressInterval)
            let progress = running.takeProgress()
            if progress.isEmpty { continue }
            do {
                try await store.note(progress.map { ($0.job.identity, $0.ownership.token, $0.progress) })
            } catch {
                logger.debug("progress could not be written: \(error)")
            }
            settler.tell(
                progress.map {
                    JobEvent(
                        .progress, job: $0.job, attempt: $0.ownership.attempt,
                        content: ("progress", $0.progress.document)
                    ).message(token: $0.ownership.token)
                })
        }
    }
}

/// A queue of jobs that may have lost messages.
struct QueueLoss: Sendable {
    let queue: String
    /// Deleted while this worker consumed from it; or found with neither messages nor consumers when it came, as after a
    /// deletion while no worker was there, or on a broker that lost its disk.
    let isWitnessed: Bool
    let noticed = ContinuousClock.now
}

/// Losses that are not yet seen to: of each queue the last one. That a queue is found idle after it was deleted is no other.
final class LostQueues: Sendable {
    private let losses = Mutex<[String: QueueLoss]>([:])
    private let bell = Bell()

    func add(_ loss: QueueLoss) {
        losses.withLock { losses in
            if loss.isWitnessed || losses[loss.queue]?.isWitnessed != true { losses[loss.queue] = loss }
        }
        bell.ring()
    }

    /// It is seen to.
    func remove(_ loss: QueueLoss) {
        losses.withLock { losses in
            if losses[loss.queue]?.noticed == loss.noticed { losses[loss.queue] = nil }
        }
    }

    /// Waits for a loss; none when the task is cancelled.
    ///
    /// - Returns: all that are not seen to, in the order in which they were noticed.
    func next() async -> [QueueLoss] {
        await bell.wait(atMost: .seconds(3_600))
        return losses.withLock { $0.values.sorted { $0.noticed < $1.noticed } }
    }
}
