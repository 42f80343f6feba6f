/// One spelling for each JSON document, so that two payloads can be compared as text.
///
/// Producers in many languages write the same object with its members in any order (Swift's own encoder and Go's maps
/// change it from run to run). A repeat of a job must not be taken for a conflict because of that. The canonical form
/// has no insignificant white space and the members of every object in ascending order of their names' bytes. Strings
/// and numbers stay as they were spelled: `1.0` and `1` count as different.
///
/// It is also the first guard against what comes from outside: bytes that are no UTF-8, text that is no JSON, nesting
/// without end, and a name given twice in one object (which readers understand differently) are all refused here,
/// before a recursive decoder sees them.
public enum CanonicalJSON {
    /// How deep arrays and objects may nest.
    public static let depthMax = 100

    /// The canonical text of `bytes`.
    public static func text(of bytes: [UInt8]) throws(InvalidJSON) -> String {
        guard String(validating: bytes, as: UTF8.self) != nil else {
            throw InvalidJSON("the payload is not UTF-8 text; send it as UTF-8, without a byte order mark")
        }
        let result = bytes.withUnsafeBufferPointer { buffer -> Result<String, InvalidJSON> in
            var reader = Reader(input: buffer)
            do throws(InvalidJSON) {
                try reader.document()
                return .success(String(decoding: reader.output, as: UTF8.self))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }
}

/// Why bytes are no acceptable JSON.
public struct InvalidJSON: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String
    init(_ description: String) { self.description = description }
}

/// Reads once from left to right and writes the canonical form as it goes. An object's members are written as they
/// come and put in order when the object ends, so an object that is in order already is never copied again.
private struct Reader {
    let input: UnsafeBufferPointer<UInt8>
    var position = 0
    var output: [UInt8] = []

    init(input: UnsafeBufferPointer<UInt8>) {
        self.input = input
        output.reserveCapacity(input.count)
    }

    mutating func document() throws(InvalidJSON) {
        skipSpace()
        guard position < input.count else { throw InvalidJSON("the payload is empty; send a JSON document") }
        try value(depth: 0)
        skipSpace()
        if position < input.count { throw unexpected("the end of the document") }
    }

    private mutating func value(depth: Int) throws(InvalidJSON) {
        guard position < input.count else { throw unexpected("a value") }
        switch input[position] {
        case UInt8(ascii: "{"): try object(depth: depth + 1)
        case UInt8(ascii: "["): try array(depth: depth + 1)
        case UInt8(ascii: "\""): try string()
        case UInt8(ascii: "t"): try word("true")
        case UInt8(ascii: "f"): try word("false")
        case UInt8(ascii: "n"): try word("null")
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try number()
        default: throw unexpected("a value")
        }
    }

    private func checkDepth(_ depth: Int) throws(InvalidJSON) {
        if depth > CanonicalJSON.depthMax {
            throw InvalidJSON("the payload nests deeper than \(CanonicalJSON.depthMax) levels; flatten it")
        }
    }

    private struct Member {
        var name: Range<Int>
        var whole: Range<Int>
    }

    private mutating func object(depth: Int) throws(InvalidJSON) {
        try checkDepth(depth)
        emitCurrent()
        skipSpace()
        if take(UInt8(ascii: "}")) { return }
        let start = output.count
        var members: [Member] = []
        var (ordered, escaped) = (true, false)
        while true {
            skipSpace()
            guard position < input.count, input[position] == UInt8(ascii: "\"") else {
                throw unexpected("a member name")
            }
            let begin = output.count
            try string()
            let name = begin..<output.count
            if let last = members.last, ordered { ordered = precedes(last.name, name) }
            if !escaped { escaped = output[name].contains(UInt8(ascii: "\\")) }
            skipSpace()
            guard take(UInt8(ascii: ":")) else { throw unexpected("':'") }
            skipSpace()
            try value(depth: depth)
            members.append(Member(name: name, whole: begin..<output.count))
            skipSpace()
            if take(UInt8(ascii: ",")) { continue }
            if take(UInt8(ascii: "}")) { break }
            throw unexpected("',' or '}'")
        }
        if escaped { try refuseOneNameSpelledTwice(members) }
        if !ordered { try reorder(members, from: start) }
    }

    /// Names that differ only in their escapes are one name to every reader.
    private func refuseOneNameSpelledTwice(_ members: [Member]) throws(InvalidJSON) {
        var seen: Set<[UInt16]> = []
        for member in members where !seen.insert(meaning(of: output[member.name])).inserted { throw twice(member.name) }
    }

    /// What a string that has been checked says, in UTF-16, in which escapes are written.
    private func meaning(of string: ArraySlice<UInt8>) -> [UInt16] {
        var units: [UInt16] = []
        var rest = string.dropFirst().dropLast()
        while let escape = rest.firstIndex(of: UInt8(ascii: "\\")) {
            units.append(contentsOf: String(decoding: rest[..<escape], as: UTF8.self).utf16)
            let letter = rest[escape + 1]
            rest = rest[(escape + 2)...]
            switch letter {
            case UInt8(ascii: "u"):
                units.append(UInt16(String(decoding: rest.prefix(4), as: UTF8.self), radix: 16) ?? 0)
                rest = rest.dropFirst(4)
            case UInt8(ascii: "b"): units.append(0x08)
            case UInt8(ascii: "f"): units.append(0x0C)
            case UInt8(ascii: "n"): units.append(0x0A)
            case UInt8(ascii: "r"): units.append(0x0D)
            case UInt8(ascii: "t"): units.append(0x09)
            default: units.append(UInt16(letter))
            }
        }
        units.append(contentsOf: String(decoding: rest, as: UTF8.self).utf16)
        return units
    }

