import Synchronization

/// A short-lived connection for administration, commands and tests. Its blocking calls run on a thread of its own.
///
/// The broker closes the channel over every refusal; the session opens it again by itself, so that a missing queue or a
/// refused declaration does not end it. What was got and not settled goes back to its queue then.
public final class AMQPSession: Sendable {
    private static let channel: UInt16 = 1
    private static let closeLimit: Duration = .seconds(5)

    private typealias Job = @Sendable (Channel) -> Void

    /// The session's one channel. For its thread alone.
    private final class Channel {
        let link: Link
        /// Raised each time the channel is opened: tags of an earlier one are void.
        var generation: UInt32 = 0

        init(_ link: Link) { self.link = link }

        func open() throws(AMQPError) {
            guard !link.isOpen(AMQPSession.channel) else { return }
            try link.openChannel(AMQPSession.channel)
            generation += 1
        }

        func call(_ call: Call) throws(AMQPError) {
            try noting { () throws(AMQPError) in
                try open()
                try link.call(call, channel: AMQPSession.channel)
            }
        }

        func noting<Result>(_ body: () throws(AMQPError) -> Result) throws(AMQPError) -> Result {
            do throws(AMQPError) {
                return try body()
            } catch {
                if case .channelClosed = error.kind { link.forgetChannel(AMQPSession.channel) }
                throw error
            }
        }
    }

    private struct State {
        var jobs: [Job] = []
        var isClosing = false
    }
    private let state = Mutex(State())
    private let wakeup = Wakeup()
    private let lifecycle = LinkLifecycle()

    private init() {}

    /// Connects to the first endpoint that answers, runs `body`, and closes in order. No reconnecting.
    ///
    /// - Throws: ``AMQPError`` when no endpoint takes the connection, and whatever `body` throws.
    public static func withConnection<Result>(
        _ configuration: AMQPConfiguration, _ body: (AMQPSession) async throws -> Result
    ) async throws -> Result {
        let session = AMQPSession()
        try await session.start(configuration)
        do {
            let result = try await body(session)
            await session.close()
            return result
        } catch {
            await session.close()
            throw error
        }
    }

    // MARK: Administration

    /// Declares exchanges, queues and bindings.
    public func declare(_ topology: AMQPTopology) async throws(AMQPError) {
        try await perform { (channel) throws(AMQPError) in
            do throws(AMQPError) {
                for call in try topology.calls() { try channel.call(call) }
            } catch {
                throw error.duringSetup
            }
        }
    }

    /// Sees that exchanges and queues are there: declares all, as ``declare(_:)`` does, or, for a user who may not, asks
    /// for each. Bindings cannot be asked for.
    ///
    /// - Throws: kind ``AMQPError/Kind/topologyMissing``, naming the first that the user may not declare and is not there.
    public func provide(_ topology: AMQPTopology) async throws(AMQPError) {
        do throws(AMQPError) {
            return try await declare(topology)
        } catch {
            guard error.kind == .accessRefused else { throw error }
        }
        try await perform { (channel) throws(AMQPError) in
            for question in try topology.questions() {
                do throws(AMQPError) {
                    try channel.call(question.call)
                } catch {
                    throw error.asking(for: question.name)
                }
            }
        }
    }

    /// - Returns: nil when there is no such queue.
    public func queueStatus(_ name: String) async throws(AMQPError) -> AMQPQueueStatus? {
        try await perform { (channel) throws(AMQPError) in
            do throws(AMQPError) {
                return try channel.noting { () throws(AMQPError) in
                    try channel.open()
                    let call = try encoded { () throws(EncodingFailure) in
                        try Call.declare(AMQPQueue(name: name), passive: true)
                    }
                    return try channel.link.queueStatus(call, channel: Self.channel)
                }
            } catch {
                if case .channelClosed(code: ReplyCode.notFound, _) = error.kind { return nil }
                throw error
            }
        }
    }

    /// Asks whether there is an exchange of this name, whatever its kind. Needs no permission, and changes nothing.
    public func hasExchange(_ name: String) async throws(AMQPError) -> Bool {
        try await perform { (channel) throws(AMQPError) in
            do throws(AMQPError) {
                let call = try encoded { () throws(EncodingFailure) in
                    // The broker looks at nothing but the name when it is only asked.
                    try Call.declare(AMQPExchange(name: name, kind: "topic"), passive: true)
                }
                try channel.call(call)
                return true
            } catch {
                if case .channelClosed(code: ReplyCode.notFound, _) = error.kind { return false }
                throw error
            }
        }
    }

    /// Gets one message. Settle it with ``acknowledge(_:)`` or ``reject(_:requeue:)``. - Returns: nil when there is none.
    public func get(_ queue: String) async throws(AMQPError) -> AMQPDelivery? {
        try await perform { (channel) throws(AMQPError) in
            try channel.noting { () throws(AMQPError) in
                try channel.open()
                let call = try encoded { () throws(EncodingFailure) in try Call.get(queue: queue) }
                guard let content = try channel.link.get(call, channel: Self.channel),
                    case .got(let tag, let redelivered) = content.start.origin
                else { return nil }
                return AMQPDelivery(
                    tag: AMQPDeliveryTag(generation: channel.generation, channel: Self.channel, value: tag),
                    queue: queue, exchange: content.start.exchange, routingKey: content.start.routingKey,
                    redelivered: redelivered, properties: content.header.properties, body: content.body,
                    bodyBytes: content.header.bodyBytes, flaws: content.header.flaws)
            }
        }
    }

