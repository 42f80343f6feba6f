/// What a message or argument cannot be encoded for; the text completes "cannot be sent: ".
package struct EncodingFailure: Error, Equatable {
    package let reason: String
    package init(_ reason: String) { self.reason = reason }
}

/// Numbers of the AMQP 0-9-1 methods in use: class in the upper half, method in the lower.
package enum MethodID {
    package static let connectionClose: UInt32 = 0x000A_0032
    package static let connectionCloseOk: UInt32 = 0x000A_0033
    package static let connectionBlocked: UInt32 = 0x000A_003C
    package static let connectionUnblocked: UInt32 = 0x000A_003D
    package static let channelOpen: UInt32 = 0x0014_000A
    package static let channelOpenOk: UInt32 = 0x0014_000B
    package static let channelClose: UInt32 = 0x0014_0028
    package static let channelCloseOk: UInt32 = 0x0014_0029
    package static let exchangeDeclare: UInt32 = 0x0028_000A
    package static let exchangeDeclareOk: UInt32 = 0x0028_000B
    package static let exchangeDelete: UInt32 = 0x0028_0014
    package static let exchangeDeleteOk: UInt32 = 0x0028_0015
    package static let exchangeBind: UInt32 = 0x0028_001E
    package static let exchangeBindOk: UInt32 = 0x0028_001F
    package static let queueDeclare: UInt32 = 0x0032_000A
    package static let queueDeclareOk: UInt32 = 0x0032_000B
    package static let queueBind: UInt32 = 0x0032_0014
    package static let queueBindOk: UInt32 = 0x0032_0015
    package static let queuePurge: UInt32 = 0x0032_001E
    package static let queuePurgeOk: UInt32 = 0x0032_001F
    package static let queueDelete: UInt32 = 0x0032_0028
    package static let queueDeleteOk: UInt32 = 0x0032_0029
    package static let basicQos: UInt32 = 0x003C_000A
    package static let basicQosOk: UInt32 = 0x003C_000B
    package static let basicConsume: UInt32 = 0x003C_0014
    package static let basicConsumeOk: UInt32 = 0x003C_0015
    package static let basicCancel: UInt32 = 0x003C_001E
    package static let basicCancelOk: UInt32 = 0x003C_001F
    package static let basicPublish: UInt32 = 0x003C_0028
    package static let basicReturn: UInt32 = 0x003C_0032
    package static let basicDeliver: UInt32 = 0x003C_003C
    package static let basicGet: UInt32 = 0x003C_0046
    package static let basicGetOk: UInt32 = 0x003C_0047
    package static let basicGetEmpty: UInt32 = 0x003C_0048
    package static let basicAck: UInt32 = 0x003C_0050
    package static let basicReject: UInt32 = 0x003C_005A
    package static let basicNack: UInt32 = 0x003C_0078
    package static let confirmSelect: UInt32 = 0x0055_000A
    package static let confirmSelectOk: UInt32 = 0x0055_000B
}

package enum FrameKind {
    package static let method: UInt8 = 1
    package static let header: UInt8 = 2
    package static let body: UInt8 = 3
    package static let heartbeat: UInt8 = 8
    /// Ends every frame.
    package static let endMarker: UInt8 = 0xCE
    /// Kind, channel, size.
    package static let headBytes = 7
    /// Head and end marker.
    package static let overheadBytes = 8
}

/// Which optional properties of a content header are present, bit by bit.
package enum PropertyFlag {
    package static let contentType: UInt16 = 1 << 15
    package static let contentEncoding: UInt16 = 1 << 14
    package static let headers: UInt16 = 1 << 13
    package static let deliveryMode: UInt16 = 1 << 12
    package static let priority: UInt16 = 1 << 11
    package static let correlationID: UInt16 = 1 << 10
    package static let replyTo: UInt16 = 1 << 9
    package static let expiration: UInt16 = 1 << 8
    package static let messageID: UInt16 = 1 << 7
    package static let timestamp: UInt16 = 1 << 6
    package static let type: UInt16 = 1 << 5
    package static let userID: UInt16 = 1 << 4
    package static let appID: UInt16 = 1 << 3
}

