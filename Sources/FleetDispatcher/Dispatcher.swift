import AMQPClient
import CoreMetrics
import FleetBroker
import FleetModel
import FleetStore
import Logging
import PostgresClient
import ServiceLifecycle

/// What a dispatcher is told.
public struct DispatcherConfiguration: Sendable {
    public var amqp: AMQPConfiguration
    public var database: PostgresConfiguration
    /// Shown in tables and logs.
    public var name: String
    /// Queues are declared for these at the start; workers declare those of their own handlers besides.
    public var subsystems: [String]
    /// How often agenda and workers are looked at.
    public var poll: Duration = .milliseconds(200)
    /// How long a worker may be without its liveness lock before its jobs are given to others. It must outlast the
    /// reconnection of a healthy worker, or a short break of the database would fence the fleet.
    public var grace: Duration = .seconds(1)
    public var startWait: Duration = .seconds(60)
    public var payloadBytesMax: Int = 1 << 20
    /// How long finished jobs are kept.
    public var retention = Retention()

    public init(amqp: AMQPConfiguration, database: PostgresConfiguration, name: String, subsystems: [String]) {
        self.amqp = amqp
        self.database = database
        self.name = name
        self.subsystems = subsystems
    }
}

/// A dispatcher: serves until it is told to stop.
public final class Dispatcher: Service {
    let configuration: DispatcherConfiguration
    private let logger: Logger
    let pool: PostgresPool
    private let store: FleetStore
    let publisher: AMQPPublisher
    private let consumer: AMQPConsumer
    let publishing = LinkRecord(role: "publish", part: "dispatcher")
    let consuming = LinkRecord(role: "consume", part: "dispatcher")
    let presence: ConsumerPresence
    let answers = DatabaseRecord()
    let leadership: LeadershipRecord
    let requests: RequestMetrics
    private let notifications: PostgresListener
    private let onReady: @Sendable () -> Void

    /// Enqueue requests in hand at once; a request may hold thousands of jobs.
    static let requestPrefetch: UInt16 = 20

    /// - Parameters:
    ///   - metrics: what counts its rounds and requests; the process's own factory when nil.
    ///   - onReady: called once, when it serves.
    public init(
        _ configuration: DispatcherConfiguration, logger: Logger, metrics: (any MetricsFactory)? = nil,
        onReady: @escaping @Sendable () -> Void = {}
    ) {
        let metrics = metrics ?? MetricsSystem.factory
        leadership = LeadershipRecord(metrics)
        requests = RequestMetrics(metrics)
        self.configuration = configuration
        self.logger = logger
        self.onReady = onReady
        var amqp = configuration.amqp
        amqp.connectionName = "\(configuration.name) publishing"
        publisher = AMQPPublisher(
            configuration: amqp, logger: logger, onEvent: { [publishing] in publishing.note($0) })
        amqp.connectionName = "\(configuration.name) consuming"
        consumer = AMQPConsumer(
            configuration: amqp,
            subscriptions: [
                AMQPSubscription(
                    queue: FleetBroker.enqueueQueue, prefetch: Self.requestPrefetch, consumerTag: configuration.name)
            ],
            topology: FleetBroker.topology(subsystems: configuration.subsystems), logger: logger,
            onEvent: { [consuming] in consuming.note($0) })
        presence = ConsumerPresence(amqp)
        let took = Timer(label: "gaia_database_seconds", dimensions: [("part", "dispatcher")], factory: metrics)
        pool = PostgresPool(
            configuration: FleetStore.keyed(configuration.database), logger: logger,
            onAnswer: { [answers] in answers.note($0, $1, took) })
        store = FleetStore(pool: pool)
        var listening = configuration.database
        listening.applicationName = "gaia agenda"
        notifications = PostgresListener(
            configuration: listening, channels: [FleetStore.agendaChannel], logger: logger)
    }

    public func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.pool.run() }
            do {
                try await store.awaitReady(
                    configuration.database, limit: configuration.startWait, logger: logger)
                try await FleetBroker.awaitReady(
                    configuration.amqp, FleetBroker.topology(subsystems: configuration.subsystems),
                    limit: configuration.startWait, logger: logger)
                try await serve()
            } catch {
                await pool.close()
                group.cancelAll()
                throw error
            }
            await pool.close()
            try await group.waitForAll()
        }
    }

    private enum Part { case stopped, other }

    private func serve() async throws {
        let requests = EnqueueService(
            store: store, publisher: publisher, consumer: consumer, name: configuration.name,
            payloadBytesMax: configuration.payloadBytesMax, metrics: self.requests, logger: logger)
        let agenda = Bell()
        let record = self.leadership
        let leadership = Leadership(
            store: store, database: configuration.database, name: configuration.name, logger: logger,
            duties: [
                StageDuty(
                    store: store, publisher: publisher, poll: configuration.poll, bell: agenda, record: record,
                    logger: logger),
                CronDuty(
                    store: store, poll: configuration.poll, bell: Bell(), agenda: agenda, record: record, logger: logger
                ),
                ReleaseDuty(
                    store: store, poll: configuration.poll, agenda: agenda, record: record, logger: logger),
                RetainDuty(store: store, retention: configuration.retention, record: record, logger: logger),
                LossDuty(store: store, poll: configuration.poll, agenda: agenda, record: record, logger: logger),
                RescueDuty(
                    store: store, poll: configuration.poll, grace: configuration.grace, agenda: agenda, record: record,
                    logger: logger),
                MeasureDuty(store: store, record: record),
            ], record: record)
        try await withThrowingTaskGroup(of: Part.self) { group in
            func add(_ body: @escaping @Sendable () async throws -> Void) {
                group.addTask {
                    try await body()
                    return .other
                }
            }
            add { try await self.publisher.run() }
            add { try await self.consumer.run() }
            add { await leadership.run() }
            add { await requests.run() }
            add { try await self.notifications.run() }
            add {
                // Whatever is heard, a look at the agenda is the answer.
                for await _ in self.notifications.notifications { agenda.ring() }
            }
            group.addTask {
                // Ends by a graceful shutdown, or by cancellation when a link has failed for good.
                try? await gracefulShutdown()
                await self.consumer.stopConsuming()
                await requests.finished()
                await self.consumer.close()
                await self.publisher.close()
                await self.notifications.close()
                return .stopped
            }
            logger.info("dispatcher \(configuration.name) serves")
            onReady()
            while let part = try await group.next() {
                if part == .stopped { group.cancelAll() }
            }
        }
    }
}
