import FoundationEssentials

/// A part of a message that is still JSON: decoded where its type is known, and only there.
public struct JSONSlice: Sendable {
    /// The message as it came; shared by all of its slices.
    let bytes: [UInt8]
    let range: Range<Int>

    init(_ bytes: [UInt8], _ range: Range<Int>) {
        self.bytes = bytes
        self.range = range
    }

    /// - Parameter text: a JSON document.
    public init(_ text: String) { self.init(Array(text.utf8), 0..<text.utf8.count) }

    /// Where no such part came.
    static let emptyObject = JSONSlice("{}")

    public var byteCount: Int { range.count }

    /// The document as text, for those who hand it on as it is.
    public var text: String { String(decoding: bytes[range], as: UTF8.self) }

    /// - Throws: `DecodingError`.
    public func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        try JSONDecoder().decode(type, from: Data(bytes[range]))
    }

    /// The value of a member of the object, in place; nil when there is none.
    public subscript(member: String) -> JSONSlice? {
        bytes.withUnsafeBufferPointer { buffer in
            var found: Range<Int>?
            MessageScanner.members(of: buffer, range) { key, value in
                if buffer[key].elementsEqual(member.utf8) { found = value }
            }
            return found.map { JSONSlice(bytes, $0) }
        }
    }

    /// The content of a string in base64, which has no escapes: a screenshot is decoded without becoming text in between.
    public func base64Decoded() throws -> Data {
        guard range.count >= 2, bytes[range.lowerBound] == UInt8(ascii: "\""),
            let data = Data(base64Encoded: Data(bytes[(range.lowerBound + 1)..<(range.upperBound - 1)]))
        else { throw DevToolsError(.malformed, "a string in base64 was promised") }
        return data
    }
}
