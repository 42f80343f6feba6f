import Logging

/// The publishing side of a link: window, confirms, returns. For the IO thread alone.
final class PublisherRole: LinkRole {
    private static let channel: UInt16 = 1
    private static let setupChannel: UInt16 = 2
    /// Encoded bytes that may wait for the socket, not counting the message that crosses the mark.
    private static let maxOutboundBytes = 256 << 10
    /// Messages of one call before the next call has its turn.
    private static let fairShare = 128
    /// How long closing waits for confirms.
    private static let closeGrace: Duration = .seconds(5)

    private struct Ticket {
        let batch: PublishBatch
        let index: Int
        /// Where its last byte stands in the link's stream: up to there the broker has it whole.
        let end: UInt64
    }

    private let configuration: AMQPConfiguration
    private let topology: AMQPTopology
    private var topologyDuty = TopologyDuty.declare
    private let inbox: PublisherInbox
    private let logger: Logger
    /// Not before every call that is owed a confirm has been given up.
    private let confirmPatience: Duration
    private let refusalPatience: Duration
    private let onEvent: (@Sendable (AMQPLinkEvent) -> Void)?
    private var tracker: ConfirmTracker<Ticket>
    /// Batches with unsent messages, each once.
    private var queue = FIFO<PublishBatch>()
    /// Every unfinished batch; deadlines rise.
    private var timeline = FIFO<PublishBatch>()
    private var isBlocked = false
    /// When the broker last confirmed something, or began to owe a confirm.
    private var lastProgress = Instant.now()
    private var openedAt = Instant.now()
    /// Whether the broker has refused a message since the channel was opened.
    private var hasRefused = false
    /// Nothing more is sent over a channel that is to be opened anew, until all that was sent has its answer.
    private var isRenewing = false
    private var closeBy = Instant.never
    private var isPastGrace = false
    private(set) var isClosing = false
    let channels = 2

    init(
        _ configuration: AMQPConfiguration, _ topology: AMQPTopology, inbox: PublisherInbox, maxUnconfirmed: Int,
        publishTimeout: Duration, refusalPatience: Duration, logger: Logger,
        onEvent: (@Sendable (AMQPLinkEvent) -> Void)?
    ) {
        self.configuration = configuration
        self.topology = topology
        self.inbox = inbox
        self.logger = logger
        self.refusalPatience = refusalPatience
        self.onEvent = onEvent
        confirmPatience = max(configuration.stallTimeout, publishTimeout)
        tracker = ConfirmTracker(window: maxUnconfirmed)
    }

    var wantsToSend: Bool { !queue.isEmpty && !isBlocked && !isRenewing && tracker.hasRoom }
    var isReadyToEnd: Bool { tracker.open == 0 || isPastGrace }

    func open(_ link: Link, generation: UInt32) throws(AMQPError) {
        try link.provide(topology, &topologyDuty, channel: Self.setupChannel)
        try openChannel(link)
        inbox.isConnected.store(true, ordering: .releasing)
    }

    private func openChannel(_ link: Link) throws(AMQPError) {
        try link.openChannel(Self.channel)
        try link.call(.selectConfirms(), channel: Self.channel)
        openedAt = .now()
        (hasRefused, isRenewing) = (false, false)
    }

    func blocked(_ isBlocked: Bool) {
        self.isBlocked = isBlocked
        inbox.isBlocked.store(isBlocked, ordering: .releasing)
    }

    func inputTurnEnded() {}

    // MARK: What comes

    func handle(_ action: ChannelAction, channel: UInt16, _ link: Link) throws(AMQPError) {
        guard channel == Self.channel else { return }
        switch action {
        case .confirm(let tag, let multiple, let positive):
            let outcome: AMQPPublishOutcome = positive ? .confirmed : .refused
            lastProgress = .now()
            if !positive { hasRefused = true }
            tracker.settle(tag, multiple: multiple) { self.settle($0.batch, $0.index, outcome) }
        case .content(let content): returned(content)
        case .channelClosed(let closure): try reopen(link, closure)
        default: break
        }
    }

    /// A returned message carries no number. Returns come in publishing order, so it is the first open mandatory message
    /// after the last returned one that looks the same.
    private func returned(_ content: AssembledContent) {
        guard case .returned(let code, let reason) = content.start.origin else { return }
        let ticket = tracker.returned { ticket in
            let message = ticket.batch.messages[ticket.index]
            return message.mandatory && message.routingKey == content.start.routingKey
                && message.exchange == content.start.exchange
                && UInt64(message.body.count) == content.header.bodyBytes
                && message.properties.messageID == content.header.properties.messageID
                && message.properties.correlationID == content.header.properties.correlationID
        }
        ticket?.batch.noteReturn(ticket?.index ?? 0, code: code, reason: reason)
    }

