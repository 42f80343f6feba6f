import Logging
import Synchronization

/// Publishes over one connection of its own, with confirms, and connects again by itself.
///
/// ```swift
/// let publisher = AMQPPublisher(configuration: configuration, logger: logger)
/// async let running: Void = publisher.run()
/// let outcomes = await publisher.publish(messages)
/// ```
public final class AMQPPublisher: Sendable {
    /// Messages that may wait in all, unless said otherwise.
    public static let defaultMaxPending = 200_000

    private let configuration: AMQPConfiguration
    private let topology: AMQPTopology
    private let maxUnconfirmed: Int
    private let publishTimeout: Duration
    private let refusalPatience: Duration
    private let logger: Logger
    private let onEvent: (@Sendable (AMQPLinkEvent) -> Void)?
    private let inbox: PublisherInbox
    private let lifecycle = LinkLifecycle()
    private let counted = Mutex(AMQPPublishCounts())

    /// - Parameters:
    ///   - topology: declared again at every connect; by a user who may not declare it is only looked for.
    ///   - maxUnconfirmed: how many messages may be sent and unconfirmed at a time.
    ///   - publishTimeout: how long one call of ``publish(_:)`` may take in all.
    ///   - maxPending: how many messages all calls together may have waiting; a call beyond it is refused as `notSent`,
    ///     unless it is the only one.
    ///   - refusalPatience: how long a channel is used on which the broker refuses messages, before it is opened anew.
    ///   - onEvent: called on the IO thread: return at once.
    public init(
        configuration: AMQPConfiguration, topology: AMQPTopology = AMQPTopology(), maxUnconfirmed: Int = 2000,
        publishTimeout: Duration = .seconds(30), maxPending: Int = AMQPPublisher.defaultMaxPending,
        refusalPatience: Duration = .seconds(5), logger: Logger, onEvent: (@Sendable (AMQPLinkEvent) -> Void)? = nil
    ) {
        self.configuration = configuration
        self.topology = topology
        self.maxUnconfirmed = maxUnconfirmed
        self.publishTimeout = publishTimeout
        self.refusalPatience = refusalPatience
        self.logger = logger
        self.onEvent = onEvent
        inbox = PublisherInbox(maxPending: maxPending)
    }

    /// Connects, and connects again whenever the link is lost, until ``close()`` or until the task is cancelled, which
    /// closes just as orderly. Call it once.
    ///
    /// - Throws: what time cannot mend: credentials refused, virtual host not found, access refused, a peer that TLS does
    ///   not trust, a topology that contradicts the broker's. A broker that is away is waited for.
    public func run() async throws(AMQPError) {
        guard lifecycle.begin() else { return }
        defer {
            abandon()
            lifecycle.end()
        }
        inbox.attend()
        try await withTaskCancellation(onCancel: { [inbox] in inbox.close() }) { () async throws(AMQPError) in
            try await LinkLifecycle.onThread(named: "amqp-publish") { [self] in
                let role = PublisherRole(
                    configuration, topology, inbox: inbox, maxUnconfirmed: maxUnconfirmed,
                    publishTimeout: publishTimeout, refusalPatience: refusalPatience, logger: logger, onEvent: onEvent)
                defer { role.abandon() }
                return LinkDriver(configuration, role: role, wakeup: inbox.wakeup, logger: logger, onEvent: onEvent)
                    .run()
            }
        }
    }

    /// Publishes messages in order and waits for the broker's word on each.
    ///
    /// One hop to the IO thread and one continuation for the whole array; concurrent calls are interleaved. While there is
    /// no link, or an alarm blocks it, the call waits, at most the publish timeout; then what was not sent is `notSent` and
    /// what was sent is `unknown`. The same holds when the calling task is cancelled. Needs ``run()`` to be running.
    ///
    /// - Returns: one outcome per message, in the same order. Never throws: an outcome is the error.
    public func publish(_ messages: [AMQPMessage]) async -> [AMQPPublishOutcome] {
        guard !messages.isEmpty else { return [] }
        let id = inbox.nextID()
        let deadline = Instant.now().adding(publishTimeout)
        let outcomes = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let batch = PublishBatch(id: id, messages: messages, deadline: deadline, continuation: continuation)
                if let refusal = inbox.post(batch) {
                    batch.giveUp(unsent: .notSent(reason: refusal), sent: .notSent(reason: refusal))
                } else if Task.isCancelled {
                    // The handler may have run before there was anything to cancel.
                    inbox.cancel(id)
                }
            }
        } onCancel: {
            inbox.cancel(id)
        }
        counted.withLock { counts in
            for outcome in outcomes { counts.count(outcome) }
        }
        return outcomes
    }

    /// Messages by what became of them, since the start.
    public var counts: AMQPPublishCounts { counted.withLock { $0 } }

    /// Takes no more messages, waits a few seconds for the confirms of those that were sent, and closes the connection in
    /// order. What was not sent becomes `notSent`.
    public func close() async {
        inbox.close()
        if lifecycle.endIfFresh() { abandon() }
        await lifecycle.untilEnded()
    }

    /// Whether there is a link now.
    public var isConnected: Bool { inbox.isConnected.load(ordering: .acquiring) }
    /// Whether an alarm of the broker holds publishing up.
    public var isBlocked: Bool { inbox.isBlocked.load(ordering: .acquiring) }

    private func abandon() {
        for batch in inbox.end() {
            batch.giveUp(
                unsent: .notSent(reason: "the publisher is closed"), sent: .notSent(reason: "the publisher is closed"))
        }
    }
}
