import Logging

/// What consuming and publishing differ in. For the IO thread alone.
protocol LinkRole: AnyObject {
    /// How many channels may be in use, numbered from 1.
    var channels: Int { get }
    /// Whether the link is to be ended for good.
    var isClosing: Bool { get }
    /// Sets up channels after a connect; may block.
    func open(_ link: Link, generation: UInt32) throws(AMQPError)
    /// Something arrived on a channel.
    func handle(_ action: ChannelAction, channel: UInt16, _ link: Link) throws(AMQPError)
    /// A turn of reading is over: hand on what was gathered.
    func inputTurnEnded()
    /// Takes commands and encodes what follows from them.
    /// - Returns: when to be called again at the latest.
    func work(_ link: Link, _ now: Instant) throws(AMQPError) -> Instant
    /// Whether `work` would encode more if there were room in the outbound buffer.
    var wantsToSend: Bool { get }
    /// Takes commands while there is no link.
    func workOffline(_ now: Instant) -> Instant
    /// Whether everything that had to go out before closing has been encoded and answered.
    var isReadyToEnd: Bool { get }
    func blocked(_ isBlocked: Bool)
    /// The link is gone; `link` is nil when it never came up.
    func lost(_ link: Link?, _ error: AMQPError)
}

/// Connects, reads, writes and reconnects for a role, on the IO thread, until the role closes or time cannot mend it.
final class LinkDriver<Role: LinkRole> {
    /// A link that held this long was good: the next one is tried without patience learnt before.
    private static var stableAfter: Duration { .seconds(5) }
    /// How long an orderly close may take before the socket is just closed.
    private static var closeLimit: Duration { .seconds(5) }

    private let configuration: AMQPConfiguration
    private let role: Role
    private let wakeup: Wakeup
    private let logger: Logger
    private let onEvent: (@Sendable (AMQPLinkEvent) -> Void)?
    private let control = SocketControl()
    private var generation: UInt32 = 0

    init(
        _ configuration: AMQPConfiguration, role: Role, wakeup: Wakeup, logger: Logger,
        onEvent: (@Sendable (AMQPLinkEvent) -> Void)?
    ) {
        self.configuration = configuration
        self.role = role
        self.wakeup = wakeup
        self.logger = logger
        self.onEvent = onEvent
    }

    /// - Returns: why it gave up; nil after an orderly close.
    func run() -> AMQPError? {
        var schedule = BackoffSchedule(configuration.backoff)
        var round: [AMQPEndpoint] = []
        while !role.isClosing {
            if round.isEmpty { round = configuration.endpoints.shuffled() }
            guard let endpoint = round.popLast() else {
                return AMQPError(.invalidURL, "No endpoint is configured; give at least one host.", isPermanent: true)
            }
            let began = Instant.now()
            var link: Link?
            do throws(AMQPError) {
                try serve(endpoint, &link)
                return nil
            } catch {
                role.lost(link, error)
                // Closes the socket before anything else is tried.
                link = nil
                if role.isClosing { return nil }
                if error.isPermanent { return error }
                if began.adding(Self.stableAfter) < .now() {
                    schedule.reset()
                    round = []
                }
                if round.isEmpty { pause(schedule.next(), error) }
            }
        }
        return nil
    }

    private func pause(_ wait: Duration, _ error: AMQPError) {
        logger.warning("no link to the broker", metadata: ["error": "\(error)", "retry_after": "\(wait)"])
        onEvent?(.retrying(after: wait, error))
        let until = Instant.now().adding(wait)
        while !role.isClosing {
            let now = Instant.now()
            let deadline = min(role.workOffline(now), until)
            if now >= until || role.isClosing { return }
            _ = Poll.wait(socket: -1, forWriting: false, wakeup: wakeup, until: deadline)
        }
    }

    /// Returns after an orderly close. Leaves the link in `link` from the moment it is up.
    private func serve(_ endpoint: AMQPEndpoint, _ link: inout Link?) throws(AMQPError) {
        let connection = try RabbitConnection.open(endpoint, configuration, control: control)
        let opened = Link(connection, configuration, channels: role.channels)
        link = opened
        generation += 1
        try role.open(opened, generation: generation)
        logger.info("connected to the broker", metadata: ["endpoint": "\(endpoint)", "generation": "\(generation)"])
        onEvent?(.connected(generation: generation, endpoint: endpoint))
        do throws(AMQPError) {
            try stream(opened)
        } catch {
            logger.warning("lost the broker", metadata: ["endpoint": "\(endpoint)", "error": "\(error)"])
            onEvent?(.disconnected(error))
            throw error
        }
        end(opened)
    }

    private func stream(_ link: Link) throws(AMQPError) {
        while true {
            try link.readTurn { (action, channel) throws(AMQPError) in try self.handle(action, channel, link) }
            role.inputTurnEnded()
            let now = Instant.now()
            var deadline = try role.work(link, now)
            try link.flush()
            if role.isClosing, role.isReadyToEnd { return }
            deadline = min(deadline, try link.keepAlive(now))
            // Never sleep on input that the poll cannot see, nor with room for output that waits.
            if link.hasMoreInput || link.connection.hasBufferedInput { continue }
            if role.wantsToSend, link.outbound.isEmpty {
                link.noteMayRead()
                continue
            }
            let ready = Poll.wait(
                socket: link.connection.descriptor, forWriting: !link.outbound.isEmpty, wakeup: wakeup, until: deadline)
            if ready.socketReadable { link.noteReadable() }
        }
    }

    private func handle(_ action: ChannelAction, _ channel: UInt16, _ link: Link) throws(AMQPError) {
        switch action {
        case .none: break
        case .blocked(let reason):
            link.isBlocked = true
            role.blocked(true)
            logger.warning("the broker stopped publishing", metadata: ["reason": "\(reason)"])
            onEvent?(.blocked(reason: reason))
        case .unblocked:
            link.isBlocked = false
            role.blocked(false)
            logger.info("the broker lets publish again")
            onEvent?(.unblocked)
        case .connectionClosed(let code, let reason):
            link.connection.answerConnectionClose()
            throw AMQPError(
                .closedByBroker(code: code), "\(link.connection.endpoint) closed the connection: \(code) \(reason).")
        case .violation(let what):
            throw AMQPError(.protocolViolation, "\(link.connection.endpoint) broke the protocol: \(what).")
        case .content, .confirm, .cancelledByBroker, .cancelOk, .channelClosed:
            try role.handle(action, channel: channel, link)
        }
    }

    /// Closing the channels first makes the broker work off every acknowledgement before it answers.
    private func end(_ link: Link) {
        do throws(AMQPError) {
            try link.flushAll(within: Self.closeLimit)
            for channel in 1...UInt16(role.channels) where link.isOpen(channel) {
                try link.connection.call(.closeChannel(), channel: channel, within: Self.closeLimit)
            }
            try link.connection.call(.closeConnection(), channel: 0, within: Self.closeLimit)
        } catch {
            logger.notice("the connection was not closed in order", metadata: ["error": "\(error)"])
        }
    }
}
