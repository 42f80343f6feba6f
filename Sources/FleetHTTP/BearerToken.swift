import HTTPTypes

/// The secret that a client has to show.
public struct BearerToken: Sendable, CustomStringConvertible {
    private let bytes: [UInt8]

    /// Fewer could be guessed.
    public static let bytesMin = 16
    public static let bytesMax = 1_000

    public init(_ text: String) throws(InvalidBearerToken) {
        bytes = Array(text.utf8)
        guard bytes.count >= Self.bytesMin else {
            throw InvalidBearerToken(
                description: "it has \(bytes.count) characters, at least \(Self.bytesMin) are needed")
        }
        guard bytes.count <= Self.bytesMax else {
            throw InvalidBearerToken(
                description: "it has \(bytes.count) characters, at most \(Self.bytesMax) are taken")
        }
        guard bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw InvalidBearerToken(
                description: "it may hold letters, digits and other visible ASCII characters, and no blank")
        }
    }

    /// What a request's `Authorization` (RFC 6750, section 2.1) is worth.
    enum Verdict {
        case shown, missing, malformed, wrong
    }

    func verdict(on headers: HTTPFields) -> Verdict {
        let fields = headers[values: .authorization]
        guard let field = fields.first else { return .missing }
        let parts = field.split(separator: " ", maxSplits: 1)
        guard fields.count == 1, parts.count == 2, parts[0].lowercased() == "bearer" else { return .malformed }
        return matches(Array(parts[1].utf8)) ? .shown : .wrong
    }

    /// Takes the same time wherever the first difference is; only the length of what was presented shows.
    private func matches(_ presented: [UInt8]) -> Bool {
        var difference = UInt(bitPattern: presented.count ^ bytes.count)
        for index in presented.indices { difference |= UInt(presented[index] ^ bytes[index % bytes.count]) }
        return difference == 0
    }

    public var description: String { "(not shown)" }
}

/// Why a text cannot be the token. The text itself is not in it.
public struct InvalidBearerToken: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String
}
