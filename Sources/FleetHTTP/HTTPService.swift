import AMQPClient
import FleetBroker
import FleetDispatcher
import FleetStore
import Logging
import PostgresClient
import ServiceLifecycle

/// The HTTP interface: serves until it is told to stop. At a graceful shutdown it stops to accept, ends the waits, and lets
/// requests under way end; then its connections close. In a service group it stands behind its dispatcher, so that it is
/// shut down before.
public final class HTTPService: Service {
    private let configuration: HTTPConfiguration
    private let beginning: AsyncStream<Never>?
    private let logger: Logger
    private let onReady: @Sendable (HTTPAddress) -> Void
    private let pool: PostgresPool
    private let publisher: AMQPPublisher
    private let replies: ReplyQueue
    private let waits: Waits
    private let responder: Responder

    /// - Parameters:
    ///   - beginning: its end is waited for before anything is done, as of a dispatcher that has to be ready; nil to begin
    ///     at once.
    ///   - onReady: told the address as soon as it listens.
    public init(
        _ configuration: HTTPConfiguration, after beginning: AsyncStream<Never>? = nil, logger: Logger,
        onReady: @escaping @Sendable (HTTPAddress) -> Void = { _ in }
    ) {
        self.configuration = configuration
        self.beginning = beginning
        self.logger = logger
        self.onReady = onReady
        var database = FleetStore.keyed(configuration.database)
        database.applicationName = "\(configuration.name) http"
        database.acquireTimeout = configuration.patience
        database.statementTimeout = configuration.patience
        pool = PostgresPool(configuration: database, logger: logger)
        var amqp = configuration.amqp
        amqp.connectionName = "\(configuration.name) http publishing"
        publisher = AMQPPublisher(
            configuration: amqp, publishTimeout: configuration.patience, logger: logger)
        amqp.connectionName = "\(configuration.name) http waiting"
        let waits = Waits(limit: configuration.waitsMax)
        self.waits = waits
        replies = ReplyQueue(
            amqp, prefix: FleetBroker.waitPrefix, logger: logger, onEvent: { waits.noteLink($0) })
        let store = FleetStore(pool: pool)
        responder = Responder(
            api: JobAPI(
                store: store,
                desk: EnqueueDesk(
                    store: store, publisher: publisher, payloadBytesMax: configuration.payloadBytesMax,
                    patience: configuration.patience),
                waits: waits, replyQueue: replies.name, description: PackageResources.openapi_json, logger: logger),
            configuration: configuration,
            budget: BodyBudget(bytes: configuration.bodyBytesMax * HTTPConfiguration.bodiesInHandMax), logger: logger)
    }

    private enum Part { case served, other }

    /// - Throws: ``HTTPListenError``, or what broker or database say that time cannot mend.
    public func run() async throws {
        if let beginning {
            await cancelWhenGracefulShutdown { for await _ in beginning {} }
            if Task.isShuttingDownGracefully || Task.isCancelled { return }
        }
        try await withThrowingTaskGroup(of: Part.self) { group in
            func add(_ body: @escaping @Sendable () async throws -> Void) {
                group.addTask {
                    try await body()
                    return .other
                }
            }
            add { try await self.pool.run() }
            add { try await self.publisher.run() }
            add { try await self.replies.consumer.run() }
            add {
                for await batch in self.replies.consumer.deliveries {
                    for delivery in batch { self.waits.arrived(delivery) }
                    self.replies.consumer.acknowledge(batch.map(\.tag))
                }
            }
            group.addTask {
                try await self.serve()
                return .served
            }
            while let part = try await group.next(), part != .served {}
            await replies.consumer.close()
            await publisher.close()
            await pool.close()
            try await group.waitForAll()
        }
    }

    private func serve() async throws {
        // Whoever asks as soon as it listens may wait; a broker that is away holds up no more than that for long.
        if await !waits.awaitLink(within: configuration.patience) {
            logger.warning(
                "http: requests that want to wait are refused until the broker has given a queue for results")
        }
        try await Listener(
            address: configuration.address, connectionsMax: configuration.connectionsMax,
            idleTimeout: configuration.idleTimeout, name: "http", logger: logger
        ).serve(responder, onReady: onReady) { self.waits.endAll() }
    }
}
