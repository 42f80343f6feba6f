import Glibc

/// What a client of SOCKS 5 (RFC 1928) says before its connection is made, read as it comes. Of the protocol there is what
/// browsers use: no password, CONNECT.
struct SocksHandshake {
    enum Step: Equatable {
        /// More bytes are needed.
        case wait
        /// Send this and go on.
        case answer([UInt8])
        case connect(host: String, port: UInt16)
        /// Send this and close: it speaks something else.
        case refuse([UInt8])
    }

    /// How a request is answered.
    enum Reply: UInt8 {
        case succeeded = 0
        case failed = 1
        case notAllowed = 2
        case hostUnreachable = 4
        case connectionRefused = 5
        case timeout = 6
        case commandUnknown = 7
        case addressUnknown = 8

        /// The address in it is of no use to anybody and always 0.
        var bytes: [UInt8] { [5, rawValue, 0, 1, 0, 0, 0, 0, 0, 0] }
    }

    /// Longer than any greeting (257) and request (262) together; a client that sends more before it is answered is none.
    static let bytesMax = 1_024

    private var bytes: [UInt8] = []
    private var isGreeted = false

    /// What came behind the request, meant for the other end.
    var rest: [UInt8] { bytes }

    mutating func take(_ more: some Sequence<UInt8>) -> Step {
        bytes += more
        let step = isGreeted ? request() : greeting()
        if step == .wait, bytes.count > Self.bytesMax { return .refuse([]) }
        return step
    }

    /// Version, number of methods, methods.
    private mutating func greeting() -> Step {
        guard let version = bytes.first else { return .wait }
        guard version == 5 else { return .refuse([]) }
        guard bytes.count >= 2, bytes.count >= 2 + Int(bytes[1]) else { return .wait }
        let methods = bytes[2..<(2 + Int(bytes[1]))]
        guard methods.contains(0) else { return .refuse([5, 0xff]) }
        bytes.removeFirst(2 + methods.count)
        isGreeted = true
        return .answer([5, 0])
    }

    /// Version, command, 0, kind of address, address, port.
    private mutating func request() -> Step {
        guard bytes.count >= 5 else { return .wait }
        guard bytes[0] == 5 else { return .refuse(Reply.failed.bytes) }
        guard bytes[1] == 1 else { return .refuse(Reply.commandUnknown.bytes) }
        let (start, count): (Int, Int)
        switch bytes[3] {
        case 1: (start, count) = (4, 4)
        case 3: (start, count) = (5, Int(bytes[4]))
        case 4: (start, count) = (4, 16)
        default: return .refuse(Reply.addressUnknown.bytes)
        }
        guard bytes.count >= start + count + 2 else { return .wait }
        let address = Array(bytes[start..<(start + count)])
        let port = UInt16(bytes[start + count]) << 8 | UInt16(bytes[start + count + 1])
        guard let host = bytes[3] == 3 ? Self.name(address) : Self.text(address), port > 0 else {
            return .refuse(Reply.addressUnknown.bytes)
        }
        bytes.removeFirst(start + count + 2)
        return .connect(host: host, port: port)
    }

    /// A name, or an address written as one. Nothing that C would read otherwise than we do.
    private static func name(_ bytes: [UInt8]) -> String? {
        guard (1...253).contains(bytes.count), bytes.allSatisfy({ (0x21...0x7e).contains($0) }) else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        return text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : text
    }

    private static func text(_ address: [UInt8]) -> String? {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let family = address.count == 4 ? AF_INET : AF_INET6
        guard inet_ntop(family, address, &text, socklen_t(text.count)) != nil else { return nil }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
