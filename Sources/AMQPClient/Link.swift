import CRabbitMQ
import Glibc

/// A connection with what goes out and comes in over it. For its IO thread alone.
final class Link {
    /// After so many frames other duties get their turn.
    private static let maxFramesPerTurn = 4096
    /// An answer to a heartbeat may be late by as much as another interval.
    private static let silentHeartbeats = 2

    let connection: RabbitConnection
    let outbound = WireBuffer()
    private let configuration: AMQPConfiguration
    private var reader = FrameReader()
    /// By channel number; 0 is the connection's own.
    private var machines: [ChannelMachine]
    private var openChannels: Set<UInt16> = []
    private var frame = amqp_frame_t()

    /// An alarm of the broker stops it from reading, so that a send without progress means nothing.
    var isBlocked = false {
        didSet {
            // What waited through the alarm has its full time again.
            if sendingSince != nil { sendingSince = .now() }
        }
    }
    /// Bytes handed to the socket since the beginning.
    private(set) var sentBytes: UInt64 = 0
    /// Where the next encoded byte will stand in the stream of `sentBytes`.
    var outboundPosition: UInt64 { sentBytes + UInt64(outbound.count) }
    /// Whether input was left behind that no poll of the socket will tell of.
    private(set) var hasMoreInput = true

    private var lastReceived = Instant.now()
    private var lastSent = Instant.now()
    private var sendingSince: Instant?

    init(_ connection: consuming RabbitConnection, _ configuration: AMQPConfiguration, channels: Int) {
        self.connection = connection
        self.configuration = configuration
        machines = Array(repeating: .idle, count: channels + 1)
    }

    func openChannel(_ channel: UInt16) throws(AMQPError) {
        try call(.openChannel(), channel: channel)
        machines[Int(channel)] = .idle
        openChannels.insert(channel)
    }

    func closeChannel(_ channel: UInt16) throws(AMQPError) {
        openChannels.remove(channel)
        try call(.closeChannel(), channel: channel)
    }

    /// The broker closed it.
    func forgetChannel(_ channel: UInt16) { openChannels.remove(channel) }

    func isOpen(_ channel: UInt16) -> Bool { openChannels.contains(channel) }

    // MARK: Input

    func noteReadable() {
        lastReceived = .now()
        hasMoreInput = true
    }

    /// Worth a try, without a sign from the socket.
    func noteMayRead() { hasMoreInput = true }

    /// Reads what is there, up to a bound, and gives each action to `handle`.
    func readTurn(_ handle: (ChannelAction, UInt16) throws(AMQPError) -> Void) throws(AMQPError) {
        guard hasMoreInput || connection.hasBufferedInput else { return }
        hasMoreInput = false
        for _ in 0..<Self.maxFramesPerTurn {
            guard try connection.nextFrame(&frame) else { return }
            let channel = frame.channel
            guard Int(channel) < machines.count else {
                connection.releaseBuffers(channel: channel)
                continue
            }
            let action = machines[Int(channel)].receive(
                try reader.read(frame), maxBodyBytes: configuration.maxBodyBytes)
            if case .none = action {
                // All is copied by now. The two small frames before a body wait for it, to save calls.
                if frame.frame_type == FrameKind.body { connection.releaseBuffers(channel: channel) }
                continue
            }
            connection.releaseBuffers(channel: channel)
            try handle(action, channel)
        }
        hasMoreInput = true
    }

    // MARK: Output

    /// Sends what the socket takes now.
    func flush() throws(AMQPError) {
        guard !outbound.isEmpty else { return }
        let sent = try connection.send(outbound)
        sentBytes += UInt64(sent)
        if sent > 0 { lastSent = .now() }
        if outbound.isEmpty {
            sendingSince = nil
        } else if sent > 0 || sendingSince == nil {
            sendingSince = .now()
        }
    }

