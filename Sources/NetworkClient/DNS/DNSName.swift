/// A domain name, absolute: no search list is ever tried.
///
/// Letters compare without case, as DNS has it; a name is kept in lower case.
public struct DNSName: Hashable, Sendable, CustomStringConvertible {
    /// Each label after its length, and the root's empty label last.
    package let wire: [UInt8]

    /// The longest name, in bytes on the wire.
    public static let bytesMax = 255
    /// The longest label.
    public static let labelBytesMax = 63

    /// - Parameter wire: a valid name on the wire, in any case.
    init(checkedWire wire: [UInt8]) { self.wire = wire.map(Self.lowercased) }

    /// A name as people write it, with or without the last dot. Letters, digits, `-`, `_` and, as in the names of reverse
    /// lookups, `/`.
    public init(_ text: String) throws(NetworkError) {
        let isAllowed: (UInt8) -> Bool = { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "/"):
                true
            default: false
            }
        }
        var wire: [UInt8] = []
        let body = text.hasSuffix(".") ? text.dropLast() : text[...]
        for label in body.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
            guard !label.isEmpty else { throw NetworkError(.badName, "a name has no empty part between dots") }
            guard label.count <= Self.labelBytesMax else {
                throw NetworkError(.badName, "no part of a name is longer than \(Self.labelBytesMax) characters")
            }
            guard label.allSatisfy(isAllowed) else {
                throw NetworkError(
                    .badName,
                    "a name is made of letters a-z, digits, '-' and '_'; write others in their 'xn--' form")
            }
            wire.append(UInt8(label.count))
            wire += label
        }
        wire.append(0)
        guard wire.count <= Self.bytesMax else {
            throw NetworkError(.badName, "a name is not longer than \(Self.bytesMax - 2) characters")
        }
        self.init(checkedWire: wire)
    }

    /// The name under which the name of an address is found: `1.2.0.192.in-addr.arpa` for 192.0.2.1.
    public init(reverseOf endpoint: Endpoint) {
        let labels: [String] =
            endpoint.isIPv6
            ? endpoint.bytes.reversed().flatMap { byte in
                [String(byte & 0xF, radix: 16), String(byte >> 4, radix: 16)]
            } + ["ip6", "arpa"] : endpoint.bytes.reversed().map { "\($0)" } + ["in-addr", "arpa"]
        self.init(checkedWire: labels.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0])
    }

    public static let root = DNSName(checkedWire: [0])

    /// The labels, without lengths.
    package var labels: [ArraySlice<UInt8>] {
        var labels: [ArraySlice<UInt8>] = []
        var at = 0
        while wire[at] != 0 {
            let end = at + 1 + Int(wire[at])
            labels.append(wire[(at + 1)..<end])
            at = end
        }
        return labels
    }

    /// Whether this is `ancestor` or lies below it.
    public func isWithin(_ ancestor: DNSName) -> Bool {
        let mine = labels
        let theirs = ancestor.labels
        return mine.count >= theirs.count && mine.suffix(theirs.count).elementsEqual(theirs)
    }

    /// Without the last dot; `.` for the root. Bytes that have a meaning in text are written as `\DDD`.
    public var description: String {
        let labels = labels
        if labels.isEmpty { return "." }
        return labels.map { label in
            label.map { byte in
                switch byte {
                case 0x21...0x7E where byte != UInt8(ascii: ".") && byte != UInt8(ascii: "\\"):
                    String(UnicodeScalar(byte))
                default:
                    "\\" + String(repeating: "0", count: byte < 10 ? 2 : byte < 100 ? 1 : 0) + "\(byte)"
                }
            }.joined()
        }.joined(separator: ".")
    }

    static func lowercased(_ byte: UInt8) -> UInt8 {
        // A length is at most 63 and so below the letters.
        byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
    }
}
