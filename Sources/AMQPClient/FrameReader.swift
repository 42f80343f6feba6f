import CRabbitMQ
import Glibc

/// Turns librabbitmq's decoded frames into ``InboundFrame``s. Copies whatever must outlive the frame.
struct FrameReader {
    /// Headers nested deeper are dropped: nobody means them, and Swift would have to recurse to free them.
    static let maxHeaderDepth = 8

    private var texts = TextCache()

    mutating func read(_ frame: borrowing amqp_frame_t) throws(AMQPError) -> InboundFrame {
        switch frame.frame_type {
        case FrameKind.method: return try method(frame.payload.method)
        case FrameKind.header:
            guard let decoded = frame.payload.properties.decoded,
                frame.payload.properties.class_id == MethodEncoder.contentClass
            else { throw AMQPError(.protocolViolation, "The broker sent a content header of an unknown class.") }
            return .header(
                header(
                    decoded.assumingMemoryBound(to: amqp_basic_properties_t.self).pointee,
                    bodyBytes: frame.payload.properties.body_size))
        case FrameKind.body: return .body(frame.payload.body_fragment.raw)
        default: return .other(0)
        }
    }

    private mutating func method(_ method: amqp_method_t) throws(AMQPError) -> InboundFrame {
        guard let decoded = method.decoded else { return .other(method.id) }
        func body<Body>(_ type: Body.Type) -> UnsafeMutablePointer<Body> { decoded.assumingMemoryBound(to: type) }
        switch method.id {
        case MethodID.basicDeliver:
            let deliver = body(amqp_basic_deliver_t.self)
            return .content(
                ContentStart(
                    origin: .delivery(tag: deliver.pointee.delivery_tag, redelivered: deliver.pointee.redelivered != 0),
                    exchange: texts.text(deliver.pointee.exchange), routingKey: texts.text(deliver.pointee.routing_key))
            )
        case MethodID.basicGetOk:
            let got = body(amqp_basic_get_ok_t.self).pointee
            return .content(
                ContentStart(
                    origin: .got(tag: got.delivery_tag, redelivered: got.redelivered != 0),
                    exchange: texts.text(got.exchange), routingKey: texts.text(got.routing_key)))
        case MethodID.basicReturn:
            let returned = body(amqp_basic_return_t.self).pointee
            return .content(
                ContentStart(
                    origin: .returned(code: Int(returned.reply_code), reason: returned.reply_text.repairedText),
                    exchange: texts.text(returned.exchange), routingKey: texts.text(returned.routing_key)))
        case MethodID.basicAck:
            let ack = body(amqp_basic_ack_t.self).pointee
            return .confirm(tag: ack.delivery_tag, multiple: ack.multiple != 0, positive: true)
        case MethodID.basicNack:
            let nack = body(amqp_basic_nack_t.self).pointee
            return .confirm(tag: nack.delivery_tag, multiple: nack.multiple != 0, positive: false)
        case MethodID.basicCancel:
            return .cancelledByBroker(consumerTag: body(amqp_basic_cancel_t.self).pointee.consumer_tag.repairedText)
        case MethodID.basicCancelOk: return .cancelOk
        case MethodID.channelClose: return .channelClose(Self.closure(body(amqp_channel_close_t.self).pointee))
        case MethodID.connectionClose:
            let close = body(amqp_connection_close_t.self).pointee
            return .connectionClose(code: Int(close.reply_code), reason: close.reply_text.repairedText)
        case MethodID.connectionBlocked:
            return .blocked(reason: body(amqp_connection_blocked_t.self).pointee.reason.repairedText)
        case MethodID.connectionUnblocked: return .unblocked
        default: return .other(method.id)
        }
    }

    static func closure(_ close: amqp_channel_close_t) -> ChannelClosure {
        ChannelClosure(
            code: Int(close.reply_code), reason: close.reply_text.repairedText,
            method: UInt32(close.class_id) << 16 | UInt32(close.method_id))
    }

    private mutating func header(_ raw: amqp_basic_properties_t, bodyBytes: UInt64) -> ContentHeader {
        let flags = UInt16(truncatingIfNeeded: raw._flags)
        func has(_ flag: UInt16) -> Bool { flags & flag != 0 }
        var flaws: AMQPDeliveryFlaws = []
        var properties = AMQPProperties(persistent: has(PropertyFlag.deliveryMode) && raw.delivery_mode == 2)
        if has(PropertyFlag.contentType) { properties.contentType = texts.text(raw.content_type, &flaws) }
        if has(PropertyFlag.contentEncoding) { properties.contentEncoding = texts.text(raw.content_encoding, &flaws) }
        if has(PropertyFlag.headers), raw.headers.num_entries > 0 {
            properties.headers = table(raw.headers, depth: 1, &flaws)
        }
        if has(PropertyFlag.priority) { properties.priority = raw.priority }
        if has(PropertyFlag.correlationID) { properties.correlationID = raw.correlation_id.text(&flaws) }
        if has(PropertyFlag.replyTo) { properties.replyTo = texts.text(raw.reply_to, &flaws) }
        if has(PropertyFlag.expiration) { properties.expiration = raw.expiration.text(&flaws) }
        if has(PropertyFlag.messageID) { properties.messageID = raw.message_id.text(&flaws) }
        if has(PropertyFlag.timestamp) { properties.timestamp = raw.timestamp }
        if has(PropertyFlag.type) { properties.type = texts.text(raw.type, &flaws) }
        if has(PropertyFlag.userID) { properties.userID = texts.text(raw.user_id, &flaws) }
        if has(PropertyFlag.appID) { properties.appID = texts.text(raw.app_id, &flaws) }
        return ContentHeader(bodyBytes: bodyBytes, properties: properties, flaws: flaws)
    }

