import CRabbitMQ
import Glibc

/// One connection of librabbitmq, for the thread that opened it. Ends with its scope.
///
/// After the login the library's own heartbeats are switched off: the owner of the loop sends them and watches for
/// silence, since the library does both only within its calls and ties sending to receiving.
struct RabbitConnection: ~Copyable {
    /// More channels than subscriptions one consumer is likely to have.
    private static let maxChannels: Int32 = 2047
    /// librabbitmq 0.11 cannot ask OpenSSL for its default; Debian keeps the bundle here.
    private static let systemAuthorityFile = "/etc/ssl/certs/ca-certificates.crt"
    /// Pages of the pools in which our own calls are decoded.
    private static let poolPageBytes = 4096

    private let state: amqp_connection_state_t
    private let control: SocketControl
    private let stallTimeout: Duration
    let endpoint: AMQPEndpoint
    private(set) var frameMax: Int
    /// As agreed with the broker; zero for none.
    private(set) var heartbeat: Duration = .zero

    private init(
        state: amqp_connection_state_t, endpoint: AMQPEndpoint, _ configuration: AMQPConfiguration,
        _ control: SocketControl
    ) {
        self.state = state
        self.endpoint = endpoint
        self.control = control
        stallTimeout = configuration.stallTimeout
        frameMax = configuration.frameMax
    }

    deinit {
        control.detach()
        amqp_destroy_connection(state)
    }

    /// Connects, logs in, and leaves the connection without channels. Blocks up to two connect timeouts, and as long as
    /// the system's resolver takes.
    static func open(
        _ endpoint: AMQPEndpoint, _ configuration: AMQPConfiguration, control: SocketControl
    ) throws(AMQPError) -> RabbitConnection {
        guard let state = amqp_new_connection() else {
            throw AMQPError(.unreachable, "There is no memory for a connection.")
        }
        var connection = RabbitConnection(state: state, endpoint: endpoint, configuration, control)
        try connection.connect(configuration)
        control.attach(amqp_get_sockfd(state))
        try connection.login(configuration)
        return connection
    }

    var descriptor: Int32 { amqp_get_sockfd(state) }

    // MARK: Opening

    private func connect(_ configuration: AMQPConfiguration) throws(AMQPError) {
        let socket = endpoint.tls ? amqp_ssl_socket_new(state) : amqp_tcp_socket_new(state)
        guard let socket else { throw AMQPError(.unreachable, "There is no memory for a socket.") }
        if endpoint.tls { try prepareTLS(socket, configuration.tls) }
        var limit = configuration.connectTimeout.timeval
        let status = amqp_socket_open_noblock(socket, endpoint.host, Int32(endpoint.port), &limit)
        guard status == 0 else { throw openFailure(status) }
    }

    private func prepareTLS(_ socket: OpaquePointer, _ options: AMQPTLSOptions) throws(AMQPError) {
        amqp_ssl_socket_set_verify_peer(socket, options.verifyPeer ? 1 : 0)
        amqp_ssl_socket_set_verify_hostname(socket, options.verifyPeer ? 1 : 0)
        amqp_ssl_socket_set_ssl_versions(socket, AMQP_TLSv1_2, AMQP_TLSvLATEST)
        if options.verifyPeer || options.caFile != nil {
            let file = options.caFile ?? Self.systemAuthorityFile
            guard amqp_ssl_socket_set_cacert(socket, file) == 0 else {
                throw AMQPError(.tls, "The authorities' file \(file) cannot be read; it must hold PEM certificates.")
            }
        }
        if let certificate = options.certificateFile, let key = options.keyFile {
            guard amqp_ssl_socket_set_key(socket, certificate, key) == 0 else {
                throw AMQPError(
                    .tls,
                    "The client certificate \(certificate) and key \(key) cannot be used; both must be PEM and match.")
            }
        }
    }

    private func openFailure(_ status: Int32) -> AMQPError {
        let text = String(cString: amqp_error_string2(status))
        switch status {
        case AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED.rawValue:
            return AMQPError(
                .tls,
                "The certificate of \(endpoint) is for another host. Use the name it was issued for, or issue another.")
        case AMQP_STATUS_SSL_PEER_VERIFY_FAILED.rawValue:
            return AMQPError(
                .tls,
                "The certificate of \(endpoint) is not signed by a trusted authority. Name the right one (cacertfile).")
        case AMQP_STATUS_TIMEOUT.rawValue:
            return AMQPError(.unreachable, "\(endpoint) did not answer in time. Check address, firewall and broker.")
        default:
            return AMQPError(
                .unreachable, "\(endpoint) cannot be reached: \(text). Check address and port, and that it runs.")
        }
    }