    /// The broker closed the channel, most likely over one message (no such exchange, no permission). It names the
    /// exchange; what was meant for that one has not arrived, what else was open may have.
    private func reopen(_ link: Link, _ closure: ChannelClosure) throws(AMQPError) {
        let error = closure.error(link.connection.endpoint)
        logger.warning("the broker closed the publishing channel", metadata: ["error": "\(error)"])
        let parts = closure.reason.split(separator: "'", omittingEmptySubsequences: false)
        let isRefusal = closure.code == ReplyCode.notFound || closure.code == ReplyCode.accessRefused
        var culprit = isRefusal && closure.method == MethodID.basicPublish && parts.count > 2 ? String(parts[1]) : nil
        // What the broker calls the exchange without a name, where it is about rights.
        if culprit == "amq.default" { culprit = "" }
        tracker.reset { ticket in
            let isCulprit = ticket.batch.messages[ticket.index].exchange == culprit
            self.settle(
                ticket.batch, ticket.index,
                isCulprit ? .notSent(reason: error.message) : .unknown(reason: error.message))
        }
        link.forgetChannel(Self.channel)
        MethodEncoder.channelCloseOk(channel: Self.channel, into: link.outbound)
        try openChannel(link)
    }

    private func settle(_ batch: PublishBatch, _ index: Int, _ outcome: AMQPPublishOutcome) {
        let wasFinished = batch.isFinished
        batch.settle(index, outcome)
        if batch.isFinished, !wasFinished { inbox.settled(batch.messages.count) }
    }

    private func giveUp(_ batch: PublishBatch, unsent: String, sent: String) {
        guard !batch.isFinished else { return }
        batch.giveUp(unsent: .notSent(reason: unsent), sent: .unknown(reason: sent))
        inbox.settled(batch.messages.count)
    }

    // MARK: What goes

    func work(_ link: Link, _ now: Instant) throws(AMQPError) -> Instant {
        let deadline = take(now)
        if tracker.open == 0 || isBlocked || !link.outbound.isEmpty { lastProgress = now }
        try renewIfRefused(link, now)
        encode(link)
        return min(deadline, try confirmDeadline(link, now))
    }

    /// A broker may keep the link alive and confirm nothing, for example when a queue has no leader after a crash. Callers
    /// have given up by then, but what they sent would fill the window for ever: only a new link empties it.
    private func confirmDeadline(_ link: Link, _ now: Instant) throws(AMQPError) -> Instant {
        guard tracker.open > 0 else { return .never }
        let deadline = lastProgress.adding(confirmPatience)
        if now >= deadline {
            throw AMQPError(
                .timeout,
                "\(link.connection.endpoint) confirmed none of \(tracker.open) messages for \(confirmPatience). "
                    + "A queue may be without leader or majority.")
        }
        return deadline
    }

    /// RabbitMQ 3.10 notes, when a channel first publishes to a quorum queue, which node leads it. When that was the moment in
    /// which the leader was lost, the channel refuses all for the queue for as long as the lost node is away, though another
    /// leads long since; a new channel knows better. Where a queue is simply full, this costs two calls now and then.
    private func renewIfRefused(_ link: Link, _ now: Instant) throws(AMQPError) {
        guard hasRefused, !isBlocked, !isClosing, now >= openedAt.adding(refusalPatience) else { return }
        isRenewing = true
        guard tracker.open == 0 else { return }
        logger.notice("messages were refused: the publishing channel is opened anew")
        try link.closeChannel(Self.channel)
        tracker.reset { _ in }
        try openChannel(link)
        onEvent?(.channelRenewed)
    }

    func workOffline(_ now: Instant) -> Instant { take(now) }

    private func take(_ now: Instant) -> Instant {
        let taken = inbox.take()
        for batch in taken.batches {
            timeline.append(batch)
            queue.append(batch)
        }
        for id in taken.cancelled {
            timeline.first { $0.id == id }.map { giveUp($0, unsent: "cancelled", sent: "cancelled before its confirm") }
        }
        if taken.isClosing { beginClosing(now) }
        while let batch = timeline.first, batch.isFinished || batch.deadline <= now {
            giveUp(batch, unsent: "not sent within the publish timeout", sent: "no confirm within the publish timeout")
            timeline.removeFirst()
        }
        while let batch = queue.first, !batch.hasUnsent { queue.removeFirst() }
        isPastGrace = now >= closeBy
        return min(timeline.first?.deadline ?? .never, closeBy)
    }

