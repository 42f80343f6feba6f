import AMQPClient
import FleetBroker
import FleetModel
import FleetStack
import FleetStore
import FoundationEssentials
import Logging
import PostgresClient
import Synchronization

/// One run: servers, fleet, producers, target, faults; then the checker's word.
public struct ChaosRun: Sendable {
    public let options: ChaosOptions
    public let program: ChaosProgram
    /// Where servers and logs live; must be new.
    public let directory: String
    /// Told now and then how far it is.
    public let progress: @Sendable (String) -> Void
    /// Its end brings the run to its own: no further strike, no further job, and the checker's word on what there was.
    public let halt: AsyncStream<Never>

    public init(
        _ options: ChaosOptions, program: ChaosProgram, directory: String, halt: AsyncStream<Never>,
        progress: @escaping @Sendable (String) -> Void
    ) {
        self.options = options
        self.program = program
        self.directory = directory
        self.halt = halt
        self.progress = progress
    }

    /// Connections that a worker or a dispatcher may have: a pool, and one each for life, orders and locks.
    private static let connectionsPerProcess = 8

    /// - Throws: ``ChaosError`` when the harness could not do what it was to do, such as bring about a fault.
    public func perform() async throws -> ChaosReport {
        let plan = ChaosPlan(options)
        let volume = try walVolume(plan)
        progress("starting \(options.nodes) broker node(s) and PostgreSQL …")
        var stackOptions = Stack.Options(directory: directory, nodes: options.nodes, management: false)
        if let volume {
            stackOptions.databaseLogDirectory = volume.path
            stackOptions.databaseSettings = ["max_wal_size": "32MB", "min_wal_size": "2MB"]
        }
        stackOptions.databaseSettings["max_connections"] = "150"
        let result: Result<ChaosReport, any Error>
        do { result = .success(try await withStack(stackOptions) { try await perform(plan, $0, volume) }) } catch {
            result = .failure(error)
        }
        try volume?.unmount()
        return try result.get()
    }

    private func withStack(
        _ options: Stack.Options, _ body: (Stack) async throws -> ChaosReport
    ) async throws -> ChaosReport {
        let stack = try await Stack.up(options)
        let result: Result<ChaosReport, any Error>
        do { result = .success(try await body(stack)) } catch { result = .failure(error) }
        try await stack.down()
        return try result.get()
    }

    private func walVolume(_ plan: ChaosPlan) throws -> SmallVolume? {
        guard plan.strikes.contains(where: { $0.fault == .databaseDiskFull }) else { return nil }
        return try SmallVolume.mount(at: "\(directory)-wal", megabytes: 128)
    }

    private var logger: Logger {
        var logger = Logger(label: "gaia.chaos") { StreamLogHandler.standardError(label: $0) }
        // Connections break all the time here; it is the fleet's own word that counts.
        logger.logLevel = .critical
        return logger
    }

    private func perform(_ plan: ChaosPlan, _ stack: Stack, _ volume: SmallVolume?) async throws -> ChaosReport {
        var database = try PostgresConfiguration(url: stack.database.url)
        database.applicationName = Observer.applicationName
        database.poolSize = Observer.poolSize
        var amqp = try AMQPConfiguration(url: stack.environment["GAIA_AMQP_URL"] ?? "")
        amqp.connectionName = "chaos observer"
        let pool = PostgresPool(configuration: database, logger: logger)
        let observer = Observer(pool: pool, amqp: amqp, logger: logger)
        let running = Task { try await pool.run() }
        let result: Result<ChaosReport, any Error>
        do {
            _ = try await FleetStore(pool: pool).migrate()
            try await observer.install()
            try await FleetBroker.awaitReady(amqp, Observer.topology, limit: .seconds(30), logger: logger)
            if let cluster = stack.cluster {
                for queue in Observer.topology.queues { try await cluster.awaitQuorum(of: queue.name) }
            }
            result = .success(try await withTarget(plan, stack, volume, observer))
        } catch {
            result = .failure(error)
        }
        await pool.close()
        try await running.value
        return try result.get()
    }