    private mutating func login(_ configuration: AMQPConfiguration) throws(AMQPError) {
        var handshake = configuration.connectTimeout.timeval
        amqp_set_handshake_timeout(state, &handshake)
        var rpc = configuration.stallTimeout.timeval
        amqp_set_rpc_timeout(state, &rpc)

        let properties = try Self.clientProperties(configuration)
        let seconds = Int32(clamping: configuration.heartbeat.components.seconds)
        var pool = amqp_pool_t()
        init_amqp_pool(&pool, Self.poolPageBytes)
        defer { empty_amqp_pool(&pool) }
        var table = amqp_table_t()
        var offset = 0
        let encoded = amqp_bytes_t(
            len: properties.count, bytes: UnsafeMutableRawPointer(mutating: properties.unread.baseAddress))
        guard amqp_decode_table(encoded, &pool, &table, &offset) == 0 else {
            throw AMQPError(.invalidURL, "The connection's name cannot be encoded; shorten it.")
        }
        let state = state
        // The library's timeout covers reading; a peer that takes no bytes needs the watchdog.
        let reply = try Watchdog.shared.guarding(control, for: configuration.connectTimeout * 2) {
            gaia_amqp_login_plain(
                state, configuration.virtualHost, Self.maxChannels, Int32(configuration.frameMax), seconds, &table,
                configuration.user, configuration.password)
        }
        _ = properties
        guard reply.reply_type == AMQP_RESPONSE_NORMAL else { throw loginFailure(reply, configuration) }
        frameMax = Int(amqp_get_frame_max(state))
        heartbeat = .seconds(Int(amqp_get_heartbeat(state)))
        guard amqp_tune_connection(state, amqp_get_channel_max(state), Int32(frameMax), 0) == 0 else {
            throw AMQPError(.unreachable, "There is no memory for the connection's buffers.")
        }
        amqp_maybe_release_buffers(state)
    }

    private static func clientProperties(_ configuration: AMQPConfiguration) throws(AMQPError) -> WireBuffer {
        let buffer = WireBuffer()
        do {
            try MethodEncoder.table(
                [
                    "product": .string("GAIA Fleet"), "platform": .string("Swift"),
                    "connection_name": .string(configuration.connectionName),
                    "capabilities": .table([
                        // Without it the broker stays silent when a consumed queue is deleted.
                        "consumer_cancel_notify": .bool(true),
                        "connection.blocked": .bool(true),
                        "publisher_confirms": .bool(true),
                        "basic.nack": .bool(true),
                        "exchange_exchange_bindings": .bool(true),
                        "authentication_failure_close": .bool(true),
                    ]),
                ], depth: 1, into: buffer)
        } catch {
            throw AMQPError(.invalidURL, "The connection's properties cannot be encoded: \(error.reason).")
        }
        return buffer
    }

    private func loginFailure(_ reply: amqp_rpc_reply_t, _ configuration: AMQPConfiguration) -> AMQPError {
        let virtualHost = configuration.virtualHost
        guard reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION, reply.reply.id == MethodID.connectionClose,
            let decoded = reply.reply.decoded
        else {
            let text = String(cString: amqp_error_string2(reply.library_error))
            return AMQPError(
                .unreachable, "The login at \(endpoint) broke off: \(text). The broker may be starting or stopping.")
        }
        let close = decoded.assumingMemoryBound(to: amqp_connection_close_t.self).pointee
        let code = Int(close.reply_code)
        let reason = close.reply_text.repairedText
        switch code {
        case ReplyCode.accessRefused:
            return AMQPError(
                .credentialsRefused,
                "\(endpoint) refuses user \(configuration.user). Check user and password, and that the user may log in from here."
            )
        case ReplyCode.notAllowed where reason.contains("not found"):
            return AMQPError(
                .virtualHostNotFound, "\(endpoint) has no virtual host \(virtualHost). Create it or correct the name.")
        case ReplyCode.notAllowed where reason.contains("refused"):
            return AMQPError(
                .accessRefused,
                "User \(configuration.user) may not use virtual host \(virtualHost) of \(endpoint). Set permissions.")
        default:
            return AMQPError(
                .closedByBroker(code: code), "\(endpoint) closed the connection at login: \(code) \(reason).")
        }
    }

    // MARK: Reading

    /// Whether frames or bytes wait within the library, where a poll of the socket does not see them.
    var hasBufferedInput: Bool { amqp_frames_enqueued(state) != 0 || amqp_data_in_buffer(state) != 0 }