    private mutating func table(
        _ raw: amqp_table_t, depth: Int, _ flaws: inout AMQPDeliveryFlaws
    ) -> [String: AMQPValue] {
        guard let entries = raw.entries, raw.num_entries > 0 else { return [:] }
        var table = [String: AMQPValue](minimumCapacity: Int(raw.num_entries))
        for entry in UnsafeBufferPointer(start: entries, count: Int(raw.num_entries)) {
            guard let value = value(entry.value, depth: depth, &flaws) else { continue }
            table[texts.text(entry.key, &flaws)] = value
        }
        return table
    }

    /// - Returns: nil when it nests too deep.
    private mutating func value(
        _ raw: amqp_field_value_t, depth: Int, _ flaws: inout AMQPDeliveryFlaws
    ) -> AMQPValue? {
        let value = raw.value
        switch raw.kind {
        case UInt8(ascii: "t"): return .bool(value.boolean != 0)
        case UInt8(ascii: "b"): return .int(Int64(value.i8))
        case UInt8(ascii: "B"): return .int(Int64(value.u8))
        case UInt8(ascii: "s"): return .int(Int64(value.i16))
        case UInt8(ascii: "u"): return .int(Int64(value.u16))
        case UInt8(ascii: "I"): return .int(Int64(value.i32))
        case UInt8(ascii: "i"): return .int(Int64(value.u32))
        case UInt8(ascii: "l"): return .int(value.i64)
        case UInt8(ascii: "L"): return .int(Int64(clamping: value.u64))
        case UInt8(ascii: "f"): return .double(Double(value.f32))
        case UInt8(ascii: "d"): return .double(value.f64)
        case UInt8(ascii: "D"):
            return .double(Double(value.decimal.value) / pow(10, Double(value.decimal.decimals)))
        case UInt8(ascii: "S"):
            let bytes = UnsafeBufferPointer(rebasing: value.bytes.buffer[...])
            return String(validating: bytes, as: UTF8.self).map(AMQPValue.string) ?? .bytes(Array(bytes))
        case UInt8(ascii: "x"): return .bytes(Array(value.bytes.raw))
        case UInt8(ascii: "T"): return .timestamp(value.u64)
        case UInt8(ascii: "A"):
            guard depth < Self.maxHeaderDepth else { return tooDeep(&flaws) }
            guard let entries = value.array.entries, value.array.num_entries > 0 else { return .array([]) }
            var values: [AMQPValue] = []
            for entry in UnsafeBufferPointer(start: entries, count: Int(value.array.num_entries)) {
                if let value = self.value(entry, depth: depth + 1, &flaws) { values.append(value) }
            }
            return .array(values)
        case UInt8(ascii: "F"):
            guard depth < Self.maxHeaderDepth else { return tooDeep(&flaws) }
            return .table(table(value.table, depth: depth + 1, &flaws))
        default: return .null
        }
    }

    private func tooDeep(_ flaws: inout AMQPDeliveryFlaws) -> AMQPValue? {
        flaws.insert(.headersTooDeep)
        return nil
    }
}

/// Texts that come again and again (exchanges, keys, types, header names), so that each is allocated once.
///
/// A small table in which a newcomer replaces whoever sits in its place: it cannot grow.
private struct TextCache {
    private static let places = 256
    /// Longer texts are seldom the same twice.
    private static let maxBytes = 64

    private var texts = [String](repeating: "", count: Self.places)

    mutating func text(_ bytes: amqp_bytes_t) -> String {
        var ignored: AMQPDeliveryFlaws = []
        return text(bytes, &ignored)
    }

    mutating func text(_ bytes: amqp_bytes_t, _ flaws: inout AMQPDeliveryFlaws) -> String {
        // Up to 15 bytes fit into a String itself, so there is nothing to save.
        guard bytes.len > 15, bytes.len <= Self.maxBytes else { return bytes.text(&flaws) }
        let buffer = bytes.buffer
        var hash = UInt32(truncatingIfNeeded: buffer.count)
        for byte in buffer { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        let place = Int(hash >> 16 ^ hash) & (Self.places - 1)
        let isKnown =
            texts[place].utf8.withContiguousStorageIfAvailable { known in
                known.elementsEqual(buffer)
            } ?? false
        if isKnown { return texts[place] }
        let text = bytes.text(&flaws)
        // A repaired text has other bytes and could never be found again.
        if text.utf8.count == buffer.count { texts[place] = text }
        return text
    }
}

extension amqp_bytes_t {
    var raw: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: bytes, count: bytes == nil ? 0 : len) }

    var buffer: UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(start: bytes?.assumingMemoryBound(to: UInt8.self), count: bytes == nil ? 0 : len)
    }

    /// The text, with what is not UTF-8 replaced and flagged.
    func text(_ flaws: inout AMQPDeliveryFlaws) -> String {
        if let valid = String(validating: buffer, as: UTF8.self) { return valid }
        flaws.insert(.invalidUTF8)
        return repairedText
    }

    var repairedText: String { String(decoding: buffer, as: UTF8.self) }
}