    private func withTarget(
        _ plan: ChaosPlan, _ stack: Stack, _ volume: SmallVolume?, _ observer: Observer
    ) async throws -> ChaosReport {
        let clock = RunClock()
        let target = EffectTarget(clock: clock)
        let (ports, portsIn) = AsyncStream.makeStream(of: Int.self, bufferingPolicy: .bufferingNewest(1))
        let serving = Task {
            // A target that does not come to listen is not waited for.
            defer { portsIn.finish() }
            try await target.run { portsIn.yield($0) }
        }
        defer { serving.cancel() }
        var port: Int?
        for await bound in ports {
            port = bound
            break
        }
        guard let port else { throw ChaosError("the target got no port") }
        let consumer = observer.consumer()
        let reading = Task {
            async let link: Void = consumer.run()
            await observer.read(consumer)
            try await link
        }
        let result: Result<ChaosReport, any Error>
        do { result = .success(try await withFleet(plan, stack, volume, observer, target, port, clock)) } catch {
            result = .failure(error)
        }
        await consumer.close()
        try await reading.value
        return try result.get()
    }

    // MARK: The fleet

    private func seats(_ stack: Stack, _ targetPort: Int, _ clock: RunClock) async throws -> (
        workers: [Seat], dispatchers: [Seat]
    ) {
        let amqp = try AMQPConfiguration(url: stack.environment["GAIA_AMQP_URL"] ?? "")
        let url = stack.database.url
        guard let databasePort = url.split(separator: ":").last?.split(separator: "/").first.flatMap({ Int($0) }) else {
            throw ChaosError("the database's address has no port")
        }
        let logs = "\(stack.directory)/logs"
        try FileManager.default.createDirectory(atPath: logs, withIntermediateDirectories: true)
        var environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("GAIA_") }
        environment["GAIA_WORKER_LEASE_MS"] = "\(ChaosOptions.lease.milliseconds)"
        environment["GAIA_WORKER_DRAIN_MS"] = "5000"
        environment["GAIA_WORKER_SLOTS_DEFAULT"] = "20"
        environment["GAIA_DISPATCHER_GRACE_MS"] = "\(ChaosOptions.grace.milliseconds)"
        environment["GAIA_DISPATCHER_POLL_MS"] = "\(ChaosOptions.poll.milliseconds)"
        environment["GAIA_CHAOS_TARGET"] = "http://127.0.0.1:\(targetPort)"
        func seat(_ name: String, _ arguments: [String]) async throws -> Seat {
            try await Seat(
                name, executable: program.executable, arguments: arguments, environment: environment,
                brokerPorts: amqp.endpoints.map(\.port), databasePort: databasePort,
                brokerURL: { ports in
                    let hosts = ports.map { "127.0.0.1:\($0)" }.joined(separator: ",")
                    return "amqp://\(amqp.user):\(amqp.password)@\(hosts)/?heartbeat=5"
                },
                databaseURL: { url.replacing(":\(databasePort)/", with: ":\($0)/") }, logs: logs, clock: clock)
        }
        var workers: [Seat] = []
        for number in 1...options.workers { workers.append(try await seat("worker-\(number)", program.worker)) }
        var dispatchers: [Seat] = []
        for number in 1...options.dispatchers {
            dispatchers.append(try await seat("dispatcher-\(number)", program.dispatcher))
        }
        return (workers, dispatchers)
    }

    private func withFleet(
        _ plan: ChaosPlan, _ stack: Stack, _ volume: SmallVolume?, _ observer: Observer, _ target: EffectTarget,
        _ port: Int, _ clock: RunClock
    ) async throws -> ChaosReport {
        progress("starting \(options.workers) workers and \(options.dispatchers) dispatchers …")
        let (workers, dispatchers) = try await seats(stack, port, clock)
        let seats = workers + dispatchers
        let gauges = Gauges()
        let keeping = Task {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for seat in seats { group.addTask { try await seat.run() } }
                for try await _ in group {}
            }
        }
        let ending: Result<ChaosReport, any Error>
        do {
            try await chaosEventually("the fleet to be ready", within: .seconds(60)) {
                let live = try await observer.ask("select count(*) from gaia.worker where state = 'live'").single()
                return try await observer.leader() != nil && live.get(0, as: Int64.self) == workers.count
            }
            ending = .success(
                try await load(plan, stack, volume, observer, target, clock, workers, dispatchers, gauges))
        } catch {
            ending = .failure(error)
        }
        var stops: [Seat.End] = []
        for seat in seats {
            if let status = try await seat.close(grace: .seconds(40)) {
                stops.append(Seat.End(at: clock.now, process: seat.process, status: status, wasTold: true))
            }
        }
        try await keeping.value
        for seat in seats { try await seat.closeLinks() }
        var report = try ending.get()
        report.add(stops.filter { !$0.status.isSuccess }.map { "\($0.process) \($0.status) when it was told to end" })
        return report
    }

    private func load(
        _ plan: ChaosPlan, _ stack: Stack, _ volume: SmallVolume?, _ observer: Observer, _ target: EffectTarget,
        _ clock: RunClock, _ workers: [Seat], _ dispatchers: [Seat], _ gauges: Gauges
    ) async throws -> ChaosReport {
        let workload = Workload(seed: options.seed, jobs: options.jobs, hasPoison: options.hasPoison)
        let last = Mutex("")
        let injector = Injector(
            stack: stack, workers: workers, dispatchers: dispatchers, observer: observer, clock: clock,
            walVolume: volume, clockLibrary: program.clockLibrary,
            onStrike: { fault in last.withLock { $0 = fault } })
        var database = try PostgresConfiguration(url: stack.database.url)
        database.applicationName = "chaos producer"
        database.acquireTimeout = .seconds(5)
        let producers = Producers(
            workload: workload, amqp: observer.amqp, database: database, clock: clock, journal: Producers.Journal(),
            logger: logger)
        let seats = workers + dispatchers
        clock.begin()
        let epoch = try await observer.epoch()
        let watching = Task {
            while !Task.isCancelled {
                gauges.look(seats.compactMap { seat in seat.processID.map { (seat.process, $0) } }, at: clock.now)
                // The database may be away at this moment.
                if let count = try? await observer.connections() { gauges.note(connections: count, at: clock.now) }
                let strikes =
                    plan.strikes.isEmpty
                    ? "" : "\(injector.count) of \(plan.strikes.count) strikes (\(last.withLock { $0 })), "
                progress(
                    "\(Seconds.text(clock.now.inSeconds)) of \(plan.length / 1_000) s, \(strikes)"
                        + "\(producers.journal.count) enqueues, \(target.count) effects, "
                        + "\(observer.results.keys) results")
                try? await Task.sleep(for: .seconds(1))
            }
        }
        defer { watching.cancel() }
        func judge(after failure: ChaosError?) async throws -> ChaosReport {
            let isSettled = try await settle(producers.journal, observer)
            let evidence = Evidence(
                workload: workload, journal: producers.journal.entries, effects: target.effects,
                results: observer.results.byKey, ledger: try await observer.ledger(),
                transitions: try await observer.transitions(), crew: try await observer.crew(),
                staleWrites: try await observer.staleWrites(), strikes: injector.done,
                ends: seats.flatMap(\.ends).sorted { $0.at < $1.at }, footprint: gauges.footprint,
                connectionsMax: seats.count * Self.connectionsPerProcess + 10,
                setAside: try await observer.drain(FleetBroker.deadQueue).map {
                    ($0.reason, $0.key ?? "", String(decoding: $0.delivery.body, as: UTF8.self))
                }, leftInQueues: try await leftInQueues(observer), epoch: epoch)
            return ChaosReport(options, evidence, isSettled: isSettled, failure: failure)
        }
        do {
            try await strike(plan, injector, producers)
        } catch let failure as ChaosError {
            // What was done until then is judged all the same; where servers no longer answer, the first cause is told too.
            do { return try await judge(after: failure) } catch {
                throw ChaosError("\(failure); and what was done before could not be judged: \(error)")
            }
        }
        return try await judge(after: nil)
    }

    private enum Part { case struck, fed }

    /// Strikes and enqueues, until all is done or the run is to come to its end. Then the strikes under way are seen through
    /// first: some need jobs to strike at.
    private func strike(_ plan: ChaosPlan, _ injector: Injector, _ producers: Producers) async throws {
        let striking = Task { try await injector.run(plan) }
        let halting = Task {
            for await _ in halt {}
            striking.cancel()
        }
        defer { halting.cancel() }
        do {
            try await withThrowingTaskGroup(of: Part.self) { group in
                group.addTask {
                    try await withTaskCancellationHandler {
                        try await striking.value
                    } onCancel: {
                        striking.cancel()
                    }
                    return .struck
                }
                group.addTask {
                    // All are in a little before the last fault, so that each meets some.
                    try await producers.run(over: .milliseconds(plan.length)) { injector.delay }
                    return .fed
                }
                while let part = try await group.next() {
                    if part == .struck, striking.isCancelled { group.cancelAll() }
                }
            }
        } catch is CancellationError {
            try Task.checkCancellation()
        }
    }

    /// Waits until every acknowledged job has ended and has its result.
    ///
    /// - Returns: whether it came to that within the limit.
    private func settle(_ journal: Producers.Journal, _ observer: Observer) async throws -> Bool {
        let wanted = Set(journal.entries.filter { $0.outcome == .ok }.map(\.key))
        let deadline = ContinuousClock.now + options.settleLimit
        var quietSince: ContinuousClock.Instant?
        while ContinuousClock.now < deadline {
            let unroutable = try await observer.waiting(in: FleetBroker.unroutableQueue) ?? 0
            if unroutable > 0 {
                try await putBack(observer)
                quietSince = nil
            }
            let states = try await observer.states()
            let open = states.filter { !Observer.Transition.ends.contains($0.key) }.values.reduce(0, +)
            let ended = states.values.reduce(0, +) - open
            let left = try await leftInQueues(observer)
            if open == 0, left == 0, unroutable == 0, observer.results.keys >= ended {
                if wanted.isSubset(of: try await observer.ledger().keys) { return true }
                // What is missing may be gone with its queue, or on its way: that shows in time.
                let since = quietSince ?? .now
                quietSince = since
                if hasLostQueue, ContinuousClock.now - since > Self.quiet { return true }
            } else {
                quietSince = nil
            }
            progress("all strikes are over: \(ended) jobs have ended, \(open) are open")
            try await Task.sleep(for: .milliseconds(500))
        }
        return false
    }

    /// How long nothing has to happen before what is missing is taken for gone: longer than it takes to publish again what
    /// a queue was lost with.
    private static let quiet: Duration = .seconds(15)

    private var hasLostQueue: Bool { options.possibleFaults.contains(.queueDelete) }

    /// What came while the jobs' queue was deleted lies with the unroutable; an operator replays it.
    private func putBack(_ observer: Observer) async throws {
        let messages = try await observer.drain(FleetBroker.unroutableQueue).compactMap(\.original)
        try await AMQPPublisher.publishOnce(messages, observer.amqp, logger: logger)
    }

    private func leftInQueues(_ observer: Observer) async throws -> Int {
        let subsystem = ChaosSubsystem.name
        var left = 0
        for queue in [FleetBroker.jobsQueue(subsystem), FleetBroker.urgentQueue(subsystem)] {
            left += try await observer.waiting(in: queue) ?? 0
        }
        return left
    }
}

extension AMQPPublisher {
    fileprivate static func publishOnce(
        _ messages: [AMQPMessage], _ amqp: AMQPConfiguration, logger: Logger
    ) async throws {
        let publisher = AMQPPublisher(configuration: amqp, logger: logger)
        let running = Task { try await publisher.run() }
        let outcomes = await publisher.publish(messages)
        await publisher.close()
        try await running.value
        if let open = outcomes.first(where: { $0 != .confirmed }) {
            throw ChaosError("a message that was unroutable could not be put back: \(open)")
        }
    }
}
