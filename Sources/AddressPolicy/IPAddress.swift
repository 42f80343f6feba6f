internal import Glibc

/// An address of IPv4 or IPv6, without a port.
public struct IPAddress: Sendable, Hashable, CustomStringConvertible {
    /// Four or sixteen, as on the wire.
    public let bytes: [UInt8]

    /// - Parameter bytes: 4 or 16 of them.
    public init?(bytes: [UInt8]) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = bytes
    }

    /// Reads the usual text form, such as `192.0.2.1` or `2001:db8::1`. The short, octal and hexadecimal forms that some
    /// parsers take (`127.1`, `0177.0.0.1`) are none, nor is a name or a zone (`fe80::1%eth0`).
    public init?(_ text: String) {
        // A NUL would end the string for C and not for Swift.
        guard !text.utf8.contains(0) else { return nil }
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, text, &bytes) == 1 {
            self.bytes = Array(bytes[..<4])
        } else if inet_pton(AF_INET6, text, &bytes) == 1 {
            self.bytes = bytes
        } else {
            return nil
        }
    }

    public var isIPv6: Bool { bytes.count == 16 }

    public var description: String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let written = bytes.withUnsafeBytes {
            inet_ntop(isIPv6 ? AF_INET6 : AF_INET, $0.baseAddress, &text, socklen_t(text.count))
        }
        precondition(written != nil, "an address of 4 or 16 bytes always has a text form")
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The IPv4 address of a mapped one (`::ffff:192.0.2.1`): the kernel speaks IPv4 with it, so both are one place.
    var unmapped: IPAddress {
        guard isIPv6, AddressBlock.mapped.contains(self) else { return self }
        return carried(at: 12)
    }

    /// Four of the bytes as an IPv4 address.
    func carried(at offset: Int) -> IPAddress {
        IPAddress(unchecked: Array(bytes[offset..<(offset + 4)]))
    }

    private init(unchecked bytes: [UInt8]) { self.bytes = bytes }
}