    /// Sends everything, waiting for the socket. Needed before a call of the library, which would write in between.
    func flushAll(within limit: Duration) throws(AMQPError) {
        try flush()
        let deadline = Instant.now().adding(limit)
        while !outbound.isEmpty {
            let left = deadline - .now()
            var descriptor = pollfd(fd: connection.descriptor, events: Int16(POLLOUT), revents: 0)
            guard left > 0, poll(&descriptor, 1, Int32(clamping: left / 1_000_000 + 1)) >= 0 || errno == EINTR else {
                throw stalled(limit)
            }
            try flush()
        }
    }

    /// A call to the broker in the middle of everything else.
    func call<Answer>(
        _ call: Call, channel: UInt16, _ read: (amqp_method_t) -> Answer
    ) throws(AMQPError) -> Answer {
        try flushAll(within: configuration.stallTimeout)
        let answer = try connection.call(call, channel: channel, read)
        lastSent = .now()
        noteReadable()
        return answer
    }

    func call(_ call: Call, channel: UInt16) throws(AMQPError) { try self.call(call, channel: channel) { _ in } }

    // MARK: Calls with answers of their own

    func queueStatus(_ call: Call, channel: UInt16) throws(AMQPError) -> AMQPQueueStatus? {
        try self.call(call, channel: channel) { answer in
            answer.decoded.map { decoded in
                let ok = decoded.assumingMemoryBound(to: amqp_queue_declare_ok_t.self).pointee
                return AMQPQueueStatus(messages: Int(ok.message_count), consumers: Int(ok.consumer_count))
            }
        }
    }

    /// - Returns: nil when the queue is empty.
    func get(_ call: Call, channel: UInt16) throws(AMQPError) -> AssembledContent? {
        var read: Result<InboundFrame, AMQPError> = .success(.other(0))
        try self.call(call, channel: channel) { answer in
            self.frame.frame_type = FrameKind.method
            self.frame.payload.method = answer
            do throws(AMQPError) { read = .success(try self.reader.read(self.frame)) } catch { read = .failure(error) }
        }
        var inbound = try read.get()
        if case .other = inbound { return nil }
        while true {
            switch machines[Int(channel)].receive(inbound, maxBodyBytes: configuration.maxBodyBytes) {
            case .content(let content):
                connection.releaseBuffers(channel: channel)
                return content
            case .none: break
            default: throw AMQPError(.protocolViolation, "\(connection.endpoint) broke off a message it was asked for.")
            }
            repeat {
                guard try connection.nextFrame(&frame, within: configuration.stallTimeout) else {
                    throw stalled(configuration.stallTimeout)
                }
            } while frame.channel != channel
            inbound = try reader.read(frame)
        }
    }

    // MARK: Keeping alive

    /// Sends a heartbeat when one is due.
    /// - Returns: when to look again.
    /// - Throws: kind `timeout` when the broker was silent, or took nothing, for too long.
    func keepAlive(_ now: Instant) throws(AMQPError) -> Instant {
        var deadline = Instant.never
        if connection.heartbeat > .zero {
            let silence = max(
                connection.heartbeat, min(connection.heartbeat * Self.silentHeartbeats, configuration.stallTimeout))
            let silentUntil = lastReceived.adding(silence)
            if now >= silentUntil {
                throw AMQPError(
                    .timeout,
                    "\(connection.endpoint) was silent for \(silence), not even a heartbeat. It hangs, or the network does."
                )
            }
            var next = lastSent.adding(connection.heartbeat / 2)
            if now >= next {
                // Bytes that wait for the socket say as much as a heartbeat would.
                if outbound.isEmpty {
                    MethodEncoder.heartbeat(into: outbound)
                    try flush()
                }
                next = now.adding(connection.heartbeat / 2)
            }
            deadline = min(silentUntil, next)
        }
        if let sendingSince, !isBlocked {
            let stalledAt = sendingSince.adding(configuration.stallTimeout)
            if now >= stalledAt { throw stalled(configuration.stallTimeout) }
            deadline = min(deadline, stalledAt)
        }
        return deadline
    }

    private func stalled(_ limit: Duration) -> AMQPError {
        AMQPError(.timeout, "\(connection.endpoint) took no bytes for \(limit). It hangs, or the network does.")
    }
}
