import CRabbitMQ
import Logging

/// The consuming side of a link: subscriptions, deliveries, acknowledgements. For the IO thread alone.
final class ConsumerRole: LinkRole {
    /// How long a finished delivery waits for an unfinished one before it, so that both go in one acknowledgement.
    private static let holdTime: Duration = .milliseconds(5)

    /// One subscription on its channel.
    private struct Lane {
        enum Standing {
            case idle
            case consuming
            /// The broker ended it; tried again at that time.
            case cancelled(retryAt: Instant)
            /// `basic.cancel` was sent, to be answered by then.
            case stopping(Instant)
        }
        let subscription: AMQPSubscription
        var standing = Standing.idle
        /// What the present or latest subscription was made with.
        var prefetch: UInt16 = 0
        var subscribed = 0
        var consumerTag = ""
        var tracker = AckTracker()
        var schedule: BackoffSchedule
    }

    private let configuration: AMQPConfiguration
    private let topology: AMQPTopology
    private var topologyDuty = TopologyDuty.declare
    private let inbox: ConsumerInbox
    private let buffer: DeliveryBuffer
    private let logger: Logger
    private let onEvent: (@Sendable (AMQPLinkEvent) -> Void)?
    /// Channel number less one.
    private var lanes: [Lane] = []
    private let subscriptions: [AMQPSubscription]
    private var prefetches: [String: UInt16] = [:]
    private var generation: UInt32 = 0
    private var arrived: [AMQPDelivery] = []
    private var commands: [AckCommand] = []
    private var holdUntil = Instant.never
    private var isStopping = false
    private(set) var isClosing = false

    init(
        _ configuration: AMQPConfiguration, _ subscriptions: [AMQPSubscription], _ topology: AMQPTopology,
        inbox: ConsumerInbox, buffer: DeliveryBuffer, logger: Logger, onEvent: (@Sendable (AMQPLinkEvent) -> Void)?
    ) {
        self.configuration = configuration
        self.subscriptions = subscriptions
        self.topology = topology
        self.inbox = inbox
        self.buffer = buffer
        self.logger = logger
        self.onEvent = onEvent
    }

    /// One more than the subscriptions need, for setting up.
    var channels: Int { subscriptions.count + 1 }
    private var setupChannel: UInt16 { UInt16(channels) }
    let wantsToSend = false
    let isReadyToEnd = true
    func blocked(_ isBlocked: Bool) {}

    func open(_ link: Link, generation: UInt32) throws(AMQPError) {
        try link.provide(topology, &topologyDuty, channel: setupChannel)
        self.generation = generation
        // Settlements among it can only be of links that are gone.
        prefetches = inbox.take().prefetches
        inbox.generation.store(generation, ordering: .releasing)
        lanes = subscriptions.map { Lane(subscription: $0, schedule: BackoffSchedule(configuration.backoff)) }
        guard !isStopping else { return }
        for channel in 1..<setupChannel {
            let queue = lanes[Int(channel) - 1].subscription.queue
            if let onEvent, try link.check(queue: queue, channel: setupChannel)?.isIdle == true {
                onEvent(.queueFoundIdle(queue: queue))
            }
            try subscribe(link, channel: channel)
        }
    }

    private func wantedPrefetch(_ lane: Int) -> UInt16 {
        let subscription = lanes[lane].subscription
        return prefetches[subscription.queue] ?? subscription.prefetch
    }

