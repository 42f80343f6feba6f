import AMQPClient
import Glibc

/// A broker that answers every call and takes every message, but confirms none: what RabbitMQ looks like while a queue is
/// without leader. Serves connections one after another until it is let go.
final class MuteBroker: Sendable {
    struct Failure: Error {}

    private let listener: Int32
    let port: Int

    init() throws {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(listener, address, length) | listen(listener, 4) | getsockname(listener, address, &length)
            }
        }
        guard status == 0 else { throw Failure() }
        port = Int(UInt16(bigEndian: address.sin_port))
        var thread = pthread_t()
        pthread_create(
            &thread, nil,
            { raw in
                let listener = Int32(Int(bitPattern: raw))
                while true {
                    let descriptor = accept(listener, nil, nil)
                    if descriptor < 0 { return nil }
                    MuteBroker.serve(descriptor)
                    close(descriptor)
                }
            }, UnsafeMutableRawPointer(bitPattern: Int(listener)))
        pthread_detach(thread)
    }

    deinit {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    private static func serve(_ descriptor: Int32) {
        guard read(descriptor, 8) != nil else { return }
        // connection.start: version 0-9, no properties, mechanisms, locales.
        answer(descriptor, 0x000A_000A, 0) { out in
            out.append([0, 9])
            out.append(UInt32(0))
            MethodEncoder.longString("PLAIN", into: out)
            MethodEncoder.longString("en_US", into: out)
        }
        while let head = read(descriptor, FrameKind.headBytes) {
            let size = head[3...6].reduce(0) { $0 << 8 | Int($1) }
            guard let payload = read(descriptor, size + 1) else { return }
            guard head[0] == FrameKind.method else { continue }
            let channel = UInt16(head[1]) << 8 | UInt16(head[2])
            switch payload[..<4].reduce(UInt32(0), { $0 << 8 | UInt32($1) }) {
            case 0x000A_000B:
                answer(descriptor, 0x000A_001E, 0) { out in
                    out.append(UInt16(100))
                    out.append(UInt32(131_072))
                    out.append(UInt16(0))
                }
            case 0x000A_0028: answer(descriptor, 0x000A_0029, 0) { $0.append(UInt8(0)) }
            case MethodID.channelOpen: answer(descriptor, MethodID.channelOpenOk, channel) { $0.append(UInt32(0)) }
            case MethodID.confirmSelect: answer(descriptor, MethodID.confirmSelectOk, channel) { _ in }
            case MethodID.channelClose: answer(descriptor, MethodID.channelCloseOk, channel) { _ in }
            case MethodID.connectionClose:
                answer(descriptor, MethodID.connectionCloseOk, 0) { _ in }
                return
            default: break
            }
        }
    }

    private static func answer(_ descriptor: Int32, _ id: UInt32, _ channel: UInt16, _ arguments: (WireBuffer) -> Void)
    {
        let out = WireBuffer()
        let mark = MethodEncoder.beginFrame(FrameKind.method, channel: channel, in: out)
        out.append(id)
        arguments(out)
        MethodEncoder.endFrame(mark, in: out)
        // Small enough for any socket to take whole.
        _ = send(descriptor, out.unread.baseAddress, out.count, Int32(MSG_NOSIGNAL))
    }

    private static func read(_ descriptor: Int32, _ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        let got = bytes.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, count, Int32(MSG_WAITALL)) }
        return got == count ? bytes : nil
    }
}
