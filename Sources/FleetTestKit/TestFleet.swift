import AMQPClient
import FleetBroker
import FleetDispatcher
import FleetModel
import FleetStore
import FleetWorker
import Logging
import PostgresClient
import ServiceLifecycle
import Synchronization
import TestPatience

/// Workers and dispatchers in this process, on a virtual host and a database of their own.
public final class TestFleet: Sendable {
    public let place: Isolated
    public let mailbox: Mailbox
    public let store: FleetStore
    private let publisher: AMQPPublisher
    private let members = Mutex<[FleetMember]>([])

    private init(place: Isolated, pool: PostgresPool, durable: Bool) {
        self.place = place
        mailbox = Mailbox(place.amqp, durable: durable)
        store = FleetStore(pool: pool)
        // What a worker's client would not take must be sent by somebody.
        var amqp = place.amqp
        amqp.maxBodyBytes *= 4
        publisher = AMQPPublisher(configuration: amqp, logger: testLogger)
    }

    /// Starts a fleet, runs `body`, and drains it.
    ///
    /// - Parameters:
    ///   - workers: how many workers run `definitions` from the start; each is ready when `body` begins.
    ///   - configure: changes what the workers are told.
    public static func use<Value: Sendable>(
        workers: Int = 1, dispatchers: Int = 0, definitions: [JobDefinition] = [],
        configure: @escaping @Sendable (inout WorkerConfiguration) -> Void = { _ in },
        isolation: isolated (any Actor)? = #isolation, _ body: (TestFleet) async throws -> Value
    ) async throws -> Value {
        try await Isolated.use { place in
            try await use(
                place, workers: workers, dispatchers: dispatchers, definitions: definitions, configure: configure, body)
        }
    }

    /// The same in a place that is there already.
    ///
    /// - Parameter durable: whether the mailbox's queues outlive the broker.
    public static func use<Value: Sendable>(
        _ place: Isolated, durable: Bool = false, workers: Int = 1, dispatchers: Int = 0,
        definitions: [JobDefinition] = [],
        configure: @escaping @Sendable (inout WorkerConfiguration) -> Void = { _ in },
        isolation: isolated (any Actor)? = #isolation, _ body: (TestFleet) async throws -> Value
    ) async throws -> Value {
        try await place.withPool { pool in
            let fleet = TestFleet(place: place, pool: pool, durable: durable)
            let links = Task {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await fleet.mailbox.run() }
                    group.addTask { try await fleet.publisher.run() }
                    try await group.waitForAll()
                }
            }
            let result: Result<Value, any Error>
            do {
                try await fleet.mailbox.awaitReady()
                for _ in 0..<dispatchers { try await fleet.addDispatcher() }
                for _ in 0..<workers { try await fleet.addWorker(definitions, configure: configure) }
                result = .success(try await body(fleet))
            } catch {
                result = .failure(error)
            }
            var failures: [any Error] = []
            for member in fleet.members.withLock({ $0 }) {
                do { try await member.stop() } catch { failures.append(error) }
            }
            await fleet.publisher.close()
            await fleet.mailbox.close()
            try await links.value
            let value = try result.get()
            if let first = failures.first { throw first }
            return value
        }
    }

    // MARK: Members

    /// A worker of the given definitions; ready when this returns.
    @discardableResult
    public func addWorker(
        _ definitions: [JobDefinition],
        configure: @Sendable (inout WorkerConfiguration) -> Void = { _ in }
    ) async throws -> FleetMember {
        let number = members.withLock { $0.count + 1 }
        var configuration = WorkerConfiguration(
            amqp: place.amqp, database: place.database, name: "worker-\(number)", host: "test")
        configuration.slotsDefault = 20
        configuration.drain = .seconds(10)
        configuration.startWait = .seconds(30)
        configure(&configuration)
        let ready = Gate()
        let worker = Worker(configuration, definitions: definitions, logger: testLogger) { ready.open() }
        return try await add(worker, name: configuration.name, counters: worker.counters, ready)
    }

    /// A dispatcher that looks at everything often; ready when this returns, which is not yet to say that it leads.
    @discardableResult
    public func addDispatcher(
        subsystems: [String] = [Work.type.subsystem],
        configure: @Sendable (inout DispatcherConfiguration) -> Void = { _ in }
    ) async throws -> FleetMember {
        let number = members.withLock { $0.count + 1 }
        var configuration = DispatcherConfiguration(
            amqp: place.amqp, database: place.database, name: "dispatcher-\(number)", subsystems: subsystems)
        configuration.poll = .milliseconds(20)
        configuration.grace = .milliseconds(500)
        configuration.startWait = .seconds(30)
        configure(&configuration)
        let ready = Gate()
        let dispatcher = Dispatcher(configuration, logger: testLogger) { ready.open() }
        return try await add(dispatcher, name: configuration.name, counters: nil, ready)
    }

    private func add(
        _ service: some Service, name: String, counters: WorkerCounters?, _ ready: Gate
    ) async throws -> FleetMember {
        let member = FleetMember(service, name: name, counters: counters)
        members.withLock { $0.append(member) }
        try await member.awaitReady(ready)
        return member
    }

    /// Stops the member that was started first and is no dispatcher, and waits for its end.
    public func stopFirstWorker() async throws {
        try await members.withLock { $0.first { $0.name.hasPrefix("worker") } }?.stop()
    }

    // MARK: Producing

    /// Publishes jobs as a Swift producer does; each must be confirmed.
    public func enqueue(_ jobs: [Job]) async throws {
        try await publish(jobs.map { $0.message(publishedAt: WallClock.milliseconds) })
    }

    /// Publishes one job of ``Work`` that wants an answer.
    public func enqueue(_ work: Work, key: String, correlationID: String? = nil) async throws {
        try await enqueue([Job(work, key: key, replyTo: mailbox.replyQueue, correlationID: correlationID)])
    }

    /// Publishes jobs again and again until each is confirmed: for a broker that goes and comes back.
    public func enqueuePatiently(_ jobs: [Job]) async throws {
        var open = jobs
        try await eventually("every job to be confirmed", within: .seconds(90)) {
            let outcomes = await self.publisher.publish(open.map { $0.message() })
            open = zip(open, outcomes).filter { $1 != .confirmed }.map(\.0)
            return open.isEmpty
        }
    }

    /// Publishes messages; each must be confirmed.
    public func publish(_ messages: [AMQPMessage]) async throws {
        for outcome in await publisher.publish(messages) where outcome != .confirmed {
            throw NotInTime("a message of the test was not confirmed: \(outcome)")
        }
    }

    // MARK: Looking

    /// The ledger's row of a job.
    public func job(_ key: String) async throws -> JobRecord? { try await store.job(key, subsystem: nil).first }

    /// Stops every worker and dispatcher, and says what is left in the queue: what they had not settled is back in it.
    public func leftover(in queue: String = FleetBroker.jobsQueue(Work.type.subsystem)) async throws -> Int {
        for member in members.withLock({ $0 }) { try await member.stop() }
        return try await place.withBroker { try await $0.queueStatus(queue) }?.messages ?? 0
    }

    /// What was set aside, oldest first, once there are so many.
    public func dead(_ count: Int) async throws -> [AMQPDelivery] {
        try await place.take(count, from: FleetBroker.deadQueue)
    }
}

