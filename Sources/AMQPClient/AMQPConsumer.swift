import Logging
import Synchronization

/// Consumes from queues over one connection of its own, with one channel per subscription, and connects again by itself.
///
/// ```swift
/// let consumer = AMQPConsumer(configuration: configuration, subscriptions: [AMQPSubscription(queue: "jobs", prefetch: 500)],
///                             logger: logger)
/// async let running: Void = consumer.run()
/// for await batch in consumer.deliveries {
///     …
///     consumer.acknowledge(batch.map(\.tag))
/// }
/// ```
///
/// At least once delivered: after a link is lost, whatever was not acknowledged comes again under a new generation.
public final class AMQPConsumer: Sendable {
    /// Deliveries handed over at a time, unless said otherwise.
    public static let defaultMaxBatch = 1000

    private let configuration: AMQPConfiguration
    private let subscriptions: [AMQPSubscription]
    private let topology: AMQPTopology
    private let logger: Logger
    private let onEvent: (@Sendable (AMQPLinkEvent) -> Void)?
    private let inbox = ConsumerInbox()
    private let buffer: DeliveryBuffer
    private let lifecycle = LinkLifecycle()

    /// - Parameters:
    ///   - topology: declared again at every connect, before consuming; by a user who may not declare it is only
    ///     looked for.
    ///   - maxBatch: most deliveries in one array.
    ///   - onEvent: called on the IO thread: return at once.
    public init(
        configuration: AMQPConfiguration, subscriptions: [AMQPSubscription], topology: AMQPTopology = AMQPTopology(),
        maxBatch: Int = AMQPConsumer.defaultMaxBatch, logger: Logger,
        onEvent: (@Sendable (AMQPLinkEvent) -> Void)? = nil
    ) {
        self.configuration = configuration
        self.subscriptions = subscriptions
        self.topology = topology
        self.logger = logger
        self.onEvent = onEvent
        buffer = DeliveryBuffer(maxBatch: maxBatch)
    }

    /// Connects, and connects again whenever the link is lost, until ``close()`` or until the task is cancelled, which
    /// closes just as orderly. Call it once.
    ///
    /// - Throws: what time cannot mend: credentials refused, virtual host not found, access refused, a peer that TLS does
    ///   not trust, a topology that contradicts the broker's. A broker that is away is waited for.
    public func run() async throws(AMQPError) {
        guard lifecycle.begin() else { return }
        defer {
            // Whatever way it ended, nobody may go on waiting.
            buffer.finish()
            inbox.stopped()
            lifecycle.end()
        }
        try await withTaskCancellation(onCancel: { [inbox] in inbox.close() }) { () async throws(AMQPError) in
            try await LinkLifecycle.onThread(named: "amqp-consume") { [self] in
                let role = ConsumerRole(
                    configuration, subscriptions, topology, inbox: inbox, buffer: buffer, logger: logger,
                    onEvent: onEvent)
                return LinkDriver(configuration, role: role, wakeup: inbox.wakeup, logger: logger, onEvent: onEvent)
                    .run()
            }
        }
    }

    /// Everything delivered, in batches. For a single reader.
    public var deliveries: AMQPDeliveries { AMQPDeliveries(buffer: buffer) }

    /// Settles deliveries as done. From any thread; never blocks. Coalesced to few frames; a tag of an older generation is
    /// dropped, because its message comes again, and so is one that is settled already.
    public func acknowledge(_ tags: [AMQPDeliveryTag]) {
        if !tags.isEmpty { inbox.acknowledge(tags) }
    }

    /// Settles deliveries as not done. With `requeue` the broker delivers them again, else it drops or dead-letters them.
    public func reject(_ tags: [AMQPDeliveryTag], requeue: Bool) {
        if !tags.isEmpty { inbox.reject(tags, requeue: requeue) }
    }

    /// Changes how many unacknowledged deliveries of a queue the broker may have out; 0 ends consuming from it until this
    /// is called again. It holds over reconnections, and before ``run()``. What was delivered stays and can be settled;
    /// what is rejected after this call is not delivered here again while the limit is 0.
    ///
    /// The broker knows no change of a subscription, so the old one is ended and a new one begun, in this order, on the
    /// same channel: do not call it for every job.
    public func limit(queue: String, prefetch: UInt16) {
        precondition(subscriptions.contains { $0.queue == queue }, "there is no subscription to \(queue)")
        inbox.limit(queue: queue, prefetch: prefetch)
    }

    /// Takes nothing new. What was delivered stays and can be acknowledged; ``deliveries`` ends once its buffer is empty.
    /// Returns when the broker has said that no more will come, or the link is gone.
    public func stopConsuming() async {
        if lifecycle.endIfFresh() {
            buffer.finish()
            inbox.stopped()
        }
        await inbox.stop()
    }

    /// Sends what was acknowledged, closes the connection in order, and returns when ``run()`` is about to.
    public func close() async {
        inbox.close()
        if lifecycle.endIfFresh() {
            buffer.finish()
            inbox.stopped()
        }
        await lifecycle.untilEnded()
    }

    /// Number of the current or latest link, from 1; 0 before the first connect.
    public var currentGeneration: UInt32 { inbox.generation.load(ordering: .acquiring) }
}

/// `withTaskCancellationHandler` with a typed error.
func withTaskCancellation<Result: Sendable>(
    onCancel: @escaping @Sendable () -> Void, _ body: @Sendable () async throws(AMQPError) -> Result
) async throws(AMQPError) -> Result {
    let result: Swift.Result<Result, AMQPError> = await withTaskCancellationHandler {
        do throws(AMQPError) { return .success(try await body()) } catch { return .failure(error) }
    } onCancel: {
        onCancel()
    }
    return try result.get()
}
