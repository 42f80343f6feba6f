/// Where in a JSON document a value lies (RFC 6901), such as `/packages/0/name`. The empty pointer is the whole document.
public struct JSONPointer: Sendable, Hashable {
    /// What one token asks for: a member, or an element of an array.
    struct Token: Sendable, Hashable {
        /// UTF-8, unescaped.
        let name: [UInt8]
        /// Nil when it can be none: `-`, or a number with a leading zero.
        let index: Int?
    }

    let tokens: [Token]

    public static let tokensMax = 64

    public init(_ text: String) throws(DocumentFlaw) {
        guard text.isEmpty || text.hasPrefix("/") else {
            throw DocumentFlaw(.malformed, "a JSON pointer is empty or begins with '/', as in /packages/0/name")
        }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        guard parts.count <= Self.tokensMax else {
            throw DocumentFlaw(.tooDeep, "a JSON pointer has at most \(Self.tokensMax) parts")
        }
        var tokens: [Token] = []
        for part in parts {
            let name = try Self.unescaped(part)
            tokens.append(Token(name: name, index: Self.index(name)))
        }
        self.tokens = tokens
    }

    private static func unescaped(_ part: Substring) throws(DocumentFlaw) -> [UInt8] {
        var name: [UInt8] = []
        var bytes = part.utf8.makeIterator()
        while let byte = bytes.next() {
            guard byte == UInt8(ascii: "~") else {
                name.append(byte)
                continue
            }
            switch bytes.next() {
            case UInt8(ascii: "0"): name.append(UInt8(ascii: "~"))
            case UInt8(ascii: "1"): name.append(UInt8(ascii: "/"))
            default: throw DocumentFlaw(.malformed, "in a JSON pointer write ~ as ~0, and / within a name as ~1")
            }
        }
        return name
    }

    private static func index(_ name: [UInt8]) -> Int? {
        guard name.count == 1 || name.first != UInt8(ascii: "0"),
            name.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return nil }
        return Int(String(decoding: name, as: UTF8.self))
    }
}
