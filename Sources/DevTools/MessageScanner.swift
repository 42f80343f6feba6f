import Glibc

/// The parts of a message.
struct Message {
    /// Of the command that it answers; nil for events.
    var id: Int?
    var method: String?
    var session: String?
    var params: Range<Int>?
    var result: Range<Int>?
    var error: Range<Int>?
}

/// Finds the parts of a message in one pass, without decoding them. It trusts the browser to send JSON, but nothing that comes
/// makes it read beyond the message or recurse.
enum MessageScanner {
    /// Nil when it is no object.
    static func scan(_ bytes: [UInt8]) -> Message? {
        bytes.withUnsafeBufferPointer { buffer in
            var message = Message()
            let isObject = members(of: buffer, 0..<buffer.count) { key, value in
                func isKey(_ name: StaticString) -> Bool {
                    name.utf8CodeUnitCount == key.count
                        && memcmp(buffer.baseAddress! + key.lowerBound, name.utf8Start, key.count) == 0
                    // `baseAddress!`: a buffer in which a key was found has one.
                }
                if isKey("id") {
                    message.id = integer(buffer, value)
                } else if isKey("method") {
                    message.method = string(buffer, value)
                } else if isKey("sessionId") {
                    message.session = string(buffer, value)
                } else if isKey("params") {
                    message.params = value
                } else if isKey("result") {
                    message.result = value
                } else if isKey("error") {
                    message.error = value
                }
            }
            return isObject ? message : nil
        }
    }

    /// The id of an answer of which only the beginning is there: browsers write it first.
    static func id(ofBeginning bytes: [UInt8]) -> Int? {
        let prefix = Array("{\"id\":".utf8)
        guard bytes.starts(with: prefix) else { return nil }
        let digits = bytes.dropFirst(prefix.count).prefix { (0x30...0x39).contains($0) }.prefix(18)
        return digits.isEmpty ? nil : digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }

    /// Visits the members of an object: the key without its quotes, and its value. False when it is no whole object.
    @discardableResult
    static func members(
        of buffer: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, _ visit: (Range<Int>, Range<Int>) -> Void
    ) -> Bool {
        let end = range.upperBound
        var place = skipBlanks(buffer, range.lowerBound, end)
        guard place < end, buffer[place] == UInt8(ascii: "{") else { return false }
        place = skipBlanks(buffer, place + 1, end)
        while place < end, buffer[place] != UInt8(ascii: "}") {
            guard buffer[place] == UInt8(ascii: "\""), let keyEnd = stringEnd(buffer, place, end) else { return false }
            let key = (place + 1)..<(keyEnd - 1)
            place = skipBlanks(buffer, keyEnd, end)
            guard place < end, buffer[place] == UInt8(ascii: ":") else { return false }
            place = skipBlanks(buffer, place + 1, end)
            guard let valueEnd = valueEnd(buffer, place, end) else { return false }
            visit(key, place..<valueEnd)
            place = skipBlanks(buffer, valueEnd, end)
            if place < end, buffer[place] == UInt8(ascii: ",") { place = skipBlanks(buffer, place + 1, end) }
        }
        return place < end
    }

    private static func skipBlanks(_ buffer: UnsafeBufferPointer<UInt8>, _ start: Int, _ end: Int) -> Int {
        var place = start
        while place < end, buffer[place] <= 0x20 { place += 1 }
        return place
    }

    /// Behind the quote that closes the string which begins at `start`.
    private static func stringEnd(_ buffer: UnsafeBufferPointer<UInt8>, _ start: Int, _ end: Int) -> Int? {
        guard let base = buffer.baseAddress else { return nil }
        var place = start + 1
        while place < end, let quote = memchr(base + place, 0x22, end - place) {
            let index = base.distance(to: quote.assumingMemoryBound(to: UInt8.self))
            var before = index
            while before > start + 1, buffer[before - 1] == UInt8(ascii: "\\") { before -= 1 }
            // An odd number of backslashes before it makes it one of the content.
            if (index - before) % 2 == 0 { return index + 1 }
            place = index + 1
        }
        return nil
    }

    private static func valueEnd(_ buffer: UnsafeBufferPointer<UInt8>, _ start: Int, _ end: Int) -> Int? {
        guard start < end else { return nil }
        if buffer[start] == UInt8(ascii: "\"") { return stringEnd(buffer, start, end) }
        var place = start
        var depth = 0
        while place < end {
            switch buffer[place] {
            case UInt8(ascii: "\""):
                guard let next = stringEnd(buffer, place, end) else { return nil }
                place = next
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                // Of the object around: a number or word has ended before it.
                if depth == 0 { return place > start ? place : nil }
                depth -= 1
                if depth == 0 { return place + 1 }
            case UInt8(ascii: ","):
                if depth == 0 { return place > start ? place : nil }
            default: break
            }
            place += 1
        }
        return nil
    }

    private static func integer(_ buffer: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) -> Int? {
        Int(String(decoding: buffer[range], as: UTF8.self).filter { $0 != " " })
    }

    /// Names and ids have no escapes.
    private static func string(_ buffer: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) -> String? {
        guard range.count >= 2, buffer[range.lowerBound] == UInt8(ascii: "\"") else { return nil }
        return String(decoding: buffer[(range.lowerBound + 1)..<(range.upperBound - 1)], as: UTF8.self)
    }
}