    private func twice(_ name: Range<Int>) -> InvalidJSON {
        InvalidJSON("the name \(String(decoding: output[name], as: UTF8.self)) stands twice in one object")
    }

    /// Puts the members that stand in `output[from...]` in order; the comma before each was written with it except for
    /// the first, so they are taken out and written anew, closing brace included.
    private mutating func reorder(_ members: [Member], from start: Int) throws(InvalidJSON) {
        let sorted = members.sorted { precedes($0.name, $1.name) }
        for (left, right) in zip(sorted, sorted.dropFirst()) where output[left.name].elementsEqual(output[right.name]) {
            throw twice(left.name)
        }
        var rewritten: [UInt8] = []
        rewritten.reserveCapacity(output.count - start)
        for (index, member) in sorted.enumerated() {
            if index > 0 { rewritten.append(UInt8(ascii: ",")) }
            rewritten.append(contentsOf: output[member.whole])
        }
        rewritten.append(UInt8(ascii: "}"))
        output.replaceSubrange(start..., with: rewritten)
    }

    private func precedes(_ left: Range<Int>, _ right: Range<Int>) -> Bool {
        output[left].lexicographicallyPrecedes(output[right])
    }

    private mutating func array(depth: Int) throws(InvalidJSON) {
        try checkDepth(depth)
        emitCurrent()
        skipSpace()
        if take(UInt8(ascii: "]")) { return }
        while true {
            skipSpace()
            try value(depth: depth)
            skipSpace()
            if take(UInt8(ascii: ",")) { continue }
            if take(UInt8(ascii: "]")) { return }
            throw unexpected("',' or ']'")
        }
    }

    private mutating func string() throws(InvalidJSON) {
        let begin = position
        position += 1
        while position < input.count {
            switch input[position] {
            case UInt8(ascii: "\""):
                position += 1
                output.append(contentsOf: input[begin..<position])
                return
            case UInt8(ascii: "\\"): try escape()
            case 0..<0x20: throw unexpected("no bare control character in a string")
            default: position += 1
            }
        }
        throw unexpected("the end of a string")
    }

    private mutating func escape() throws(InvalidJSON) {
        position += 1
        guard position < input.count else { throw unexpected("an escape") }
        switch input[position] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            position += 1
        case UInt8(ascii: "u"):
            position += 1
            guard position + 4 <= input.count, input[position..<position + 4].allSatisfy(Self.isHexDigit) else {
                throw unexpected("four hexadecimal digits")
            }
            position += 4
        default: throw unexpected("an escape")
        }
    }

    private mutating func number() throws(InvalidJSON) {
        let begin = position
        _ = skip(UInt8(ascii: "-"))
        if !skip(UInt8(ascii: "0")) { try digits() }
        if skip(UInt8(ascii: ".")) { try digits() }
        if skip(UInt8(ascii: "e")) || skip(UInt8(ascii: "E")) {
            if !skip(UInt8(ascii: "+")) { _ = skip(UInt8(ascii: "-")) }
            try digits()
        }
        output.append(contentsOf: input[begin..<position])
    }

    private mutating func digits() throws(InvalidJSON) {
        let begin = position
        while position < input.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(input[position]) {
            position += 1
        }
        if position == begin { throw unexpected("a digit") }
    }

    private mutating func word(_ word: StaticString) throws(InvalidJSON) {
        let length = word.utf8CodeUnitCount
        let expected = UnsafeBufferPointer(start: word.utf8Start, count: length)
        guard position + length <= input.count, input[position..<position + length].elementsEqual(expected) else {
            throw unexpected("a value")
        }
        output.append(contentsOf: expected)
        position += length
    }

    private mutating func skipSpace() {
        while position < input.count {
            switch input[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return
            }
        }
    }

    /// Writes the byte that was read.
    private mutating func emitCurrent() {
        output.append(input[position])
        position += 1
    }

    /// Reads `byte` and writes it, if it is next.
    private mutating func take(_ byte: UInt8) -> Bool {
        guard position < input.count, input[position] == byte else { return false }
        emitCurrent()
        return true
    }

    /// Reads `byte` without writing it, if it is next.
    private mutating func skip(_ byte: UInt8) -> Bool {
        guard position < input.count, input[position] == byte else { return false }
        position += 1
        return true
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default: false
        }
    }

    private func unexpected(_ wanted: String) -> InvalidJSON {
        position < input.count
            ? InvalidJSON("the payload is no JSON: expected \(wanted) at byte \(position)")
            : InvalidJSON("the payload is no JSON: it ends where \(wanted) was expected")
    }
}
