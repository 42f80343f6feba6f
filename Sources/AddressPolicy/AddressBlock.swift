/// A range of addresses in CIDR notation, such as `10.0.0.0/8` or `fd00::/8`; a lone address is a range of one.
public struct AddressBlock: Sendable, Hashable, CustomStringConvertible {
    public let base: IPAddress
    /// How many leading bits all of its addresses share.
    public let prefix: Int

    /// - Throws: what is wrong with the text. Bits behind the prefix count as wrong: `10.1.0.0/8` may mean `10.1.0.0/16`.
    public init(_ text: String) throws(InvalidAddress) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let base = IPAddress(String(parts[0])) else {
            throw InvalidAddress("'\(text.prefix(80))' is no address; write it as 10.0.0.0/8 or fd00::/8")
        }
        let bits = base.bytes.count * 8
        guard parts.count > 1 else {
            self.init(base, bits)
            return
        }
        guard parts[1].utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let prefix = Int(parts[1]), prefix <= bits else {
            throw InvalidAddress("'\(text.prefix(80))' has a prefix that is no number from 0 to \(bits)")
        }
        self.init(base, prefix)
        let masked = base.bytes.enumerated().map { index, byte in byte & mask(index) }
        guard masked == base.bytes else {
            throw InvalidAddress("'\(text.prefix(80))' has bits set behind its prefix; clear them or lengthen it")
        }
    }

    init(_ base: IPAddress, _ prefix: Int) {
        self.base = base
        self.prefix = prefix
    }

    public var description: String { "\(base)/\(prefix)" }

    public func contains(_ address: IPAddress) -> Bool {
        guard address.bytes.count == base.bytes.count else { return false }
        return base.bytes.indices.allSatisfy { (address.bytes[$0] ^ base.bytes[$0]) & mask($0) == 0 }
    }

    /// The bits of one byte that the prefix covers.
    private func mask(_ index: Int) -> UInt8 {
        let covered = prefix - index * 8
        return covered >= 8 ? 0xff : covered <= 0 ? 0 : UInt8(truncatingIfNeeded: 0xff << (8 - covered))
    }
}

/// An entry of an allow-list that cannot be read.
public struct InvalidAddress: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String
    init(_ description: String) { self.description = description }
}
