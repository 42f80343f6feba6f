/// Keeps the value that a pointer names, as compact JSON text, and nothing else of the document. Where a name stands twice
/// in one object, the first counts.
struct JSONSelection: JSONSink, Sendable {
    private let pointer: JSONPointer
    private let bytesMax: Int
    /// Whether to go on when the value has been found.
    private let readsOn: Bool

    /// Open containers.
    private var depth = 0
    /// How many of them, from the outermost, lie on the way to the value.
    private var depthOnWay = 0
    /// The index of the next element, for each array on the way.
    private var indexes: [Int] = []
    /// Of the innermost container on the way: whether it is an array, and whether the member now at hand is on the way.
    private var areArrays: [Bool] = []
    private var isMemberOnWay = false
    private var isInKey = false
    /// The name at hand as it is spelt, quotes included; no longer than could still be on the way.
    private var key: [UInt8] = []
    private var keyBytesMax = 0

    private var isCapturing = false
    private(set) var kind: JSONKind?
    private(set) var isWhole = false
    private(set) var text: [UInt8] = []

    init(_ pointer: JSONPointer, bytesMax: Int, readsOn: Bool) {
        self.pointer = pointer
        self.bytesMax = bytesMax
        self.readsOn = readsOn
    }

    var wantsText: Bool { isCapturing || isInKey }
    var isSatisfied: Bool { isWhole && !readsOn }

    mutating func beginValue(_ newKind: JSONKind) {
        let isOnWay = kind == nil && depth == depthOnWay && isNextOnWay()
        if isOnWay && depth == pointer.tokens.count {
            kind = newKind
            isCapturing = true
        }
        guard newKind == .object || newKind == .array else { return }
        depth += 1
        if isOnWay && !isCapturing {
            depthOnWay = depth
            indexes.append(0)
            areArrays.append(newKind == .array)
            isMemberOnWay = false
        }
    }

    mutating func endValue(_ kind: JSONKind) {
        if kind == .object || kind == .array {
            if depthOnWay == depth {
                depthOnWay -= 1
                indexes.removeLast()
                areArrays.removeLast()
                isMemberOnWay = false
            }
            depth -= 1
        }
        if isCapturing && depth == pointer.tokens.count {
            isCapturing = false
            isWhole = true
        }
    }

    mutating func beginKey() {
        guard kind == nil, depth == depthOnWay, depth <= pointer.tokens.count else { return }
        isInKey = true
        key.removeAll(keepingCapacity: true)
        // Each byte of a name can be spelt as an escape of six; a letter beyond the basic plane, four bytes, as twelve.
        keyBytesMax = 2 + 6 * pointer.tokens[depth - 1].name.count
    }

    mutating func endKey() {
        guard isInKey else { return }
        isInKey = false
        isMemberOnWay = key.count <= keyBytesMax && JSONSelection.unescaped(key) == pointer.tokens[depth - 1].name
    }

    mutating func text(_ bytes: UnsafeBufferPointer<UInt8>) throws(DocumentFlaw) {
        if isCapturing {
            guard text.count + bytes.count <= bytesMax else {
                throw DocumentFlaw(
                    .tooLarge, "the value that the pointer names is larger than \(bytesMax) bytes; name a smaller part")
            }
            text.append(contentsOf: bytes)
        } else if key.count <= keyBytesMax {
            key.append(contentsOf: bytes)
        }
    }

    /// Whether the value that begins now lies on the way, and on to the next element.
    private mutating func isNextOnWay() -> Bool {
        guard depth > 0 else { return true }
        guard areArrays[depth - 1] else { return isMemberOnWay }
        defer { indexes[depth - 1] += 1 }
        return indexes[depth - 1] == pointer.tokens[depth - 1].index
    }

    /// A string that the scanner has let pass, without quotes and escapes, as UTF-8. An escaped surrogate without its other
    /// half becomes U+FFFD.
    static func unescaped(_ string: [UInt8]) -> [UInt8] {
        let inner = string.dropFirst().dropLast()
        guard inner.contains(UInt8(ascii: "\\")) else { return Array(inner) }
        var units: [UInt16] = []
        var rest = inner
        while let escape = rest.firstIndex(of: UInt8(ascii: "\\")) {
            units.append(contentsOf: String(decoding: rest[..<escape], as: UTF8.self).utf16)
            let letter = rest[escape + 1]
            rest = rest[(escape + 2)...]
            switch letter {
            case UInt8(ascii: "u"):
                units.append(UInt16(String(decoding: rest.prefix(4), as: UTF8.self), radix: 16) ?? 0xFFFD)
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
        return Array(String(decoding: units, as: UTF16.self).utf8)
    }
}

/// A value as it was found in a document.
public struct JSONFinding: Sendable, Hashable {
    public let kind: JSONKind
    /// JSON without white space between its tokens; numbers and strings as they were spelt.
    public let json: String
}

/// Finds the value of one pointer in one document.
public struct JSONReader: Sendable {
    private var scanner: JSONScanner<JSONSelection>
    private var isAtStart = true

    /// - Parameters:
    ///   - bytesMax: of the value found, as compact text.
    ///   - depthMax: how deep arrays and objects may nest.
    ///   - readsOn: whether the document is read, and so checked, to its end even after the value was found.
    public init(_ pointer: JSONPointer, bytesMax: Int, depthMax: Int, readsOn: Bool = false) {
        scanner = JSONScanner(
            JSONSelection(pointer, bytesMax: bytesMax, readsOn: readsOn), depthMax: depthMax)
    }

    /// Bytes read.
    public var bytes: Int { scanner.offset }

    /// - Returns: true when no more is needed.
    public mutating func feed(_ piece: UnsafeRawBufferPointer) throws(DocumentFlaw) -> Bool {
        if isAtStart {
            isAtStart = false
            // UTF-16 and UTF-32 begin so; the scanner would name a strange byte.
            if piece.count >= 2, piece[0] == 0 || piece[1] == 0 || piece[0] == 0xFE || piece[0] == 0xFF {
                throw DocumentFlaw(.malformed, "the document is not UTF-8; JSON between systems is UTF-8 (RFC 8259)")
            }
            if piece.count >= 3, piece[0] == 0xEF, piece[1] == 0xBB, piece[2] == 0xBF {
                return try scanner.feed(
                    UnsafeRawBufferPointer(rebasing: piece[3...]).assumingMemoryBound(to: UInt8.self))
            }
        }
        return try scanner.feed(piece.assumingMemoryBound(to: UInt8.self))
    }

    /// To be called at the end, unless no more was needed.
    ///
    /// - Returns: nil when the document has no such value.
    public mutating func finish() throws(DocumentFlaw) -> JSONFinding? {
        if !scanner.sink.isSatisfied { try scanner.finish() }
        guard let kind = scanner.sink.kind, scanner.sink.isWhole else { return nil }
        return JSONFinding(kind: kind, json: String(decoding: scanner.sink.text, as: UTF8.self))
    }
}