extension Isolated {
    /// How many messages are ready in a queue; nil when there is none of this name.
    public func ready(in queue: String) async throws -> Int? {
        try await withBroker { try await $0.queueStatus(queue) }?.messages
    }

    /// Takes so many messages off a queue, waiting for them to come.
    public func take(
        _ count: Int, from queue: String, within limit: Duration = patienceOfTests
    ) async throws -> [AMQPDelivery] {
        try await withBroker { session in
            var taken: [AMQPDelivery] = []
            while taken.count < count {
                let delivery = try await eventually("message \(taken.count + 1) of \(count) in \(queue)", within: limit)
                {
                    try await session.get(queue)
                }
                try await session.acknowledge(delivery.tag)
                taken.append(delivery)
            }
            return taken
        }
    }
}

/// A worker or a dispatcher that runs in this process.
public final class FleetMember: Sendable {
    public let name: String
    /// What a worker has done so far; all zero for a dispatcher.
    public let counters: WorkerCounters
    private let group: ServiceGroup
    private let running: Task<Void, any Error>
    private let failure = Watched<(any Error)?>(nil)

    init(_ service: some Service, name: String, counters: WorkerCounters?) {
        self.name = name
        self.counters = counters ?? WorkerCounters()
        var quiet = testLogger
        quiet.logLevel = max(quiet.logLevel, .error)
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [.init(service: service, successTerminationBehavior: .gracefullyShutdownGroup)],
                logger: quiet))
        self.group = group
        running = Task { [failure] in
            do { try await group.run() } catch {
                failure.update { $0 = error }
                throw error
            }
        }
    }

    func awaitReady(_ ready: Gate) async throws {
        try await withThrowingTaskGroup(of: (any Error)?.self) { group in
            group.addTask {
                try await ready.pass(within: .seconds(60))
                return nil
            }
            group.addTask { [failure] in
                try await failure.wait(for: "an end before it was ready", within: .seconds(61)) { $0 != nil }
            }
            defer { group.cancelAll() }
            if let error = try await group.next() ?? nil { throw error }
        }
    }

    /// As SIGTERM would, and waits for the end. A second call waits for the same end.
    public func stop() async throws {
        await group.triggerGracefulShutdown()
        try await running.value
    }

    /// As SIGTERM would, without waiting.
    public func beginStop() async { await group.triggerGracefulShutdown() }
}