    private func beginClosing(_ now: Instant) {
        guard !isClosing else { return }
        isClosing = true
        closeBy = now.adding(Self.closeGrace)
        while let batch = queue.popFirst() {
            for index in batch.nextUnsent..<max(batch.messages.count, batch.nextUnsent) {
                if !batch.isSettled(index) { settle(batch, index, .notSent(reason: "the publisher is closed")) }
            }
            batch.nextUnsent = batch.messages.count
        }
    }

    private func encode(_ link: Link) {
        guard !isBlocked, !isRenewing else { return }
        while let batch = queue.popFirst() {
            var share = Self.fairShare
            while batch.hasUnsent, share > 0 {
                guard tracker.hasRoom, link.outbound.count < Self.maxOutboundBytes else {
                    // It keeps its turn.
                    queue.prepend(batch)
                    return
                }
                encodeNext(of: batch, link)
                share -= 1
            }
            if batch.hasUnsent { queue.append(batch) }
        }
    }

    private func encodeNext(of batch: PublishBatch, _ link: Link) {
        let index = batch.nextUnsent
        batch.nextUnsent += 1
        // After a lost link a batch is gone through again, and what cannot be encoded has its outcome already.
        guard !batch.isSettled(index) else { return }
        let message = batch.messages[index]
        guard message.body.count <= configuration.maxBodyBytes else {
            return settle(
                batch, index,
                .notSent(reason: "its body of \(message.body.count) bytes is larger than \(configuration.maxBodyBytes)")
            )
        }
        let mark = link.outbound.count
        do throws(EncodingFailure) {
            try MethodEncoder.publish(
                message, channel: Self.channel, frameMax: link.connection.frameMax, into: link.outbound)
            tracker.sent(Ticket(batch: batch, index: index, end: link.outboundPosition))
        } catch {
            link.outbound.truncate(toCount: mark)
            settle(batch, index, .notSent(reason: error.reason))
        }
    }

    // MARK: Ends

    func lost(_ link: Link?, _ error: AMQPError) {
        inbox.isConnected.store(false, ordering: .releasing)
        blocked(false)
        let sentBytes = link?.sentBytes ?? 0
        var rewound: [PublishBatch] = []
        tracker.reset { ticket in
            if ticket.end <= sentBytes {
                self.settle(ticket.batch, ticket.index, .unknown(reason: error.message))
            } else if !ticket.batch.isFinished {
                // It never left whole, so it is sent again over the next link. Tickets come in order: the first one counts.
                if rewound.last !== ticket.batch, !rewound.contains(where: { $0 === ticket.batch }) {
                    ticket.batch.nextUnsent = ticket.index
                    rewound.append(ticket.batch)
                }
            }
        }
        for batch in rewound.reversed() where !queue.contains(where: { $0 === batch }) { queue.prepend(batch) }
        _ = take(.now())
    }

    /// The thread ends: nobody may go on waiting.
    func abandon() {
        _ = take(.now())
        tracker.reset { ticket in
            self.settle(ticket.batch, ticket.index, .unknown(reason: "the publisher closed before its confirm"))
        }
        while let batch = timeline.popFirst() {
            giveUp(batch, unsent: "the publisher is closed", sent: "the publisher closed before its confirm")
        }
    }
}

/// First in, first out, without moving the rest at each step.
struct FIFO<Element> {
    private var elements: [Element] = []
    private var head = 0

    var isEmpty: Bool { head == elements.count }
    var first: Element? { isEmpty ? nil : elements[head] }

    mutating func append(_ element: Element) { elements.append(element) }

    mutating func prepend(_ element: Element) {
        if head > 0 {
            head -= 1
            elements[head] = element
        } else {
            elements.insert(element, at: 0)
        }
    }

    @discardableResult
    mutating func popFirst() -> Element? {
        guard let element = first else { return nil }
        head += 1
        // Half of the array may be dead before the living are moved, and it lets go of all when it runs empty.
        if head == elements.count || head > 64 && head > elements.count / 2 {
            elements.removeSubrange(..<head)
            head = 0
        }
        return element
    }

    mutating func removeFirst() { popFirst() }

    func first(where fits: (Element) -> Bool) -> Element? { elements[head...].first(where: fits) }
    func contains(where fits: (Element) -> Bool) -> Bool { elements[head...].contains(where: fits) }
}
