/// How bytes stand for text.
enum TextEncoding: String, Sendable, Codable, CaseIterable {
    case utf8 = "utf-8"
    case utf16LittleEndian = "utf-16le"
    case utf16BigEndian = "utf-16be"
    case latin1 = "iso-8859-1"
    case windows1252 = "windows-1252"
    case ascii = "us-ascii"

    /// What a file begins with that says how it goes on.
    struct Detection: Equatable {
        /// Nil for bytes that are no text.
        var encoding: TextEncoding?
        /// Of the byte order mark, which is no part of the text.
        var markBytes: Int
    }

    /// Judges a file by its beginning: a byte order mark, then UTF-8, then bytes that Windows-1252 has letters for and that
    /// hold no control characters. What is left is no text.
    ///
    /// - Parameter isWhole: whether the file ends there; else its last character may be cut off.
    static func detect(_ beginning: [UInt8], isWhole: Bool) -> Detection {
        if beginning.starts(with: [0xEF, 0xBB, 0xBF]) { return Detection(encoding: .utf8, markBytes: 3) }
        if beginning.starts(with: [0xFF, 0xFE]) { return Detection(encoding: .utf16LittleEndian, markBytes: 2) }
        if beginning.starts(with: [0xFE, 0xFF]) { return Detection(encoding: .utf16BigEndian, markBytes: 2) }
        if beginning.contains(where: isControl) { return Detection(encoding: nil, markBytes: 0) }
        let text = isWhole ? beginning[...] : beginning.dropLast(TextEncoding.utf8.cutOff(beginning))
        if String(validating: text, as: UTF8.self) != nil { return Detection(encoding: .utf8, markBytes: 0) }
        let isWindows = beginning.allSatisfy { $0 < 0x80 || windows1252Letter($0) != nil }
        return Detection(encoding: isWindows ? .windows1252 : nil, markBytes: 0)
    }

    /// How many bytes at the end belong to a character that goes on behind them.
    func cutOff(_ bytes: [UInt8]) -> Int {
        switch self {
        case .latin1, .windows1252, .ascii: return 0
        case .utf16LittleEndian, .utf16BigEndian:
            let odd = bytes.count % 2
            guard bytes.count >= 2 + odd else { return odd }
            let high = bytes[bytes.count - odd - (self == .utf16LittleEndian ? 1 : 2)]
            return (0xD8...0xDB).contains(high) ? 2 + odd : odd
        case .utf8:
            for back in 1...4 where back <= bytes.count {
                let byte = bytes[bytes.count - back]
                if byte < 0x80 { return 0 }
                if byte < 0xC0 { continue }
                let length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2
                return back < length ? back : 0
            }
            return 0
        }
    }

    /// The text; nil when the bytes are none in this encoding.
    func decode(_ bytes: ArraySlice<UInt8>) -> String? {
        switch self {
        case .utf8: return String(validating: bytes, as: UTF8.self)
        case .ascii: return bytes.allSatisfy { $0 < 0x80 } ? String(decoding: bytes, as: UTF8.self) : nil
        case .latin1: return text(bytes) { Unicode.Scalar($0) }
        case .windows1252: return text(bytes) { $0 < 0x80 ? Unicode.Scalar($0) : Self.windows1252Letter($0) }
        case .utf16LittleEndian, .utf16BigEndian:
            guard bytes.count % 2 == 0 else { return nil }
            let isLittle = self == .utf16LittleEndian
            let units = stride(from: bytes.startIndex, to: bytes.endIndex, by: 2).map {
                let (first, second) = (UInt16(bytes[$0]), UInt16(bytes[$0 + 1]))
                return isLittle ? second << 8 | first : first << 8 | second
            }
            return String(validating: units, as: UTF16.self)
        }
    }

    private func text(_ bytes: ArraySlice<UInt8>, _ letter: (UInt8) -> Unicode.Scalar?) -> String? {
        var text = String.UnicodeScalarView()
        for byte in bytes {
            guard let letter = letter(byte) else { return nil }
            text.append(letter)
        }
        return String(text)
    }

    /// Control characters that texts do not have; tab, line feed, form feed and carriage return they do, and terminal
    /// output has escape.
    private static func isControl(_ byte: UInt8) -> Bool {
        byte < 0x20 && ![0x09, 0x0A, 0x0C, 0x0D, 0x1B].contains(byte) || byte == 0x7F
    }

    /// Nil for the five bytes that Windows-1252 leaves open.
    private static func windows1252Letter(_ byte: UInt8) -> Unicode.Scalar? {
        guard (0x80...0x9F).contains(byte) else { return Unicode.Scalar(byte) }
        let letter = windows1252Letters[Int(byte) - 0x80]
        return letter == 0 ? nil : Unicode.Scalar(letter)
    }

    /// Of 0x80 to 0x9F; 0 where there is none.
    private static let windows1252Letters: [UInt32] = [
        0x20AC, 0, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0, 0x017D, 0,
        0, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0, 0x017E,
        0x0178,
    ]
}
