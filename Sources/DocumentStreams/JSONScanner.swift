/// The kinds of JSON values.
public enum JSONKind: String, Sendable, Codable {
    case object, array, string, number, boolean, null
}

/// What is told of a document while it is read.
protocol JSONSink {
    /// Whether `text` is to be called at the moment.
    var wantsText: Bool { get }
    /// Nothing that follows matters.
    var isSatisfied: Bool { get }
    /// Before the first byte of a value.
    mutating func beginValue(_ kind: JSONKind)
    /// After its last byte.
    mutating func endValue(_ kind: JSONKind)
    /// Before the opening quote of a member's name, and after its closing one.
    mutating func beginKey()
    mutating func endKey()
    /// Bytes that mean something, in pieces as they come; white space between tokens is left out.
    mutating func text(_ bytes: UnsafeBufferPointer<UInt8>) throws(DocumentFlaw)
}

/// Reads JSON (RFC 8259) from left to right in pieces that may end anywhere. It keeps one bit of each open container and
/// nothing else of what it read.
struct JSONScanner<Sink: JSONSink & Sendable>: Sendable {
    private enum State: Sendable {
        case value, valueOrEnd, keyOrEnd, key, colon, commaOrEnd, over
        case string, escape, hexadecimal, character
        case minus, zero, integer, point, fraction, exponent, exponentSign, exponentDigits
        case word
    }

    var sink: Sink
    /// Bytes read before the current piece.
    private(set) var offset = 0
    private var state = State.value
    /// Whether the string that is being read is a member's name.
    private var isKey = false
    /// Of the scalar that is being read.
    private var kind = JSONKind.null
    private var word: StaticString = "null"
    /// Bytes yet to come of an escape or a character, or bytes that came of a word.
    private var count = 0
    /// What the next byte of a character may be.
    private var continuation: ClosedRange<UInt8> = 0x80...0xBF
    /// Of each open container, whether it is an object.
    private var containers: [Bool] = []
    private let depthMax: Int

    init(_ sink: Sink, depthMax: Int) {
        self.sink = sink
        self.depthMax = depthMax
    }

    /// Whether nothing but white space has come yet.
    var isBlank: Bool { state == .value && containers.isEmpty }

    /// Reads a piece.
    ///
    /// - Returns: true when the sink needs no more.
    mutating func feed(_ bytes: UnsafeBufferPointer<UInt8>) throws(DocumentFlaw) -> Bool {
        var position = 0
        while position < bytes.count {
            let begin = position
            switch state {
            case .string, .escape, .hexadecimal, .character:
                let isWhole = try string(bytes, &position)
                try tell(bytes, begin..<position)
                if isWhole { endString() }
            case .minus, .zero, .integer, .point, .fraction, .exponent, .exponentSign, .exponentDigits:
                while position < bytes.count, try number(bytes[position], position) { position += 1 }
                try tell(bytes, begin..<position)
                if position < bytes.count { endScalar() }
            case .word:
                guard bytes[position] == word.utf8Start[count] else { throw unexpected(bytes[position], position) }
                count += 1
                position += 1
                try tell(bytes, begin..<position)
                if count == word.utf8CodeUnitCount { endScalar() }
            default:
                Self.skipSpace(bytes, &position)
                guard position < bytes.count else { break }
                try structure(bytes, position)
                position += 1
            }
            if sink.isSatisfied {
                offset += position
                return true
            }
        }
        offset += bytes.count
        return false
    }

    /// To be called when the document is over.
    mutating func finish() throws(DocumentFlaw) {
        switch state {
        case .zero, .integer, .fraction, .exponentDigits: endScalar()
        default: break
        }
        guard state == .over else {
            throw DocumentFlaw(.malformed, "the document ends at byte \(offset) before it is whole")
        }
    }

    private mutating func tell(_ bytes: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) throws(DocumentFlaw) {
        if sink.wantsText, !range.isEmpty { try sink.text(UnsafeBufferPointer(rebasing: bytes[range])) }
    }

    private func unexpected(_ byte: UInt8, _ position: Int) -> DocumentFlaw {
        let found = (0x21...0x7E).contains(byte) ? "'\(Unicode.Scalar(byte))'" : "byte 0x" + String(byte, radix: 16)
        return DocumentFlaw(
            .malformed, "the document is no JSON: \(found) at byte \(offset + position) cannot stand there")
    }

    private static func skipSpace(_ bytes: UnsafeBufferPointer<UInt8>, _ position: inout Int) {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x0A, 0x0D, 0x09: position += 1
            default: return
            }
        }
    }
}