    private func subscribe(_ link: Link, channel: UInt16) throws(AMQPError) {
        let lane = Int(channel) - 1
        var subscription = lanes[lane].subscription
        let prefetch = wantedPrefetch(lane)
        guard prefetch > 0 else {
            lanes[lane].standing = .idle
            return
        }
        // A tag of its own each time: the broker may hold deliveries of the one before.
        if lanes[lane].subscribed > 0, let tag = subscription.consumerTag {
            subscription.consumerTag = "\(tag)~\(lanes[lane].subscribed)"
        }
        do throws(AMQPError) {
            if !link.isOpen(channel) { try link.openChannel(channel) }
            // It holds for subscriptions that are made after it.
            if prefetch != lanes[lane].prefetch { try link.call(.limitPrefetch(prefetch), channel: channel) }
            lanes[lane].consumerTag = try link.call(
                try encoded { () throws(EncodingFailure) in try .consume(subscription) }, channel: channel
            ) { answer in
                answer.decoded?.assumingMemoryBound(to: amqp_basic_consume_ok_t.self).pointee.consumer_tag.repairedText
                    ?? ""
            }
        } catch {
            throw error.duringSetup
        }
        lanes[lane].standing = .consuming
        lanes[lane].prefetch = prefetch
        lanes[lane].subscribed += 1
        lanes[lane].schedule.reset()
    }

    func handle(_ action: ChannelAction, channel: UInt16, _ link: Link) throws(AMQPError) {
        guard channel >= 1, Int(channel) <= lanes.count else { return }
        let lane = Int(channel) - 1
        switch action {
        case .content(let content): arrive(content, lane: lane)
        case .cancelledByBroker: cancelled(lane: lane)
        case .cancelOk: lanes[lane].standing = .idle
        case .channelClosed(let closure):
            // Its tags would begin at 1 again, within the same generation: only a link of a new one keeps them apart.
            throw closure.error(link.connection.endpoint)
        default: break
        }
    }

    private func arrive(_ content: AssembledContent, lane: Int) {
        guard case .delivery(let tag, let redelivered) = content.start.origin else { return }
        lanes[lane].tracker.delivered(tag)
        arrived.append(
            AMQPDelivery(
                tag: AMQPDeliveryTag(generation: generation, channel: UInt16(lane + 1), value: tag),
                queue: lanes[lane].subscription.queue, exchange: content.start.exchange,
                routingKey: content.start.routingKey, redelivered: redelivered, properties: content.header.properties,
                body: content.body, bodyBytes: content.header.bodyBytes, flaws: content.header.flaws))
        if arrived.count == buffer.maxBatch { inputTurnEnded() }
    }

    func inputTurnEnded() {
        guard !arrived.isEmpty else { return }
        buffer.append(arrived)
        arrived = []
    }

    private func cancelled(lane: Int) {
        let queue = lanes[lane].subscription.queue
        logger.warning("the broker ended a subscription", metadata: ["queue": "\(queue)"])
        onEvent?(.consumerCancelled(queue: queue))
        lanes[lane].standing = isStopping ? .idle : .cancelled(retryAt: .now().adding(lanes[lane].schedule.next()))
    }

    /// Declares and subscribes again, when the queue is there.
    private func restore(_ link: Link, lane: Int) throws(AMQPError) {
        do throws(AMQPError) {
            try link.provide(topology, &topologyDuty, channel: setupChannel)
            // Consuming from a missing queue would close the channel and make every tag on it void.
            try link.check(queue: lanes[lane].subscription.queue, channel: setupChannel)
            try subscribe(link, channel: UInt16(lane + 1))
        } catch {
            guard error.isAbsence, link.isOpen(UInt16(lane + 1)) else { throw error }
            let wait = lanes[lane].schedule.next()
            logger.warning(
                "cannot subscribe again yet",
                metadata: ["queue": "\(lanes[lane].subscription.queue)", "error": "\(error)", "retry_after": "\(wait)"])
            lanes[lane].standing = .cancelled(retryAt: .now().adding(wait))
        }
    }

    func work(_ link: Link, _ now: Instant) throws(AMQPError) -> Instant {
        let taken = inbox.take()
        isClosing = taken.isClosing
        prefetches = taken.prefetches
        // Before rejections, or the broker would deliver here again what is given back.
        if taken.mustStop, !isStopping { try stop(link, now) }
        if !isStopping { try adjust(link, now) }
        settle(taken)
        sendSettlements(link, now)
        var deadline = holdUntil
        for lane in lanes.indices {
            switch lanes[lane].standing {
            case .idle, .consuming: break
            case .cancelled(let retryAt) where retryAt <= now: try restore(link, lane: lane)
            case .stopping(let limit) where limit <= now:
                throw AMQPError(.timeout, "\(link.connection.endpoint) did not confirm the end of a subscription.")
            case .cancelled(let time), .stopping(let time): deadline = min(deadline, time)
            }
            // A subscription that could not be restored has a time of its own now.
            if case .cancelled(let retryAt) = lanes[lane].standing { deadline = min(deadline, retryAt) }
        }
        if isStopping { finishStopping() }
        return deadline
    }

