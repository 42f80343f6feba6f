import AMQPClient
import SystemThreads
import TestSockets

/// A broker that answers every call and takes every message, but confirms none: what RabbitMQ looks like while a queue is
/// without leader. Serves connections one after another until it is let go.
final class MuteBroker: Sendable {
    private let listener: LoopbackSocket
    var port: Int { Int(listener.port) }

    init() throws {
        let listener = try LoopbackSocket.listening()
        self.listener = listener
        try SystemThread.start("mute-broker") {
            // The thread ends with the listener, and a connection with the client's end.
            while let connection = try? listener.accept() { try? Self.serve(connection) }
        }
    }

    deinit { listener.shutdown() }

    private static func serve(_ connection: LoopbackSocket) throws {
        _ = try connection.receive(exactly: 8)
        // connection.start: version 0-9, no properties, mechanisms, locales.
        try answer(connection, 0x000A_000A, 0) { out in
            out.append([0, 9])
            out.append(UInt32(0))
            MethodEncoder.longString("PLAIN", into: out)
            MethodEncoder.longString("en_US", into: out)
        }
        while true {
            let head = try connection.receive(exactly: FrameKind.headBytes)
            let size = head[3...6].reduce(0) { $0 << 8 | Int($1) }
            let payload = try connection.receive(exactly: size + 1)
            guard head[0] == FrameKind.method else { continue }
            let channel = UInt16(head[1]) << 8 | UInt16(head[2])
            switch payload[..<4].reduce(UInt32(0), { $0 << 8 | UInt32($1) }) {
            case 0x000A_000B:
                try answer(connection, 0x000A_001E, 0) { out in
                    out.append(UInt16(100))
                    out.append(UInt32(131_072))
                    out.append(UInt16(0))
                }
            case 0x000A_0028: try answer(connection, 0x000A_0029, 0) { $0.append(UInt8(0)) }
            case MethodID.channelOpen: try answer(connection, MethodID.channelOpenOk, channel) { $0.append(UInt32(0)) }
            case MethodID.confirmSelect: try answer(connection, MethodID.confirmSelectOk, channel) { _ in }
            case MethodID.channelClose: try answer(connection, MethodID.channelCloseOk, channel) { _ in }
            case MethodID.connectionClose:
                try answer(connection, MethodID.connectionCloseOk, 0) { _ in }
                return
            default: break
            }
        }
    }

    private static func answer(
        _ connection: LoopbackSocket, _ id: UInt32, _ channel: UInt16, _ arguments: (WireBuffer) -> Void
    ) throws {
        let out = WireBuffer()
        let mark = MethodEncoder.beginFrame(FrameKind.method, channel: channel, in: out)
        out.append(id)
        arguments(out)
        MethodEncoder.endFrame(mark, in: out)
        try connection.send(Array(out.unread))
    }
}