// MARK: Between the scalars

extension JSONScanner {
    private mutating func structure(
        _ bytes: UnsafeBufferPointer<UInt8>, _ position: Int
    ) throws(DocumentFlaw) {
        let byte = bytes[position]
        switch state {
        case .value, .valueOrEnd:
            switch byte {
            case UInt8(ascii: "{"): try open(.object, then: .keyOrEnd)
            case UInt8(ascii: "["): try open(.array, then: .valueOrEnd)
            case UInt8(ascii: "]") where state == .valueOrEnd: return try close(.array, bytes, position)
            default: try beginScalar(byte, position)
            }
        case .keyOrEnd where byte == UInt8(ascii: "}"): return try close(.object, bytes, position)
        case .keyOrEnd where byte == UInt8(ascii: "\""), .key where byte == UInt8(ascii: "\""):
            isKey = true
            state = .string
            sink.beginKey()
        case .colon where byte == UInt8(ascii: ":"): state = .value
        case .commaOrEnd:
            let isObject = containers[containers.count - 1]
            switch byte {
            case UInt8(ascii: ","): state = isObject ? .key : .value
            case UInt8(ascii: "}") where isObject: return try close(.object, bytes, position)
            case UInt8(ascii: "]") where !isObject: return try close(.array, bytes, position)
            default: throw unexpected(byte, position)
            }
        default: throw unexpected(byte, position)
        }
        try tell(bytes, position..<position + 1)
    }

    private mutating func open(_ kind: JSONKind, then next: State) throws(DocumentFlaw) {
        guard containers.count < depthMax else {
            throw DocumentFlaw(.tooDeep, "the document nests deeper than \(depthMax) levels")
        }
        sink.beginValue(kind)
        containers.append(kind == .object)
        state = next
    }

    private mutating func close(
        _ kind: JSONKind, _ bytes: UnsafeBufferPointer<UInt8>, _ position: Int
    ) throws(DocumentFlaw) {
        // The closing bracket is the container's.
        try tell(bytes, position..<position + 1)
        containers.removeLast()
        state = containers.isEmpty ? .over : .commaOrEnd
        sink.endValue(kind)
    }

    private mutating func beginScalar(_ byte: UInt8, _ position: Int) throws(DocumentFlaw) {
        func begin(_ text: StaticString, _ wordKind: JSONKind) {
            (kind, state, word, count) = (wordKind, .word, text, 1)
        }
        switch byte {
        case UInt8(ascii: "\""): (kind, state) = (.string, .string)
        case UInt8(ascii: "-"): (kind, state) = (.number, .minus)
        case UInt8(ascii: "0"): (kind, state) = (.number, .zero)
        case UInt8(ascii: "1")...UInt8(ascii: "9"): (kind, state) = (.number, .integer)
        case UInt8(ascii: "t"): begin("true", .boolean)
        case UInt8(ascii: "f"): begin("false", .boolean)
        case UInt8(ascii: "n"): begin("null", .null)
        default: throw unexpected(byte, position)
        }
        isKey = false
        sink.beginValue(kind)
    }

    private mutating func endScalar() {
        state = containers.isEmpty ? .over : .commaOrEnd
        sink.endValue(kind)
    }

    /// - Returns: whether the byte belongs to the number.
    private mutating func number(_ byte: UInt8, _ position: Int) throws(DocumentFlaw) -> Bool {
        switch (state, byte) {
        case (.integer, UInt8(ascii: "0")...UInt8(ascii: "9")), (.fraction, UInt8(ascii: "0")...UInt8(ascii: "9")),
            (.exponentDigits, UInt8(ascii: "0")...UInt8(ascii: "9")):
            break
        case (.minus, UInt8(ascii: "0")): state = .zero
        case (.minus, UInt8(ascii: "1")...UInt8(ascii: "9")): state = .integer
        case (.zero, UInt8(ascii: ".")), (.integer, UInt8(ascii: ".")): state = .point
        case (.point, UInt8(ascii: "0")...UInt8(ascii: "9")): state = .fraction
        case (.zero, UInt8(ascii: "e")), (.zero, UInt8(ascii: "E")), (.integer, UInt8(ascii: "e")),
            (.integer, UInt8(ascii: "E")), (.fraction, UInt8(ascii: "e")), (.fraction, UInt8(ascii: "E")):
            state = .exponent
        case (.exponent, UInt8(ascii: "+")), (.exponent, UInt8(ascii: "-")): state = .exponentSign
        case (.exponent, UInt8(ascii: "0")...UInt8(ascii: "9")), (.exponentSign, UInt8(ascii: "0")...UInt8(ascii: "9")):
            state = .exponentDigits
        case (.zero, _), (.integer, _), (.fraction, _), (.exponentDigits, _): return false
        default: throw unexpected(byte, position)
        }
        return true
    }
}

