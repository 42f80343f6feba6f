import AMQPClient
import CoreMetrics
import FleetBroker
import FleetModel
import FleetObservability
import FleetStore
import Logging
import PostgresClient
import ServiceLifecycle
import Synchronization
import Tracing

/// A worker: serves the handlers it was given until it is told to stop, then drains.
///
/// ```swift
/// let worker = Worker(configuration, definitions: [greet], logger: logger)
/// try await ServiceGroup(services: [worker], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger).run()
/// ```
///
/// On a graceful shutdown it stops consuming, lets running jobs end until `configuration.drain` is over, cancels the
/// rest and hands them back unspent, flushes what is settled, gives its lease back, and returns.
public final class Worker: Service {
    let configuration: WorkerConfiguration
    /// By their types' names.
    private let definitions: [String: JobDefinition]
    let subsystems: [String]
    let logger: Logger
    let pool: PostgresPool
    let store: FleetStore
    let publisher: AMQPPublisher
    let consumer: AMQPConsumer
    let intake: Intake
    let running = RunningJobs()
    let pauses = Mutex(Pauses())
    let shares: Mutex<SlotShares>
    let settler: Settler
    let lease: LeaseKeeper
    let orders: PostgresListener
    /// Subsystems whose queue was deleted, for the upkeep to see to.
    let lostQueues = LostQueues()
    let locks: LockKeeper
    let limits: LimitKeeper
    /// What this worker has done so far.
    public let counters = WorkerCounters()
    let jobMetrics: JobMetrics
    let tracing: WorkerTracing?
    let publishing = LinkRecord(role: "publish", part: "worker")
    let consuming = LinkRecord(role: "consume", part: "worker")
    let presence: ConsumerPresence
    let answers = DatabaseRecord()
    /// Called once, when the first deliveries may arrive.
    private let onReady: @Sendable () -> Void

    /// How long a cancelled handler may take to end before its job is settled without it.
    static let stubbornGrace: Duration = .seconds(5)
    /// How often running jobs are looked at for deadlines; an attempt's time limit holds to within this.
    static let sweepInterval: Duration = .milliseconds(100)
    /// How long, after the drain time, outcomes may wait for database and broker before they are left to redelivery.
    static let flushLimit: Duration = .seconds(10)