/// Writes AMQP 0-9-1 frames into a ``WireBuffer``. Pure: no socket, no C.
///
/// Whoever catches an ``EncodingFailure`` truncates the buffer to where it was.
package enum MethodEncoder {
    /// Tables we send ourselves nest no deeper.
    package static let maxNesting = 64
    package static let maxShortStringBytes = 255
    package static let contentClass: UInt16 = 60

    /// Opens a frame; returns what ``endFrame(_:in:)`` needs.
    package static func beginFrame(_ kind: UInt8, channel: UInt16, in buffer: WireBuffer) -> Int {
        let mark = buffer.count
        buffer.append(kind)
        buffer.append(channel)
        buffer.append(UInt32(0))
        return mark
    }

    package static func endFrame(_ mark: Int, in buffer: WireBuffer) {
        buffer.patch(UInt32(buffer.count - mark - FrameKind.headBytes), at: mark + 3)
        buffer.append(FrameKind.endMarker)
    }

    package static func heartbeat(into buffer: WireBuffer) {
        endFrame(beginFrame(FrameKind.heartbeat, channel: 0, in: buffer), in: buffer)
    }

    package static func acknowledge(_ tag: UInt64, multiple: Bool, channel: UInt16, into buffer: WireBuffer) {
        let mark = beginFrame(FrameKind.method, channel: channel, in: buffer)
        buffer.append(MethodID.basicAck)
        buffer.append(tag)
        buffer.append(UInt8(multiple ? 1 : 0))
        endFrame(mark, in: buffer)
    }

    package static func reject(_ tag: UInt64, requeue: Bool, channel: UInt16, into buffer: WireBuffer) {
        let mark = beginFrame(FrameKind.method, channel: channel, in: buffer)
        buffer.append(MethodID.basicReject)
        buffer.append(tag)
        buffer.append(UInt8(requeue ? 1 : 0))
        endFrame(mark, in: buffer)
    }

    package static func cancel(
        consumerTag: String, channel: UInt16, into buffer: WireBuffer
    ) throws(EncodingFailure) {
        let mark = beginFrame(FrameKind.method, channel: channel, in: buffer)
        buffer.append(MethodID.basicCancel)
        try shortString(consumerTag, "the consumer tag", into: buffer)
        buffer.append(UInt8(0))
        endFrame(mark, in: buffer)
    }

    package static func channelCloseOk(channel: UInt16, into buffer: WireBuffer) {
        let mark = beginFrame(FrameKind.method, channel: channel, in: buffer)
        buffer.append(MethodID.channelCloseOk)
        endFrame(mark, in: buffer)
    }

    /// One message: method, header and as many body frames as `frameMax` bytes a frame need.
    package static func publish(
        _ message: AMQPMessage, channel: UInt16, frameMax: Int, into buffer: WireBuffer
    ) throws(EncodingFailure) {
        let method = beginFrame(FrameKind.method, channel: channel, in: buffer)
        buffer.append(MethodID.basicPublish)
        buffer.append(UInt16(0))
        try shortString(message.exchange, "the exchange's name", into: buffer)
        try shortString(message.routingKey, "the routing key", into: buffer)
        buffer.append(UInt8(message.mandatory ? 1 : 0))
        endFrame(method, in: buffer)

        let header = beginFrame(FrameKind.header, channel: channel, in: buffer)
        buffer.append(contentClass)
        buffer.append(UInt16(0))
        buffer.append(UInt64(message.body.count))
        try properties(message.properties, into: buffer)
        endFrame(header, in: buffer)
        if buffer.count - header > frameMax {
            throw EncodingFailure("its headers are larger than one frame of \(frameMax) bytes")
        }
        message.body.withUnsafeBytes { bytes in
            var offset = 0
            while offset < bytes.count {
                let size = min(bytes.count - offset, frameMax - FrameKind.overheadBytes)
                buffer.reserve(size + FrameKind.overheadBytes)
                let frame = beginFrame(FrameKind.body, channel: channel, in: buffer)
                buffer.append(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + size]))
                endFrame(frame, in: buffer)
                offset += size
            }
        }
    }

    private static func properties(_ p: AMQPProperties, into buffer: WireBuffer) throws(EncodingFailure) {
        var flags = PropertyFlag.deliveryMode
        if p.contentType != nil { flags |= PropertyFlag.contentType }
        if p.contentEncoding != nil { flags |= PropertyFlag.contentEncoding }
        if !p.headers.isEmpty { flags |= PropertyFlag.headers }
        if p.priority != nil { flags |= PropertyFlag.priority }
        if p.correlationID != nil { flags |= PropertyFlag.correlationID }
        if p.replyTo != nil { flags |= PropertyFlag.replyTo }
        if p.expiration != nil { flags |= PropertyFlag.expiration }
        if p.messageID != nil { flags |= PropertyFlag.messageID }
        if p.timestamp != nil { flags |= PropertyFlag.timestamp }
        if p.type != nil { flags |= PropertyFlag.type }
        if p.userID != nil { flags |= PropertyFlag.userID }
        if p.appID != nil { flags |= PropertyFlag.appID }
        buffer.append(flags)
        try optional(p.contentType, "the content type", into: buffer)
        try optional(p.contentEncoding, "the content encoding", into: buffer)
        if !p.headers.isEmpty { try table(p.headers, depth: 1, into: buffer) }
        buffer.append(UInt8(p.persistent ? 2 : 1))
        if let priority = p.priority { buffer.append(priority) }
        try optional(p.correlationID, "the correlation id", into: buffer)
        try optional(p.replyTo, "reply-to", into: buffer)
        if let expiration = p.expiration {
            // The broker closes the whole channel over a bad one, and takes everybody's messages along.
            guard !expiration.isEmpty, expiration.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
                throw EncodingFailure("the expiration must be milliseconds in decimal digits")
            }
            try shortString(expiration, "the expiration", into: buffer)
        }
        try optional(p.messageID, "the message id", into: buffer)
        if let timestamp = p.timestamp { buffer.append(timestamp) }
        try optional(p.type, "the type", into: buffer)
        try optional(p.userID, "the user id", into: buffer)
        try optional(p.appID, "the app id", into: buffer)
    }

    private static func optional(
        _ text: String?, _ what: StaticString, into buffer: WireBuffer
    ) throws(EncodingFailure) {
        if let text { try shortString(text, what, into: buffer) }
    }

    package static func shortString(
        _ text: String, _ what: StaticString, into buffer: WireBuffer
    ) throws(EncodingFailure) {
        let count = text.utf8.count
        guard count <= maxShortStringBytes else {
            throw EncodingFailure("\(what) is \(count) bytes long and may be at most \(maxShortStringBytes)")
        }
        buffer.append(UInt8(count))
        appendText(text, into: buffer)
    }

    package static func longString(_ text: String, into buffer: WireBuffer) {
        buffer.append(UInt32(text.utf8.count))
        appendText(text, into: buffer)
    }

    private static func appendText(_ text: String, into buffer: WireBuffer) {
        let done: Void? = text.utf8.withContiguousStorageIfAvailable { buffer.append(UnsafeRawBufferPointer($0)) }
        if done == nil { buffer.append(Array(text.utf8)) }
    }

    package static func table(
        _ entries: [String: AMQPValue], depth: Int, into buffer: WireBuffer
    ) throws(EncodingFailure) {
        guard depth <= maxNesting else { throw EncodingFailure("a table nests deeper than \(maxNesting) levels") }
        let mark = buffer.count
        buffer.append(UInt32(0))
        for (name, value) in entries {
            try shortString(name, "a header's name", into: buffer)
            try self.value(value, depth: depth, into: buffer)
        }
        buffer.patch(UInt32(buffer.count - mark - 4), at: mark)
    }

    private static func value(_ value: AMQPValue, depth: Int, into buffer: WireBuffer) throws(EncodingFailure) {
        switch value {
        case .null: buffer.append(UInt8(ascii: "V"))
        case .bool(let flag):
            buffer.append(UInt8(ascii: "t"))
            buffer.append(UInt8(flag ? 1 : 0))
        case .int(let number):
            buffer.append(UInt8(ascii: "l"))
            buffer.append(UInt64(bitPattern: number))
        case .double(let number):
            buffer.append(UInt8(ascii: "d"))
            buffer.append(number.bitPattern)
        case .string(let text):
            buffer.append(UInt8(ascii: "S"))
            longString(text, into: buffer)
        case .bytes(let bytes):
            buffer.append(UInt8(ascii: "x"))
            buffer.append(UInt32(bytes.count))
            buffer.append(bytes)
        case .timestamp(let seconds):
            buffer.append(UInt8(ascii: "T"))
            buffer.append(seconds)
        case .array(let values):
            guard depth < maxNesting else { throw EncodingFailure("an array nests deeper than \(maxNesting) levels") }
            buffer.append(UInt8(ascii: "A"))
            let mark = buffer.count
            buffer.append(UInt32(0))
            for value in values { try self.value(value, depth: depth + 1, into: buffer) }
            buffer.patch(UInt32(buffer.count - mark - 4), at: mark)
        case .table(let entries):
            buffer.append(UInt8(ascii: "F"))
            try table(entries, depth: depth + 1, into: buffer)
        }
    }
}