// MARK: Strings

extension JSONScanner {
    /// Reads on in a string.
    ///
    /// - Returns: whether its closing quote has been read.
    private mutating func string(
        _ bytes: UnsafeBufferPointer<UInt8>, _ position: inout Int
    ) throws(DocumentFlaw) -> Bool {
        while position < bytes.count {
            if state == .string {
                position = Self.plainEnd(bytes, position)
                guard position < bytes.count else { return false }
                if bytes[position] == UInt8(ascii: "\"") {
                    position += 1
                    return true
                }
            }
            try special(bytes[position], position)
            position += 1
        }
        return false
    }

    /// Where the stretch of ASCII ends that needs no look: nearly all bytes of nearly all strings, so eight at a time.
    private static func plainEnd(_ bytes: UnsafeBufferPointer<UInt8>, _ start: Int) -> Int {
        var position = start
        let raw = UnsafeRawBufferPointer(bytes)
        let (ones, highs): (UInt64, UInt64) = (0x0101_0101_0101_0101, 0x8080_8080_8080_8080)
        while position + 8 <= raw.count {
            let word = raw.loadUnaligned(fromByteOffset: position, as: UInt64.self)
            // The high bit of a byte is set where it is zero after the exclusive or: the usual test, exact enough to find
            // the first one, and what it may mark behind it does not matter.
            let quotes = word ^ (ones &* UInt64(UInt8(ascii: "\"")))
            let escapes = word ^ (ones &* UInt64(UInt8(ascii: "\\")))
            let controls = (word &- ones &* 0x20) & ~word
            let marks = (((quotes &- ones) & ~quotes) | ((escapes &- ones) & ~escapes) | controls | word) & highs
            if marks != 0 { return position + UInt64(littleEndian: marks).trailingZeroBitCount / 8 }
            position += 8
        }
        while position < raw.count {
            let byte = raw[position]
            if byte < 0x20 || byte >= 0x80 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { break }
            position += 1
        }
        return position
    }

    private mutating func endString() {
        if isKey {
            state = .colon
            sink.endKey()
        } else {
            endScalar()
        }
    }

    /// Escapes, and characters of several bytes (RFC 3629: no surrogates, nothing overlong, nothing above U+10FFFF).
    private mutating func special(_ byte: UInt8, _ position: Int) throws(DocumentFlaw) {
        func character(_ left: Int, _ next: ClosedRange<UInt8>) {
            (state, count, continuation) = (.character, left, next)
        }
        switch (state, byte) {
        case (.string, UInt8(ascii: "\\")): state = .escape
        case (.string, 0xC2...0xDF): character(1, 0x80...0xBF)
        case (.string, 0xE0): character(2, 0xA0...0xBF)
        case (.string, 0xE1...0xEC), (.string, 0xEE...0xEF): character(2, 0x80...0xBF)
        case (.string, 0xED): character(2, 0x80...0x9F)
        case (.string, 0xF0): character(3, 0x90...0xBF)
        case (.string, 0xF1...0xF3): character(3, 0x80...0xBF)
        case (.string, 0xF4): character(3, 0x80...0x8F)
        case (.character, _) where continuation.contains(byte):
            continuation = 0x80...0xBF
            count -= 1
            if count == 0 { state = .string }
        case (.escape, UInt8(ascii: "u")): (state, count) = (.hexadecimal, 4)
        case (.escape, UInt8(ascii: "\"")), (.escape, UInt8(ascii: "\\")), (.escape, UInt8(ascii: "/")),
            (.escape, UInt8(ascii: "b")), (.escape, UInt8(ascii: "f")), (.escape, UInt8(ascii: "n")),
            (.escape, UInt8(ascii: "r")), (.escape, UInt8(ascii: "t")):
            state = .string
        case (.hexadecimal, UInt8(ascii: "0")...UInt8(ascii: "9")),
            (.hexadecimal, UInt8(ascii: "a")...UInt8(ascii: "f")),
            (.hexadecimal, UInt8(ascii: "A")...UInt8(ascii: "F")):
            count -= 1
            if count == 0 { state = .string }
        default: throw unexpected(byte, position)
        }
    }
}
