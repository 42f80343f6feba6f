/// How a piece of text looks. What it means stands in the text too: a terminal may have no colours.
public enum Style: Sendable {
    case plain, strong, dim, good, warning, bad
    /// Light on dark where the rest is dark on light, or the other way round.
    case inverse
}

/// One line of a screen.
public struct StyledLine: Sendable, Equatable {
    public struct Piece: Sendable, Equatable {
        public var text: String
        public var style: Style
    }

    public private(set) var pieces: [Piece] = []

    public init() {}
    init(_ text: String, _ style: Style = .plain) { append(text, style) }

    /// - Parameter text: may come from anywhere; what would move the cursor is taken out.
    mutating func append(_ text: String, _ style: Style = .plain) {
        pieces.append(Piece(text: Columns.printable(text), style: style))
    }

    mutating func append(_ other: StyledLine) { pieces += other.pieces }

    public var text: String { pieces.map(\.text).joined() }
    var width: Int { pieces.reduce(0) { $0 + Columns.width($1.text) } }

    /// The same in no more columns, with … where something was cut.
    func cut(to width: Int) -> StyledLine {
        if self.width <= width { return self }
        var line = StyledLine()
        var left = width
        for piece in pieces where left > 0 {
            let own = Columns.width(piece.text)
            // The … must fit too, so a piece that just fits and is not the last is cut as well.
            let text = own < left ? piece.text : Columns.cut(piece.text + " ", to: left)
            line.append(text, piece.style)
            left -= Columns.width(text)
        }
        return line
    }

    /// The same with `other` at the right end of so many columns; without it where there is no room.
    func with(right other: StyledLine, in width: Int, _ between: Style = .plain) -> StyledLine {
        let space = width - self.width - other.width
        guard space >= 2 else { return cut(to: width) }
        var line = self
        line.append(String(repeating: " ", count: space), between)
        line.append(other)
        return line
    }

    /// The same, filled to so many columns in one style.
    func filled(to width: Int, _ style: Style) -> StyledLine {
        var line = cut(to: width)
        line.append(String(repeating: " ", count: max(0, width - line.width)), style)
        return line
    }
}

/// How many columns of a terminal text takes.
enum Columns {
    static func width(_ text: String) -> Int {
        // Most text is ASCII.
        text.utf8.allSatisfy { $0 < 0x80 } ? text.utf8.count : text.reduce(0) { $0 + width($1) }
    }

    private static func width(_ character: Character) -> Int {
        guard let first = character.unicodeScalars.first else { return 0 }
        let properties = first.properties
        if properties.isEmojiPresentation || character.unicodeScalars.contains("\u{FE0F}") { return 2 }
        switch properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format, .control: return 0
        default: return isWide(first.value) ? 2 : 1
        }
    }

    /// East Asian wide and full-width characters (Unicode Standard Annex 11).
    private static func isWide(_ value: UInt32) -> Bool {
        switch value {
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xA000...0xA4CF,
            0xA960...0xA97F, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6,
            0x1F300...0x1F64F, 0x1F900...0x1F9FF, 0x20000...0x3FFFD:
            true
        default: false
        }
    }

    /// The same with … at its end when it takes more than `width` columns.
    static func cut(_ text: String, to width: Int) -> String {
        if self.width(text) <= width { return text }
        guard width > 0 else { return "" }
        var kept = ""
        var used = 0
        for character in text {
            let own = self.width(character)
            if used + own > width - 1 { break }
            kept.append(character)
            used += own
        }
        return kept + "…"
    }

    /// Without control characters, which a name or an error from elsewhere may hold.
    static func printable(_ text: String) -> String {
        func isControl(_ scalar: Unicode.Scalar) -> Bool {
            switch scalar.properties.generalCategory {
            case .control, .lineSeparator, .paragraphSeparator: true
            // Of format characters those that turn the direction of writing.
            case .format: (0x202A...0x202E).contains(scalar.value) || (0x2066...0x2069).contains(scalar.value)
            default: false
            }
        }
        guard text.unicodeScalars.contains(where: isControl) else { return text }
        var clean = String.UnicodeScalarView()
        for scalar in text.unicodeScalars { clean.append(isControl(scalar) ? " " : scalar) }
        return String(clean)
    }

    /// Words in lines of no more than `width` columns; a word that is longer is cut.
    static func wrapped(_ text: String, width: Int) -> [String] {
        var lines: [String] = []
        var line = ""
        for word in printable(text).split(separator: " ") {
            let word = cut(String(word), to: width)
            if !line.isEmpty, self.width(line) + 1 + self.width(word) > width {
                lines.append(line)
                line = ""
            }
            line += line.isEmpty ? word : " \(word)"
        }
        return line.isEmpty ? lines : lines + [line]
    }
}