    private func settle(_ taken: ConsumerInbox.Commands) {
        for tag in taken.acknowledged {
            if let lane = lane(of: tag) { _ = lanes[lane].tracker.acknowledge(tag.value) }
        }
        for (tag, requeue) in taken.rejected {
            if let lane = lane(of: tag) { _ = lanes[lane].tracker.reject(tag.value, requeue: requeue) }
        }
    }

    private func lane(of tag: AMQPDeliveryTag) -> Int? {
        guard tag.generation == generation, tag.channel >= 1, Int(tag.channel) <= lanes.count else { return nil }
        return Int(tag.channel) - 1
    }

    private func sendSettlements(_ link: Link, _ now: Instant) {
        let force = isClosing || now >= holdUntil
        var isHolding = false
        for lane in lanes.indices {
            commands.removeAll(keepingCapacity: true)
            lanes[lane].tracker.takeCommands(force: force, into: &commands)
            for command in commands {
                switch command {
                case .acknowledge(let tag, let multiple):
                    MethodEncoder.acknowledge(tag, multiple: multiple, channel: UInt16(lane + 1), into: link.outbound)
                case .reject(let tag, let requeue):
                    MethodEncoder.reject(tag, requeue: requeue, channel: UInt16(lane + 1), into: link.outbound)
                }
            }
            if lanes[lane].tracker.isHolding { isHolding = true }
        }
        if !isHolding {
            holdUntil = .never
        } else if force || holdUntil == .never {
            holdUntil = now.adding(Self.holdTime)
        }
    }

    private func stop(_ link: Link, _ now: Instant) throws(AMQPError) {
        isStopping = true
        for lane in lanes.indices {
            switch lanes[lane].standing {
            case .consuming: try end(link, now, lane: lane)
            case .stopping: break
            case .idle, .cancelled: lanes[lane].standing = .idle
            }
        }
    }

    private func end(_ link: Link, _ now: Instant, lane: Int) throws(AMQPError) {
        try encoded { () throws(EncodingFailure) in
            try MethodEncoder.cancel(
                consumerTag: lanes[lane].consumerTag, channel: UInt16(lane + 1), into: link.outbound)
        }
        lanes[lane].standing = .stopping(now.adding(configuration.stallTimeout))
    }

    /// Ends subscriptions whose prefetch is to be another, and begins anew those that have ended for that reason.
    private func adjust(_ link: Link, _ now: Instant) throws(AMQPError) {
        for lane in lanes.indices {
            let wanted = wantedPrefetch(lane)
            switch lanes[lane].standing {
            case .consuming where wanted != lanes[lane].prefetch: try end(link, now, lane: lane)
            case .idle where wanted > 0: try subscribe(link, channel: UInt16(lane + 1))
            case .cancelled where wanted == 0: lanes[lane].standing = .idle
            default: break
            }
        }
    }

    private func finishStopping() {
        for lane in lanes { if case .stopping = lane.standing { return } }
        buffer.finish()
        inbox.stopped()
    }

    func workOffline(_ now: Instant) -> Instant {
        // Tags can only be of links that are gone.
        let taken = inbox.take()
        isClosing = taken.isClosing
        prefetches = taken.prefetches
        if taken.mustStop {
            isStopping = true
            lanes = []
            finishStopping()
        }
        return .never
    }

    func lost(_ link: Link?, _ error: AMQPError) {
        arrived = []
        holdUntil = .never
        lanes = []
        buffer.removeAll()
        if isStopping { finishStopping() }
        isClosing = isClosing || inbox.take().isClosing
    }
}