    public func acknowledge(_ tag: AMQPDeliveryTag) async throws(AMQPError) {
        try await settle(tag) {
            MethodEncoder.acknowledge(tag.value, multiple: false, channel: Self.channel, into: $0)
        }
    }

    public func reject(_ tag: AMQPDeliveryTag, requeue: Bool) async throws(AMQPError) {
        try await settle(tag) { MethodEncoder.reject(tag.value, requeue: requeue, channel: Self.channel, into: $0) }
    }

    /// Removes all messages that are ready, for good.
    public func purge(_ queue: String) async throws(AMQPError) {
        try await call { () throws(EncodingFailure) in try .purge(queue: queue) }
    }

    /// Deletes a queue with all that is in it. One that does not exist is fine.
    public func deleteQueue(_ name: String) async throws(AMQPError) {
        try await call { () throws(EncodingFailure) in try .delete(queue: name) }
    }

    /// Deletes an exchange and its bindings. One that does not exist is fine.
    public func deleteExchange(_ name: String) async throws(AMQPError) {
        try await call { () throws(EncodingFailure) in try .delete(exchange: name) }
    }

    // MARK: The thread

    private func call(_ make: @escaping @Sendable () throws(EncodingFailure) -> Call) async throws(AMQPError) {
        try await perform { (channel) throws(AMQPError) in try channel.call(try encoded(make)) }
    }

    private func settle(
        _ tag: AMQPDeliveryTag, _ encode: @escaping @Sendable (WireBuffer) -> Void
    ) async throws(AMQPError) {
        try await perform { (channel) throws(AMQPError) in
            guard tag.generation == channel.generation, channel.link.isOpen(Self.channel) else {
                throw AMQPError(
                    .closed, "The channel that delivery came over is gone: its message is back in its queue.")
            }
            encode(channel.link.outbound)
            try channel.link.flushAll(within: Self.closeLimit)
        }
    }

    private func perform<Result: Sendable>(
        _ work: @escaping @Sendable (Channel) throws(AMQPError) -> Result
    ) async throws(AMQPError) -> Result {
        let result: Swift.Result<Result, AMQPError> = await withCheckedContinuation { continuation in
            let isAccepted = state.withLock { state in
                if state.isClosing { return false }
                state.jobs.append { channel in
                    do throws(AMQPError) {
                        continuation.resume(returning: .success(try work(channel)))
                    } catch {
                        continuation.resume(returning: .failure(error))
                    }
                }
                return true
            }
            if isAccepted {
                wakeup.signal()
            } else {
                continuation.resume(
                    returning: .failure(AMQPError(.closed, "The session is closed; use it within withConnection only."))
                )
            }
        }
        return try result.get()
    }

    private func start(_ configuration: AMQPConfiguration) async throws(AMQPError) {
        _ = lifecycle.begin()
        let failure: AMQPError? = await withCheckedContinuation { continuation in
            do throws(AMQPError) {
                try IOThread.start(name: "amqp-session") { [self] in
                    serve(configuration) { continuation.resume(returning: $0) }
                    lifecycle.end()
                }
            } catch {
                lifecycle.end()
                continuation.resume(returning: error)
            }
        }
        if let failure { throw failure }
    }

    private func close() async {
        state.withLock { $0.isClosing = true }
        wakeup.signal()
        await lifecycle.untilEnded()
    }

    private func serve(_ configuration: AMQPConfiguration, _ connected: (AMQPError?) -> Void) {
        let channel: Channel
        do throws(AMQPError) {
            channel = Channel(try Self.connect(configuration))
        } catch {
            return connected(error)
        }
        connected(nil)
        while true {
            let (jobs, isClosing) = state.withLock { state in
                defer { state.jobs = [] }
                return (state.jobs, state.isClosing)
            }
            for job in jobs { job(channel) }
            if isClosing { break }
            if jobs.isEmpty { _ = Poll.wait(socket: -1, forWriting: false, wakeup: wakeup, until: .never) }
        }
        // Nothing is left to lose: whatever mattered was answered already.
        try? channel.link.call(.closeConnection(), channel: 0)
    }

    private static func connect(_ configuration: AMQPConfiguration) throws(AMQPError) -> Link {
        var configuration = configuration
        // Nobody would serve heartbeats between two calls; each call has its own time limit.
        configuration.heartbeat = .zero
        var failure = AMQPError(.invalidURL, "No endpoint is configured; give at least one host.")
        for endpoint in configuration.endpoints.shuffled() {
            do throws(AMQPError) {
                let connection = try RabbitConnection.open(endpoint, configuration, control: SocketControl())
                return Link(connection, configuration, channels: 1)
            } catch {
                failure = error
                if error.isPermanent { break }
            }
        }
        throw failure
    }
}
