/// What an address is for, after IANA's special-purpose registries.
public enum AddressKind: String, Sendable, CaseIterable {
    /// Where strangers' servers are: globally routed unicast.
    case global
    /// This host itself.
    case loopback
    /// `0.0.0.0/8` and `::`, which Linux connects to loopback.
    case unspecified
    /// A network of one's own (RFC 1918), unique local (RFC 4193) or site-local addresses.
    case `private`
    /// Shared by a provider's customers (RFC 6598), and used inside clouds.
    case shared
    /// The cable it hangs on.
    case linkLocal = "link-local"
    /// Where clouds give their machines' credentials to whoever asks.
    case metadata
    case multicast
    case broadcast
    case documentation
    case benchmark
    /// Tunnels (Teredo), translators of one network (RFC 8215) and embeddings that are deprecated: where it leads depends on
    /// somebody's router.
    case transition
    /// Anything else that is not routed.
    case reserved
}

extension IPAddress {
    /// What this address is for. One that carries an IPv4 address (mapped, NAT64, 6to4, ISATAP) is what it carries, since
    /// there its packets arrive.
    public var kind: AddressKind {
        if let (_, kind) = Self.special.first(where: { $0.block.contains(self) }) { return kind }
        guard isIPv6 else { return .global }
        if let carriedIPv4 {
            return carriedIPv4.kind
        }
        return AddressBlock.globalUnicast.contains(self) ? .global : .reserved
    }

    private var carriedIPv4: IPAddress? {
        if AddressBlock.mapped.contains(self) || AddressBlock.nat64.contains(self) { return carried(at: 12) }
        if AddressBlock.sixToFour.contains(self) { return carried(at: 2) }
        // ISATAP (RFC 5214): an interface's number that begins with 0000:5efe, or 0200:5efe where the address is unique.
        if [0x00, 0x02].contains(bytes[8]), bytes[9..<12].elementsEqual([0x00, 0x5e, 0xfe]) { return carried(at: 12) }
        return nil
    }

    /// In order: the first that contains an address says what it is.
    private static let special: [(block: AddressBlock, kind: AddressKind)] = [
        // Amazon, Google, Microsoft and most others; Alibaba; Oracle.
        (v4(169, 254, 169, 254, 32), .metadata), (v4(100, 100, 100, 200, 32), .metadata),
        (v4(192, 0, 0, 192, 32), .metadata), (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128), .metadata),

        (v4(0, 0, 0, 0, 8), .unspecified),
        (v4(10, 0, 0, 0, 8), .private),
        (v4(100, 64, 0, 0, 10), .shared),
        (v4(127, 0, 0, 0, 8), .loopback),
        (v4(169, 254, 0, 0, 16), .linkLocal),
        (v4(172, 16, 0, 0, 12), .private),
        (v4(192, 0, 0, 0, 24), .reserved),  // protocol assignments
        (v4(192, 0, 2, 0, 24), .documentation),
        (v4(192, 88, 99, 0, 24), .transition),  // 6to4 relays
        (v4(192, 168, 0, 0, 16), .private),
        (v4(198, 18, 0, 0, 15), .benchmark),
        (v4(198, 51, 100, 0, 24), .documentation),
        (v4(203, 0, 113, 0, 24), .documentation),
        (v4(224, 0, 0, 0, 4), .multicast),
        (v4(255, 255, 255, 255, 32), .broadcast),
        (v4(240, 0, 0, 0, 4), .reserved),

        (v6([], 128), .unspecified),
        (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), .loopback),
        (v6([], 96), .transition),  // IPv4-compatible, deprecated
        (v6([0x64, 0xff9b, 1], 48), .transition),  // a translator of one network
        (v6([0x100], 64), .reserved),  // discarded
        (v6([0x2001], 32), .transition),  // Teredo
        (v6([0x2001, 2], 48), .benchmark),
        (v6([0x2001, 0xdb8], 32), .documentation),
        (v6([0x2001], 23), .reserved),  // protocol assignments
        (v6([0x3fff], 20), .documentation),
        (v6([0xfc00], 7), .private),
        (v6([0xfe80], 10), .linkLocal),
        (v6([0xfec0], 10), .private),  // site-local, deprecated
        (v6([0xff00], 8), .multicast),
    ]

    fileprivate static func v4(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8, _ prefix: Int) -> AddressBlock {
        block([a, b, c, d], prefix)
    }

    /// - Parameter groups: the first of eight; the others are 0.
    fileprivate static func v6(_ groups: [UInt16], _ prefix: Int) -> AddressBlock {
        let padded = groups + Array(repeating: 0, count: 8 - groups.count)
        return block(padded.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff)] }, prefix)
    }

    private static func block(_ bytes: [UInt8], _ prefix: Int) -> AddressBlock {
        guard let base = IPAddress(bytes: bytes) else { preconditionFailure("the tables here have 4 or 16 bytes") }
        return AddressBlock(base, prefix)
    }
}

extension AddressBlock {
    static let mapped = IPAddress.v6([0, 0, 0, 0, 0, 0xffff], 96)
    static let nat64 = IPAddress.v6([0x64, 0xff9b], 96)
    static let sixToFour = IPAddress.v6([0x2002], 16)
    static let globalUnicast = IPAddress.v6([0x2000], 3)
}