    /// Reads the next frame without waiting.
    /// - Returns: false when there is none now, and everything the socket and TLS held has been read.
    func nextFrame(_ frame: inout amqp_frame_t) throws(AMQPError) -> Bool {
        try nextFrame(&frame, timeval(tv_sec: 0, tv_usec: 0))
    }

    /// Reads the next frame, waiting at most `limit`.
    func nextFrame(_ frame: inout amqp_frame_t, within limit: Duration) throws(AMQPError) -> Bool {
        try nextFrame(&frame, limit.timeval)
    }

    private func nextFrame(_ frame: inout amqp_frame_t, _ limit: timeval) throws(AMQPError) -> Bool {
        var limit = limit
        let status = amqp_simple_wait_frame_noblock(state, &frame, &limit)
        switch status {
        case 0: return true
        case AMQP_STATUS_TIMEOUT.rawValue: return false
        case AMQP_STATUS_BAD_AMQP_DATA.rawValue:
            throw AMQPError(.protocolViolation, "\(endpoint) sent a frame that librabbitmq cannot decode.")
        default: throw lost(status)
        }
    }

    /// Gives back what was decoded on a channel; its pointers die. Cheap, so done after every message.
    func releaseBuffers(channel: UInt16) { amqp_maybe_release_buffers_on_channel(state, channel) }

    func lost(_ status: Int32) -> AMQPError {
        AMQPError(
            .connectionLost, "The connection to \(endpoint) was lost: \(String(cString: amqp_error_string2(status))).")
    }

    // MARK: Calls

    /// Sends a method and waits for its answer, at most `stallTimeout`. Frames of other channels that come meanwhile are
    /// kept for ``nextFrame(_:)``. Nothing half sent may be in the way: flush first.
    ///
    /// - Throws: kind `channelClosed` after answering the broker's close; the channel may then be opened again.
    func call<Answer>(
        _ call: Call, channel: UInt16, within limit: Duration? = nil, _ read: (amqp_method_t) -> Answer
    ) throws(AMQPError) -> Answer {
        let limit = limit ?? stallTimeout
        var rpc = limit.timeval
        amqp_set_rpc_timeout(state, &rpc)
        var pool = amqp_pool_t()
        init_amqp_pool(&pool, Self.poolPageBytes)
        defer { empty_amqp_pool(&pool) }
        let encoded = amqp_bytes_t(
            len: call.arguments.count, bytes: UnsafeMutableRawPointer(mutating: call.arguments.unread.baseAddress))
        var decoded: UnsafeMutableRawPointer?
        guard amqp_decode_method(call.method, &pool, encoded, &decoded) == 0 else {
            throw AMQPError(.protocolViolation, "librabbitmq does not take a call that was encoded for it.")
        }
        var replies = call.replies + [0]
        let state = state
        let reply = try Watchdog.shared.guarding(control, for: limit * 2) {
            amqp_simple_rpc(state, channel, call.method, &replies, decoded)
        }
        // The encoded bytes are pointed into until here.
        withExtendedLifetime(call) {}
        defer { amqp_maybe_release_buffers(state) }
        switch reply.reply_type {
        case AMQP_RESPONSE_NORMAL: return read(reply.reply)
        case AMQP_RESPONSE_SERVER_EXCEPTION: throw serverException(reply.reply, channel: channel)
        case AMQP_RESPONSE_LIBRARY_EXCEPTION where reply.library_error == AMQP_STATUS_TIMEOUT.rawValue:
            throw AMQPError(.timeout, "\(endpoint) did not answer within \(limit). It hangs, or the network does.")
        case AMQP_RESPONSE_LIBRARY_EXCEPTION: throw lost(reply.library_error)
        default: throw lost(AMQP_STATUS_SOCKET_CLOSED.rawValue)
        }
    }

    func call(_ call: Call, channel: UInt16, within limit: Duration? = nil) throws(AMQPError) {
        try self.call(call, channel: channel, within: limit) { _ in }
    }

    private func serverException(_ method: amqp_method_t, channel: UInt16) -> AMQPError {
        guard let decoded = method.decoded else { return lost(AMQP_STATUS_SOCKET_CLOSED.rawValue) }
        if method.id == MethodID.channelClose {
            let closure = FrameReader.closure(decoded.assumingMemoryBound(to: amqp_channel_close_t.self).pointee)
            var ok = amqp_channel_close_ok_t()
            // If this fails, so does the next call, and that one says so.
            amqp_send_method(state, channel, MethodID.channelCloseOk, &ok)
            return closure.error(endpoint)
        }
        let close = decoded.assumingMemoryBound(to: amqp_connection_close_t.self).pointee
        let error = AMQPError(
            .closedByBroker(code: Int(close.reply_code)),
            "\(endpoint) closed the connection: \(close.reply_code) \(close.reply_text.repairedText).")
        answerConnectionClose()
        return error
    }

