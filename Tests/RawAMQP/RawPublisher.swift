import AMQPClient
import TestSockets

/// Publishes frames byte by byte, as a broken or hostile client may: one connection, one channel, with confirms.
public struct RawPublisher: Sendable {
    private let amqp: AMQPConfiguration

    public init(_ amqp: AMQPConfiguration) { self.amqp = amqp }

    /// Publishes one message and returns when the broker has confirmed it.
    ///
    /// - Parameters:
    ///   - properties: the content header from the property flags on.
    ///   - body: at most what fits in one frame.
    public func publish(exchange: String, routingKey: String, properties: [UInt8], body: [UInt8]) async throws {
        try await onThread {
            let endpoint = amqp.endpoints[0]
            let wire = RawConnection(socket: try .connected(to: UInt16(endpoint.port), at: endpoint.host))
            try wire.socket.send(Array("AMQP".utf8) + [0, 0, 9, 1])
            try wire.await(10, 10)
            let response = Wire.long("\0\(amqp.user)\0\(amqp.password)")
            try wire.method(0, 10, 11, Wire.int32(0) + Wire.short("PLAIN") + response + Wire.short("en_US"))
            try wire.await(10, 30)
            try wire.method(0, 10, 31, Wire.int16(16) + Wire.int32(131_072) + Wire.int16(0))
            try wire.method(0, 10, 40, Wire.short(amqp.virtualHost) + Wire.short("") + [0])
            try wire.await(10, 41)
            try wire.method(1, 20, 10, Wire.short(""))
            try wire.await(20, 11)
            try wire.method(1, 85, 10, [0])
            try wire.await(85, 11)
            try wire.method(1, 60, 40, Wire.int16(0) + Wire.short(exchange) + Wire.short(routingKey) + [0])
            let size = Wire.int32(0) + Wire.int32(UInt32(body.count))
            try wire.frame(2, 1, Wire.int16(60) + Wire.int16(0) + size + properties)
            try wire.frame(3, 1, body)
            try wire.await(60, 80)
            try wire.method(0, 10, 50, Wire.int16(200) + Wire.short("") + Wire.int16(0) + Wire.int16(0))
            try wire.await(10, 51)
        }
    }
}

/// The encoding of AMQP 0-9-1.
public enum Wire {
    public static func int16(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xFF)] }

    public static func int32(_ value: UInt32) -> [UInt8] { int16(UInt16(value >> 16)) + int16(UInt16(value & 0xFFFF)) }

    public static func short(_ bytes: [UInt8]) -> [UInt8] { [UInt8(bytes.count)] + bytes }

    public static func short(_ text: String) -> [UInt8] { short(Array(text.utf8)) }

    public static func long(_ text: String) -> [UInt8] { int32(UInt32(text.utf8.count)) + Array(text.utf8) }

    /// The properties that a job needs.
    ///
    /// - Parameter headers: the encoded table with its length, when there is to be one.
    public static func properties(
        type: [UInt8], messageID: [UInt8], headers: [UInt8]? = nil
    ) -> [UInt8] {
        // Bits from the highest: content type, encoding, headers, mode, priority, correlation, reply-to, expiration,
        // message id, timestamp, type.
        let flags: UInt16 = 1 << 7 | 1 << 5 | (headers == nil ? 0 : 1 << 13)
        return int16(flags) + (headers ?? []) + short(messageID) + short(type)
    }

    /// A table that holds a table that holds a table …
    public static func nestedTable(levels: Int) -> [UInt8] {
        // Each level is a name, a kind and a length: written from the outside in, since the lengths are known.
        var bytes: [UInt8] = []
        let level = 1 + 1 + 1 + 4
        for depth in 0..<levels {
            bytes += int32(UInt32((levels - depth - 1) * level))
            if depth < levels - 1 { bytes += short("n") + [UInt8(ascii: "F")] }
        }
        return bytes
    }
}

private struct RawConnection {
    let socket: LoopbackSocket

    func frame(_ kind: UInt8, _ channel: UInt16, _ payload: [UInt8]) throws {
        try socket.send([kind] + Wire.int16(channel) + Wire.int32(UInt32(payload.count)) + payload + [0xCE])
    }

    func method(_ channel: UInt16, _ group: UInt16, _ number: UInt16, _ arguments: [UInt8]) throws {
        try frame(1, channel, Wire.int16(group) + Wire.int16(number) + arguments)
    }

    /// Reads frames until the given method; any other method but heartbeats is an error.
    func await(_ group: UInt16, _ number: UInt16) throws {
        while true {
            let head = try socket.receive(exactly: 7)
            let size = head[3...6].reduce(0) { $0 << 8 | Int($1) }
            let payload = try socket.receive(exactly: size + 1)
            guard head[0] == 1 else { continue }
            if Array(payload[0..<4]) == Wire.int16(group) + Wire.int16(number) { return }
            throw UnexpectedMethod(
                description: "not \(group).\(number) but \(String(decoding: payload.dropFirst(4), as: UTF8.self))")
        }
    }
}

private struct UnexpectedMethod: Error, CustomStringConvertible { let description: String }