    /// - Parameters:
    ///   - metrics: what counts its jobs; the process's own factory when nil.
    ///   - tracer: what makes spans of its jobs; the process's own when nil, and none when that does nothing.
    ///   - onReady: called once, when the first deliveries may arrive.
    public init(
        _ configuration: WorkerConfiguration, definitions: [JobDefinition], logger: Logger,
        metrics: (any MetricsFactory)? = nil, tracer: (any Tracer)? = nil,
        onReady: @escaping @Sendable () -> Void = {}
    ) {
        let metrics = metrics ?? MetricsSystem.factory
        jobMetrics = JobMetrics(metrics, types: definitions.map(\.type))
        tracing = WorkerTracing(tracer ?? InstrumentationSystem.tracer)
        var byName: [String: JobDefinition] = [:]
        for definition in definitions {
            let previous = byName.updateValue(definition, forKey: definition.type.name)
            precondition(previous == nil, "two handlers for \(definition.type)")
        }
        self.configuration = configuration
        self.definitions = byName
        self.logger = logger
        self.onReady = onReady
        subsystems = Set(definitions.map(\.type.subsystem)).sorted()
        let topology = FleetBroker.topology(subsystems: subsystems)
        var amqp = configuration.amqp
        amqp.connectionName = "\(configuration.name) publishing"
        publisher = AMQPPublisher(
            configuration: amqp, logger: logger, onEvent: { [publishing] in publishing.note($0) })
        amqp.connectionName = "\(configuration.name) consuming"
        consumer = AMQPConsumer(
            configuration: amqp,
            subscriptions: subsystems.flatMap { subsystem in
                [FleetBroker.urgentQueue(subsystem), FleetBroker.jobsQueue(subsystem)].map {
                    AMQPSubscription(
                        queue: $0,
                        prefetch: configuration.prefetch(of: subsystem, slots: configuration.slots(of: subsystem)),
                        consumerTag: configuration.name)
                }
            },
            topology: topology, logger: logger,
            onEvent: { [lostQueues, consuming] event in
                consuming.note(event)
                switch event {
                case .consumerCancelled(let queue): lostQueues.add(QueueLoss(queue: queue, isWitnessed: true))
                case .queueFoundIdle(let queue): lostQueues.add(QueueLoss(queue: queue, isWitnessed: false))
                default: break
                }
            })
        presence = ConsumerPresence(amqp)
        let took = Timer(label: "gaia_database_seconds", dimensions: [("part", "worker")], factory: metrics)
        pool = PostgresPool(
            configuration: FleetStore.keyed(configuration.database), logger: logger,
            onAnswer: { [answers] in answers.note($0, $1, took) })
        store = FleetStore(pool: pool)
        let slots = Dictionary(uniqueKeysWithValues: subsystems.map { ($0, configuration.slots(of: $0)) })
        intake = Intake(slots: slots)
        shares = Mutex(SlotShares(declared: slots, fixed: Set(configuration.places.keys)))
        settler = Settler(
            running: running, store: store, consumer: consumer, publisher: publisher, worker: configuration.name,
            fault: configuration.fault, slow: configuration.slow, logger: logger, counters: counters,
            metrics: jobMetrics)
        var listening = configuration.database
        listening.applicationName = "gaia orders"
        orders = PostgresListener(
            configuration: listening,
            channels: [FleetStore.controlChannel, FleetStore.limitChannel, FleetStore.reportChannel], logger: logger)
        lease = LeaseKeeper(
            store: store, database: configuration.database, lease: configuration.lease, logger: logger)
        locks = LockKeeper(store: store, database: configuration.database, logger: logger)
        limits = LimitKeeper(store: store, worker: configuration.name, logger: logger)
    }

    // MARK: Life