    func answerConnectionClose() {
        var ok = amqp_connection_close_ok_t()
        amqp_send_method(state, 0, MethodID.connectionCloseOk, &ok)
    }

    // MARK: Sending

    /// Sends what the socket takes of `buffer` now, which holds whole frames (but for a first one begun before).
    /// - Returns: how many bytes went.
    func send(_ buffer: WireBuffer) throws(AMQPError) -> Int {
        endpoint.tls ? try sendThroughLibrary(buffer) : try sendToSocket(buffer)
    }

    private func sendToSocket(_ buffer: WireBuffer) throws(AMQPError) -> Int {
        var total = 0
        while !buffer.isEmpty {
            let bytes = buffer.unread
            let sent = Glibc.send(
                descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
            if sent > 0 {
                buffer.consume(sent)
                total += sent
            } else if sent < 0, errno == EINTR {
                continue
            } else if sent < 0, errno == EAGAIN {
                break
            } else {
                throw AMQPError(.connectionLost, "Sending to \(endpoint) failed: \(errorText(errno)).")
            }
        }
        return total
    }

    /// TLS belongs to the library, which takes decoded frames only: each is decoded again and handed to it.
    private func sendThroughLibrary(_ buffer: WireBuffer) throws(AMQPError) -> Int {
        var pool = amqp_pool_t()
        init_amqp_pool(&pool, Self.poolPageBytes)
        defer { empty_amqp_pool(&pool) }
        var total = 0
        // The library would block on a full socket, so ask before each frame.
        while !buffer.isEmpty, Poll.isWritable(descriptor) {
            let bytes = buffer.unread
            let size = FrameKind.overheadBytes + Int(bytes.loadUnaligned(fromByteOffset: 3, as: UInt32.self).bigEndian)
            var frame = amqp_frame_t()
            try Self.decode(UnsafeRawBufferPointer(rebasing: bytes[..<size]), &pool, &frame)
            let state = state
            let status = try Watchdog.shared.guarding(control, for: stallTimeout) { amqp_send_frame(state, &frame) }
            guard status == 0 else { throw lost(status) }
            recycle_amqp_pool(&pool)
            buffer.consume(size)
            total += size
        }
        return total
    }

    private static func decode(
        _ bytes: UnsafeRawBufferPointer, _ pool: inout amqp_pool_t, _ frame: inout amqp_frame_t
    ) throws(AMQPError) {
        func part(from offset: Int) -> amqp_bytes_t {
            let part = bytes[offset..<bytes.count - 1]
            return amqp_bytes_t(
                len: part.count,
                bytes: UnsafeMutableRawPointer(mutating: UnsafeRawBufferPointer(rebasing: part).baseAddress))
        }
        func integer<Value: FixedWidthInteger>(_ offset: Int, _ type: Value.Type) -> Value {
            bytes.loadUnaligned(fromByteOffset: offset, as: type).bigEndian
        }
        frame.frame_type = bytes[0]
        frame.channel = integer(1, UInt16.self)
        var decoded: UnsafeMutableRawPointer?
        var status: Int32 = 0
        switch frame.frame_type {
        case FrameKind.method:
            let id = integer(7, UInt32.self)
            status = amqp_decode_method(id, &pool, part(from: 11), &decoded)
            frame.payload.method = amqp_method_t(id: id, decoded: decoded)
        case FrameKind.header:
            status = amqp_decode_properties(MethodEncoder.contentClass, &pool, part(from: 19), &decoded)
            frame.payload.properties.class_id = MethodEncoder.contentClass
            frame.payload.properties.body_size = integer(11, UInt64.self)
            frame.payload.properties.decoded = decoded
        case FrameKind.body: frame.payload.body_fragment = part(from: 7)
        default: break
        }
        guard status == 0 else {
            throw AMQPError(.protocolViolation, "librabbitmq does not take a frame that was encoded for it.")
        }
    }
}

extension ChannelClosure {
    func error(_ endpoint: AMQPEndpoint) -> AMQPError {
        AMQPError(.channelClosed(code: code, reason: reason), "\(endpoint) closed the channel: \(code) \(reason).")
    }
}
