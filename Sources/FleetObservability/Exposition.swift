/// Prometheus' text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/).
enum Exposition {
    /// All rows of one name.
    struct Page {
        let kind: MetricKind
        let help: String?
        var rows: [Row]
    }

    struct Row {
        let labels: [MetricLabel]
        let value: SeriesValue
    }

    static func text(_ pages: [String: Page]) -> String {
        var text = ""
        for (name, page) in pages.sorted(by: { $0.key < $1.key }) {
            if let help = page.help { text += "# HELP \(name) \(escaped(help, quotes: false))\n" }
            text += "# TYPE \(name) \(page.kind.rawValue)\n"
            for row in page.rows.sorted(by: { $0.labels.lexicographicallyPrecedes($1.labels) }) {
                write(name, row, to: &text)
            }
        }
        return text
    }

    private static func write(_ name: String, _ row: Row, to text: inout String) {
        switch row.value {
        case .number(let value): text += "\(name)\(braces(row.labels)) \(number(value))\n"
        case .histogram(let bounds, let counts, let count, let sum):
            for (bound, upTo) in zip(bounds.map(number) + ["+Inf"], counts + [count]) {
                text += "\(name)_bucket\(braces(row.labels + [MetricLabel(name: "le", value: bound)])) \(upTo)\n"
            }
            text += "\(name)_sum\(braces(row.labels)) \(number(sum))\n"
            text += "\(name)_count\(braces(row.labels)) \(count)\n"
        }
    }

    private static func braces(_ labels: [MetricLabel]) -> String {
        labels.isEmpty
            ? "" : "{" + labels.map { "\($0.name)=\"\(escaped($0.value, quotes: true))\"" }.joined(separator: ",") + "}"
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        var escaped = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            case "\"" where quotes: escaped += "\\\""
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }

    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        return value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)"
    }
}
