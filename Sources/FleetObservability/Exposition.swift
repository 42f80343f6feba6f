/// How metrics are written down.
public enum ExpositionFormat: Sendable, CaseIterable {
    /// Prometheus' text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/).
    case prometheus
    /// OpenMetrics 1.0.0 (https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md).
    case openMetrics

    /// The one that an `Accept` header asks for. Prometheus names its favourites first.
    public init(accepting values: [String]) {
        let isWanted = values.joined(separator: ",").split(separator: ",").contains { value in
            value.split(separator: ";").first?.filter { $0 != " " } == "application/openmetrics-text"
        }
        self = isWanted ? .openMetrics : .prometheus
    }

    public var contentType: String {
        switch self {
        case .prometheus: "text/plain; version=0.0.4; charset=utf-8"
        case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
        }
    }
}

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

    static func text(_ pages: [String: Page], _ format: ExpositionFormat) -> String {
        var text = ""
        let isOpen = format == .openMetrics
        for (name, page) in pages.sorted(by: { $0.key < $1.key }) {
            // OpenMetrics names a counter without the ending that its samples have.
            let family = isOpen && page.kind == .counter && name.hasSuffix("_total") ? String(name.dropLast(6)) : name
            // One that was named without could not be told there as a counter.
            let kind = isOpen && page.kind == .counter && family == name ? "unknown" : page.kind.rawValue
            if isOpen {
                text += "# TYPE \(family) \(kind)\n"
                if let unit = unit(of: family) { text += "# UNIT \(family) \(unit)\n" }
            }
            if let help = page.help { text += "# HELP \(family) \(escaped(help, quotes: isOpen))\n" }
            if !isOpen { text += "# TYPE \(family) \(kind)\n" }
            for row in page.rows.sorted(by: { $0.labels.lexicographicallyPrecedes($1.labels) }) {
                write(name, row, to: &text)
            }
        }
        return isOpen ? text + "# EOF\n" : text
    }

    private static func unit(of family: String) -> String? {
        ["seconds", "bytes", "ratio"].first { family.hasSuffix("_" + $0) }
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
