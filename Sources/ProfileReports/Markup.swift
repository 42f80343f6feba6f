/// Texts and numbers as XML and HTML want them.
enum Markup {
    /// Also for attributes. What XML has no place for, control characters, becomes a question mark.
    static func text(_ text: some StringProtocol) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "\u{0}"..<" ", "\u{FFFE}", "\u{FFFF}": escaped += "?"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    /// With two decimals at most.
    static func number(_ value: Double) -> String {
        let hundredths = (value * 100).rounded()
        guard hundredths.isFinite, abs(hundredths) < 1e15 else { return "0" }
        let whole = hundredths / 100
        return whole == whole.rounded() ? String(Int(whole)) : String(whole)
    }

    static func percent(_ share: Double) -> String { "\(number((share * 10_000).rounded() / 100)) %" }
}