    public func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.pool.run() }
            let owner: WorkerEpoch
            do {
                try await store.awaitReady(
                    configuration.database, limit: configuration.startWait, logger: logger)
                try await FleetBroker.awaitReady(
                    configuration.amqp, FleetBroker.topology(subsystems: subsystems), limit: configuration.startWait,
                    logger: logger)
                // Before anything is taken: what rested when the worker was stopped rests still.
                try await lookForPauses()
                try await limits.prepare()
                owner = try await lease.begin(card)
            } catch {
                await pool.close()
                group.cancelAll()
                throw error
            }
            try await serve(owner.worker)
            await pool.close()
            try await group.waitForAll()
        }
    }

    private enum Part { case drained, other }

    private func serve(_ worker: Int64) async throws {
        try await withThrowingTaskGroup(of: Part.self) { group in
            func add(_ body: @escaping @Sendable () async throws -> Void) {
                group.addTask {
                    try await body()
                    return .other
                }
            }
            add { try await self.publisher.run() }
            add { try await self.consumer.run() }
            add { await self.lease.hold(load: { self.load }, onFenced: { self.fence() }) }
            add {
                await self.locks.run(worker: worker) {
                    await self.lease.refused($0, load: { self.load }, onFenced: { self.fence() })
                }
            }
            add {
                await self.limits.run(owner: { await self.lease.present }) {
                    await self.lease.refused($0, load: { self.load }, onFenced: { self.fence() })
                }
            }
            add { await self.receive() }
            add { await self.claim() }
            add { await self.settler.complete() }
            add { await self.settler.publish() }
            add { await self.sweep() }
            add { try await self.orders.run() }
            add { await self.followOrders() }
            add { await self.shareSlots() }
            add { await self.reportProgress() }
            add { await self.followLosses() }
            group.addTask {
                // Ends by a graceful shutdown, or by cancellation when a link has failed for good.
                try? await gracefulShutdown()
                await self.drain(hastily: Task.isCancelled)
                return .drained
            }
            logger.info(
                "worker \(configuration.name) serves \(definitions.keys.sorted().joined(separator: ", "))")
            onReady()
            // What ends with an error ends the group: the others are cancelled, and draining follows from that.
            while let part = try await group.next() {
                if part == .drained { group.cancelAll() }
            }
        }
    }

    private var card: WorkerCard {
        WorkerCard(
            name: configuration.name, host: configuration.host, processID: configuration.processID,
            subsystems: subsystems, slots: subsystems.reduce(0) { $0 + configuration.slots(of: $1) })
    }

    /// Stops in the order in which work flows, so that each stage empties into the next.
    ///
    /// - Parameter hastily: a link has failed for good; there is nothing to wait for.
    private func drain(hastily: Bool) async {
        let limit = hastily ? .zero : configuration.drain
        logger.info("draining: \(running.count) jobs run, \(limit) at most")
        await lease.drain()
        await consumer.stopConsuming()
        handBack(intake.stop())
        let overdue = Task {
            try await Task.sleep(for: limit)
            let count = running.count
            if count > 0 { logger.notice("drain time is over: \(count) jobs are cancelled and handed back") }
            running.interruptAll()
            try await Task.sleep(for: hastily ? .zero : Self.flushLimit)
            settler.hurry()
            // Or what it has in hand would wait its whole publish timeout.
            await publisher.close()
        }
        await receiving.zero()
        await claiming.zero()
        await running.empty()
        await settler.finish()
        locks.end()
        limits.end()
        overdue.cancel()
        await consumer.close()
        await publisher.close()
        await orders.close()
        await lease.end()
        let done = counters.values
        logger.info(
            "drained: \(done.succeeded) succeeded, \(done.retried) retried, \(done.discarded) discarded, \(done.rejected) set aside"
        )
    }

    /// The lease is lost: what runs here may be claimed by others at any moment, so it is stopped and handed back.
    private func fence() {
        logger.error("the lease was lost: \(running.count) running jobs are cancelled")
        running.interruptAll()
    }

    // MARK: Receiving

    private let receiving = Countdown()

    private func receive() async {
        receiving.up()
        defer { receiving.down() }
        for await batch in consumer.deliveries {
            presence.noteDeliveries(batch)
            var arrivals: [Arrival] = []
            arrivals.reserveCapacity(batch.count)
            for delivery in batch {
                do throws(Rejection) {
                    arrivals.append(
                        try Arrival(
                            delivery, definitions: definitions, metrics: jobMetrics,
                            payloadBytesMax: configuration.payloadBytesMax))
                } catch {
                    reject(delivery, error)
                }
            }
            handBack(intake.arrive(arrivals))
        }
    }

    /// Gives back what arrived and was not claimed, so that another has it while this worker still drains.
    func handBack(_ arrivals: [Arrival]) { consumer.reject(arrivals.map(\.tag), requeue: true) }

    private func reject(_ delivery: AMQPDelivery, _ rejection: Rejection) {
        counters.count { $0.rejected += 1 }
        let name = delivery.properties.messageID ?? "without message_id"
        logger.notice("set aside (\(rejection.reason.rawValue)): message \(name) from \(delivery.queue): \(rejection)")
        tracing?.refused(delivery, rejection)
        var publication = Publication()
        publication.courtesy = rejection.notices(delivery, worker: configuration.name)
        if delivery.flaws.contains(.oversize) {
            // Its body was never taken into memory: the broker moves it by itself.
            consumer.reject([delivery.tag], requeue: false)
        } else {
            publication.required = [rejection.setAside(delivery, worker: configuration.name)]
            publication.acknowledge = delivery.tag
        }
        settler.add([publication])
    }

    // MARK: Claiming

    private let claiming = Countdown()

    private func claim() async {
        claiming.up()
        defer { claiming.down() }
        var pace = Pace(now: .now)
        while let batch = await intake.next() {
            let begin = ContinuousClock.now
            jobMetrics.claimed(batch.count)
            var fresh: [Arrival] = []
            var repeats: [Arrival] = []
            for arrival in batch {
                switch running.match(arrival) {
                case .none: fresh.append(arrival)
                case .adopted: intake.release(arrival.identity.subsystem)
                case .duplicate: repeats.append(arrival)
                }
            }
            let resting = pauses.withLock { pauses in fresh.filter { pauses.rests(type: $0.job.type) } }
            if !resting.isEmpty {
                let names = Set(resting.map(\.identity))
                fresh.removeAll { names.contains($0.identity) }
                await hold(resting)
            }
            await ask(fresh) { try await self.store.claim($0, by: $1) }
            await ask(repeats) { try await self.store.classify($0, by: $1) }
            await pace.rest(after: batch.count, begunAt: begin, isFull: batch.count == BatchLimit.claim)
        }
    }

    /// Jobs of a type that rests are written down, for the dispatcher to publish again; what the ledger knows better of
    /// any of them is heard all the same.
    private func hold(_ batch: [Arrival]) async {
        do {
            let held = try await Patience()(
                isHopeless: { DatabaseFault.isData($0) || self.settler.isHurried },
                { try await self.store.hold(batch.map(\.claim)) })
            let (kept, others) = (
                batch.filter { held.contains($0.identity) }, batch.filter { !held.contains($0.identity) }
            )
            counters.count { $0.parked += kept.count }
            for arrival in kept { intake.release(arrival.identity.subsystem) }
            consumer.acknowledge(kept.map(\.tag))
            await ask(others) { try await self.store.classify($0, by: $1) }
        } catch  where DatabaseFault.isData(error) {
            // Claiming finds out which of them it is, and sets it aside.
            await ask(batch) { try await self.store.claim($0, by: $1) }
        } catch {
            abandon(batch)
        }
    }

    /// Puts a batch before the ledger and acts on each answer.
    private func ask(
        _ batch: [Arrival], _ question: ([ClaimRequest], WorkerEpoch) async throws -> [ClaimAnswer]
    ) async {
        if batch.isEmpty { return }
        guard let owner = await lease.owner() else { return abandon(batch) }
        configuration.fault?.reach(.claiming, batch.map(\.job.key))
        do {
            let answers = try await Patience()(
                isHopeless: { DatabaseFault.isData($0) || self.settler.isHurried },
                onFailure: { error, count, pause in
                    if count % 10 == 1 {
                        self.logger.warning("claims wait for the database: \(error); next try in \(pause)")
                    }
                },
                { try await question(batch.map(\.claim), owner) })
            await act(on: answers, batch, owner)
        } catch  where DatabaseFault.isData(error) && batch.count > 1 {
            // One message that the database cannot store must not hold up its neighbours.
            await ask(Array(batch[..<(batch.count / 2)]), question)
            await ask(Array(batch[(batch.count / 2)...]), question)
        } catch  where DatabaseFault.isData(error) {
            intake.release(batch[0].job.type.subsystem)
            reject(batch[0].whole, Rejection(.malformed, "the ledger cannot hold this message: \(error)"))
        } catch {
            abandon(batch)
        }
    }

    private func act(on answers: [ClaimAnswer], _ batch: [Arrival], _ owner: WorkerEpoch) async {
        var finished: [(Arrival, JobResult)] = []
        var ended: [(Arrival, JobResult)] = []
        var owned: [(Arrival, Ownership)] = []
        var suspects: [(Arrival, Ownership)] = []
        var again: [Arrival] = []
        var parked: [AMQPDeliveryTag] = []
        var isFenced = false
        for (arrival, answer) in zip(batch, answers) {
            if case .claimed(let ownership) = answer {
                if ownership.isSuspect {
                    suspects.append((arrival, ownership))
                } else {
                    owned.append((arrival, ownership))
                }
                continue
            }
            intake.release(arrival.identity.subsystem)
            switch answer {
            case .claimed: break
            case .finished(let result):
                tracing?.notRun(arrival, "repeat")
                finished.append((arrival, result))
            case .ended(let result):
                tracing?.notRun(arrival, result.state.rawValue)
                ended.append((arrival, result))
            case .parked:
                tracing?.notRun(arrival, "parked")
                parked.append(arrival.tag)
            case .conflict(let type):
                counters.count { $0.conflicts += 1 }
                reject(
                    arrival.whole,
                    Rejection(
                        .conflict,
                        "the key '\(arrival.job.key)' belongs to another \(type) job, with another type or payload; "
                            + "it was not run: give this job a key of its own"))
            case .again: again.append(arrival)
            case .fenced:
                isFenced = true
                again.append(arrival)
            }
        }
        start(owned, owner)
        counters.count { $0.parked += parked.count }
        consumer.acknowledge(parked)
        counters.count { $0.repeats += finished.count }
        await answer(finished)
        settler.announce(ended)
        await answer(ended)
        if isFenced {
            await lease.refused(owner, load: { self.load }, onFenced: { self.fence() })
        }
        handBack(intake.arrive(again))
        for (arrival, ownership) in suspects { await runAlone(arrival, ownership, owner) }
    }

    /// Runs a job whose workers were lost before, when everything else here has ended. If it takes this worker down too,
    /// it was alone, and no other job is blamed. Nothing else is claimed meanwhile.
    private func runAlone(_ arrival: Arrival, _ ownership: Ownership, _ owner: WorkerEpoch) async {
        logger.notice(
            "\(arrival.identity) runs alone: \(ownership.crashes) workers were lost while they ran it",
            metadata: .job(arrival.identity, attempt: ownership.attempt, traceparent: arrival.job.traceparent))
        await running.empty()
        do {
            if intake.isStopped || settler.isHurried { throw CancellationError() }
            guard
                try await Patience()(
                    isHopeless: { _ in self.settler.isHurried },
                    { try await self.store.runAlone(arrival.identity, token: ownership.token) })
            else { throw CancellationError() }
            start([(arrival, ownership)], owner)
            await running.empty()
        } catch {
            // Not begun: given back as it was.
            let run = RunningJobs.Run(arrival, ownership, expiry: .now + .seconds(3_600), expiryKind: .timeout) {
                self.settle(arrival.identity, ownership.token, .handedBack)
                self.intake.release(arrival.identity.subsystem)
            }
            running.start([run])
        }
    }

    /// Deliveries of finished jobs get the stored result, and so does everyone who still waits for it.
    private func answer(_ finished: [(Arrival, JobResult)]) async {
        if finished.isEmpty { return }
        var waiters: [JobIdentity: [Waiter]] = [:]
        do {
            let found = try await Patience()(
                isHopeless: { _ in self.settler.isHurried },
                { try await self.store.waiters(of: finished.map { $0.1.identity }) })
            waiters = Dictionary(grouping: found, by: \.identity)
        } catch {
            logger.warning("\(finished.count) repeats are left to redelivery: \(error)")
            return
        }
        settler.add(
            finished.map { arrival, result in
                var publication = Publication()
                publication.acknowledge = arrival.tag
                publication.answer(
                    with: result, replyTo: arrival.job.replyTo, correlationID: arrival.job.correlationID,
                    waiters: waiters[result.identity] ?? [])
                return publication
            })
    }

    /// The worker stops before these could be claimed: they are the broker's still.
    private func abandon(_ batch: [Arrival]) {
        handBack(batch)
        for arrival in batch { intake.release(arrival.identity.subsystem) }
    }
}
