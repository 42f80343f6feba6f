internal import Glibc

/// An IP address and a port.
public struct Endpoint: Sendable, Hashable, CustomStringConvertible {
    /// Four bytes for IPv4, sixteen for IPv6, as on the wire.
    public let bytes: [UInt8]
    public let port: UInt16

    /// - Parameter bytes: 4 or 16 of them.
    public init?(bytes: [UInt8], port: UInt16) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = bytes
        self.port = port
    }

    /// An address in its usual text form: `192.0.2.1`, `2001:db8::1`. Shortened forms such as `127.1` are none.
    public init?(address: String, port: UInt16) {
        guard !address.utf8.contains(0) else { return nil }
        var raw = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, address, &raw) == 1 {
            bytes = Array(raw[..<4])
        } else if inet_pton(AF_INET6, address, &raw) == 1 {
            bytes = raw
        } else {
            return nil
        }
        self.port = port
    }

    public var isIPv6: Bool { bytes.count == 16 }

    /// The address alone.
    public var address: String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let written = bytes.withUnsafeBytes {
            inet_ntop(isIPv6 ? AF_INET6 : AF_INET, $0.baseAddress, &text, socklen_t(text.count))
        }
        precondition(written != nil, "an address of 4 or 16 bytes always has a text form")
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// `192.0.2.1:443` or `[2001:db8::1]:443`.
    public var description: String { isIPv6 ? "[\(address)]:\(port)" : "\(address):\(port)" }

    func withSocketAddress<Value>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Value) -> Value {
        if isIPv6 {
            var raw = sockaddr_in6()
            raw.sin6_family = sa_family_t(AF_INET6)
            raw.sin6_port = port.bigEndian
            withUnsafeMutableBytes(of: &raw.sin6_addr) { $0.copyBytes(from: bytes) }
            return withUnsafePointer(to: &raw) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
                }
            }
        }
        var raw = sockaddr_in()
        raw.sin_family = sa_family_t(AF_INET)
        raw.sin_port = port.bigEndian
        withUnsafeMutableBytes(of: &raw.sin_addr) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: &raw) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}
