import AMQPClient
import Glibc

/// A publisher that writes frames by hand, to send what no decent client would.
final class RawPublisher {
    struct Failure: Error { let what: String }

    private let descriptor: Int32
    private let out = WireBuffer()

    init(_ configuration: AMQPConfiguration) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(configuration.endpoints[0].port).bigEndian)
        address.sin_addr.s_addr = inet_addr(configuration.endpoints[0].host)
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else { throw Failure(what: "connect") }
        out.append(Array("AMQP".utf8) + [0, 0, 9, 1])
        try exchange(expecting: 0x000A_000A)
        try method(0x000A_000B, channel: 0) { out throws(EncodingFailure) in
            try MethodEncoder.table([:], depth: 1, into: out)
            try MethodEncoder.shortString("PLAIN", "mechanism", into: out)
            MethodEncoder.longString("\0\(configuration.user)\0\(configuration.password)", into: out)
            try MethodEncoder.shortString("en_US", "locale", into: out)
        }
        try exchange(expecting: 0x000A_001E)
        try method(0x000A_001F, channel: 0) { out in
            out.append(UInt16(10))
            out.append(UInt32(131_072))
            out.append(UInt16(0))
        }
        try method(0x000A_0028, channel: 0) { out throws(EncodingFailure) in
            try MethodEncoder.shortString(configuration.virtualHost, "virtual host", into: out)
            out.append(UInt16(0))
        }
        try exchange(expecting: 0x000A_0029)
        try method(MethodID.channelOpen, channel: 1) { $0.append(UInt8(0)) }
        try exchange(expecting: MethodID.channelOpenOk)
    }

    deinit { close(descriptor) }

    /// Publishes to a queue with these bytes for flags and property list, and returns when the broker has taken it.
    func publish(queue: String, flags: UInt16, properties: [UInt8], body: [UInt8]) throws {
        try method(MethodID.basicPublish, channel: 1) { out throws(EncodingFailure) in
            out.append(UInt16(0))
            try MethodEncoder.shortString("", "exchange", into: out)
            try MethodEncoder.shortString(queue, "routing key", into: out)
            out.append(UInt8(0))
        }
        let header = MethodEncoder.beginFrame(FrameKind.header, channel: 1, in: out)
        out.append(MethodEncoder.contentClass)
        out.append(UInt16(0))
        out.append(UInt64(body.count))
        out.append(flags)
        out.append(properties)
        MethodEncoder.endFrame(header, in: out)
        let frame = MethodEncoder.beginFrame(FrameKind.body, channel: 1, in: out)
        out.append(body)
        MethodEncoder.endFrame(frame, in: out)
        // Its answer comes after the broker has routed the message.
        try method(MethodID.channelClose, channel: 1) { out in
            out.append(UInt16(200))
            out.append(UInt8(0))
            out.append(UInt32(0))
        }
        try exchange(expecting: MethodID.channelCloseOk)
        try method(MethodID.channelOpen, channel: 1) { $0.append(UInt8(0)) }
        try exchange(expecting: MethodID.channelOpenOk)
    }

    private func method(
        _ id: UInt32, channel: UInt16, _ arguments: (WireBuffer) throws(EncodingFailure) -> Void
    ) throws {
        let mark = MethodEncoder.beginFrame(FrameKind.method, channel: channel, in: out)
        out.append(id)
        try arguments(out)
        MethodEncoder.endFrame(mark, in: out)
    }

    /// Sends what was written and reads frames until this method comes.
    private func exchange(expecting expected: UInt32) throws {
        while !out.isEmpty {
            let sent = send(descriptor, out.unread.baseAddress, out.count, Int32(MSG_NOSIGNAL))
            guard sent > 0 else { throw Failure(what: "send") }
            out.consume(sent)
        }
        while true {
            let head = try read(FrameKind.headBytes)
            let size = head[3...6].reduce(0) { $0 << 8 | Int($1) }
            let payload = try read(size + 1)
            guard head[0] == FrameKind.method else { continue }
            let id = payload[..<4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            if id == expected { return }
            throw Failure(what: "method \(String(id, radix: 16)) instead of \(String(expected, radix: 16))")
        }
    }

    private func read(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var have = 0
        while have < count {
            let got = bytes.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress! + have, count - have, 0) }
            guard got > 0 else { throw Failure(what: "receive") }
            have += got
        }
        return bytes
    }
}
