/// The head of a delivery, got message or returned message.
package struct ContentStart: Equatable {
    package enum Origin: Equatable {
        case delivery(tag: UInt64, redelivered: Bool)
        case got(tag: UInt64, redelivered: Bool)
        case returned(code: Int, reason: String)
    }

    package var origin: Origin
    package var exchange: String
    package var routingKey: String

    package init(origin: Origin, exchange: String, routingKey: String) {
        self.origin = origin
        self.exchange = exchange
        self.routingKey = routingKey
    }
}

package struct ContentHeader: Equatable {
    package var bodyBytes: UInt64
    package var properties: AMQPProperties
    package var flaws: AMQPDeliveryFlaws

    package init(bodyBytes: UInt64, properties: AMQPProperties, flaws: AMQPDeliveryFlaws = []) {
        self.bodyBytes = bodyBytes
        self.properties = properties
        self.flaws = flaws
    }
}

package struct ChannelClosure: Equatable {
    package var code: Int
    package var reason: String
    /// The method the broker objects to, as in ``MethodID``; 0 when it names none.
    package var method: UInt32

    package init(code: Int, reason: String, method: UInt32) {
        self.code = code
        self.reason = reason
        self.method = method
    }
}

/// What arrives on a channel (or on channel 0, the connection's own), already free of C.
/// Only `body` borrows memory: copy it before the next frame is read.
package enum InboundFrame {
    case content(ContentStart)
    case header(ContentHeader)
    case body(UnsafeRawBufferPointer)
    case confirm(tag: UInt64, multiple: Bool, positive: Bool)
    case cancelledByBroker(consumerTag: String)
    case cancelOk
    case channelClose(ChannelClosure)
    case connectionClose(code: Int, reason: String)
    case blocked(reason: String)
    case unblocked
    /// A method that nobody here waits for, such as a late answer.
    case other(UInt32)
}

/// A message with all its body frames.
package struct AssembledContent: Equatable {
    package var start: ContentStart
    package var header: ContentHeader
    package var body: [UInt8]

    package init(start: ContentStart, header: ContentHeader, body: [UInt8]) {
        self.start = start
        self.header = header
        self.body = body
    }
}

/// What follows from a frame.
package enum ChannelAction: Equatable {
    case none
    case content(AssembledContent)
    case confirm(tag: UInt64, multiple: Bool, positive: Bool)
    case cancelledByBroker(consumerTag: String)
    case cancelOk
    case channelClosed(ChannelClosure)
    case connectionClosed(code: Int, reason: String)
    case blocked(reason: String)
    case unblocked
    /// The broker broke the protocol: the connection is not to be trusted any more.
    case violation(String)
}

/// Puts frames of one channel together. Pure.
///
/// ```
/// idle ── deliver, get-ok, return ──> header ── content header ──> body ── all bytes there ──> idle
///                                                    └── no body ──────────────────────────────> idle
/// any ── channel.close ──> closed (everything further is ignored)
/// ```
package enum ChannelMachine {
    case idle
    case header(ContentStart)
    case body(ContentStart, ContentHeader, [UInt8], missing: UInt64)
    case closed

    package mutating func receive(_ frame: InboundFrame, maxBodyBytes: Int) -> ChannelAction {
        switch frame {
        case .channelClose(let closure):
            self = .closed
            return .channelClosed(closure)
        case .connectionClose(let code, let reason):
            self = .closed
            return .connectionClosed(code: code, reason: reason)
        case _ where isClosed: return .none
        case .blocked(let reason): return .blocked(reason: reason)
        case .unblocked: return .unblocked
        case .content(let start): return begin(start)
        case .header(let header): return take(header, maxBodyBytes: maxBodyBytes)
        case .body(let bytes): return append(bytes)
        // Other methods may not come between the frames of one message.
        case .confirm, .cancelledByBroker, .cancelOk, .other:
            guard case .idle = self else { return .violation("a method came in the middle of a message") }
            switch frame {
            case .confirm(let tag, let multiple, let positive):
                return .confirm(tag: tag, multiple: multiple, positive: positive)
            case .cancelledByBroker(let tag): return .cancelledByBroker(consumerTag: tag)
            case .cancelOk: return .cancelOk
            default: return .none
            }
        }
    }

    private var isClosed: Bool {
        if case .closed = self { return true }
        return false
    }

    private mutating func begin(_ start: ContentStart) -> ChannelAction {
        guard case .idle = self else { return .violation("a message began in the middle of another") }
        self = .header(start)
        return .none
    }

    private mutating func take(_ header: ContentHeader, maxBodyBytes: Int) -> ChannelAction {
        guard case .header(let start) = self else { return .violation("a content header came without its method") }
        var header = header
        if header.bodyBytes > UInt64(maxBodyBytes) { header.flaws.insert(.oversize) }
        if header.bodyBytes == 0 {
            self = .idle
            return .content(AssembledContent(start: start, header: header, body: []))
        }
        self = .body(start, header, [], missing: header.bodyBytes)
        return .none
    }

    private mutating func append(_ bytes: UnsafeRawBufferPointer) -> ChannelAction {
        guard case .body(let start, let header, var body, let missing) = self else {
            return .violation("a body frame came without its header")
        }
        // Lets go of the enum's own reference, or every further frame would copy all that came before it.
        self = .idle
        guard UInt64(bytes.count) <= missing else { return .violation("a body is longer than its header says") }
        let left = missing - UInt64(bytes.count)
        if !header.flaws.contains(.oversize) {
            if body.isEmpty, left > 0 { body.reserveCapacity(Int(header.bodyBytes)) }
            body.append(contentsOf: bytes)
        }
        if left == 0 { return .content(AssembledContent(start: start, header: header, body: body)) }
        self = .body(start, header, body, missing: left)
        return .none
    }
}
