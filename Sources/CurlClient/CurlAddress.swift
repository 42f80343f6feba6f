internal import Glibc

/// A resolved address, as the guard of ``CurlMulti`` sees it just before a socket is opened to it.
public struct CurlAddress: Sendable, Hashable, CustomStringConvertible {
    /// Four bytes for IPv4, sixteen for IPv6, as on the wire.
    public let bytes: [UInt8]
    public let port: UInt16

    /// - Parameter bytes: 4 or 16 of them.
    public init?(bytes: [UInt8], port: UInt16) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = bytes
        self.port = port
    }

    /// - Parameter host: an address in its usual text form, such as `192.0.2.1` or `2001:db8::1`; the short, octal and
    ///   hexadecimal forms that some parsers take are none.
    public init?(host: String, port: UInt16) {
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, host, &bytes) == 1 {
            self.init(bytes: Array(bytes[..<4]), port: port)
        } else if inet_pton(AF_INET6, host, &bytes) == 1 {
            self.init(bytes: bytes, port: port)
        } else {
            return nil
        }
    }

    public var isIPv6: Bool { bytes.count == 16 }

    /// `192.0.2.1:443` or `[2001:db8::1]:443`.
    public var description: String { isIPv6 ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// The address alone, in its usual text form.
    public var host: String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let written = bytes.withUnsafeBytes {
            inet_ntop(isIPv6 ? AF_INET6 : AF_INET, $0.baseAddress, &text, socklen_t(text.count))
        }
        precondition(written != nil, "an address of 4 or 16 bytes always has a text form")
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// `127.0.0.0/8`, `::1`, and the first of these carried in an IPv6 address.
    public var isLoopback: Bool { (carriedIPv4 ?? self).isIn(.loopback) || isIn(.loopback6) }

    /// Whether a stranger's server may be there: globally routed unicast. Loopback, private, link-local (so cloud metadata
    /// too), shared, documentation, multicast and reserved ranges are not, nor is an IPv6 address that carries such an IPv4 one.
    ///
    /// `CurlMulti(resolveGuard: { $0.isPublic })` is the guard for URLs that strangers choose.
    public var isPublic: Bool {
        if let carried = carriedIPv4 { return carried.isPublic }
        return !Network.notPublic.contains { isIn($0) } && (!isIPv6 || isIn(.globalUnicast))
    }

    /// The IPv4 address inside a mapped, NAT64 or 6to4 one: what the packets would reach in the end.
    private var carriedIPv4: CurlAddress? {
        guard isIPv6 else { return nil }
        if isIn(.mapped) || isIn(.nat64) { return CurlAddress(bytes: Array(bytes[12...]), port: port) }
        if isIn(.sixToFour) { return CurlAddress(bytes: Array(bytes[2..<6]), port: port) }
        return nil
    }

    private func isIn(_ network: Network) -> Bool {
        guard bytes.count == network.bytes.count else { return false }
        var left = network.prefix
        for (mine, theirs) in zip(bytes, network.bytes) where left > 0 {
            let mask = left >= 8 ? UInt8.max : UInt8.max << UInt8(8 - left)
            if mine & mask != theirs & mask { return false }
            left -= 8
        }
        return true
    }
}

/// A range of addresses: the bits of `bytes` up to `prefix`.
private struct Network {
    let bytes: [UInt8]
    let prefix: Int

    init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8, _ prefix: Int) {
        bytes = [a, b, c, d]
        self.prefix = prefix
    }

    init(_ groups: [UInt16], _ prefix: Int) {
        let padded = groups + Array(repeating: 0, count: 8 - groups.count)
        bytes = padded.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff)] }
        self.prefix = prefix
    }

    static let loopback = Network(127, 0, 0, 0, 8)
    static let loopback6 = Network([0, 0, 0, 0, 0, 0, 0, 1], 128)
    static let mapped = Network([0, 0, 0, 0, 0, 0xffff], 96)
    static let nat64 = Network([0x64, 0xff9b], 96)
    static let sixToFour = Network([0x2002], 16)
    static let globalUnicast = Network([0x2000], 3)

    /// IANA's special-purpose registries, as of 2024, less what is globally reachable.
    static let notPublic: [Network] = [
        Network(0, 0, 0, 0, 8),  // this network
        Network(10, 0, 0, 0, 8),  // private
        Network(100, 64, 0, 0, 10),  // shared by a provider's customers
        loopback,
        Network(169, 254, 0, 0, 16),  // link-local, cloud metadata
        Network(172, 16, 0, 0, 12),  // private
        Network(192, 0, 0, 0, 24),  // protocol assignments
        Network(192, 0, 2, 0, 24),  // documentation
        Network(192, 88, 99, 0, 24),  // 6to4 relays, deprecated
        Network(192, 168, 0, 0, 16),  // private
        Network(198, 18, 0, 0, 15),  // benchmarks
        Network(198, 51, 100, 0, 24),  // documentation
        Network(203, 0, 113, 0, 24),  // documentation
        Network(224, 0, 0, 0, 4),  // multicast
        Network(240, 0, 0, 0, 4),  // reserved, broadcast
        Network([0x2001], 23),  // protocol assignments, Teredo
        Network([0x2001, 0xdb8], 32),  // documentation
        Network([0x3fff], 20),  // documentation
    ]
}

extension CurlAddress {
    /// `nil` for families other than IPv4 and IPv6, which nothing here speaks.
    init?(_ address: UnsafePointer<sockaddr>) {
        switch Int32(address.pointee.sa_family) {
        case AF_INET:
            self = address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { v4 in
                var raw = v4.pointee.sin_addr
                return CurlAddress(
                    unchecked: withUnsafeBytes(of: &raw, Array.init), port: UInt16(bigEndian: v4.pointee.sin_port))
            }
        case AF_INET6:
            self = address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { v6 in
                var raw = v6.pointee.sin6_addr
                return CurlAddress(
                    unchecked: withUnsafeBytes(of: &raw, Array.init), port: UInt16(bigEndian: v6.pointee.sin6_port))
            }
        default: return nil
        }
    }

    private init(unchecked bytes: [UInt8], port: UInt16) {
        self.bytes = bytes
        self.port = port
    }
}
