import FleetStore
import Foundation

/// Figures as they are shown.
enum Words {
    static let unknown = "–"

    static func count(_ number: Int) -> String {
        var text = ""
        for (index, digit) in String(number.magnitude).reversed().enumerated() {
            if index > 0, index % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return (number < 0 ? "-" : "") + String(text.reversed())
    }

    static func count(_ number: Int?) -> String { number.map(count) ?? unknown }

    static func jobs(_ number: Int) -> String { number == 1 ? "1 job was" : "\(count(number)) jobs were" }

    /// A count that was not carried on beyond ``FleetGlance/countMax``.
    static func capped(_ number: Int) -> String {
        number >= FleetGlance.countMax ? count(FleetGlance.countMax) + "+" : count(number)
    }

    /// A number per second.
    static func rate(_ rate: Double?) -> String {
        guard let rate else { return unknown }
        return rate >= 99.95 ? count(Int(rate.rounded())) : tenths(rate)
    }

    private static func tenths(_ number: Double) -> String {
        let tenths = Int((number * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }

    /// A latency in seconds, in five characters.
    static func latency(_ seconds: Double?) -> String {
        guard let seconds else { return unknown }
        if seconds < 0.001 { return "<1ms" }
        if seconds < 0.9995 { return "\(Int((seconds * 1_000).rounded()))ms" }
        if seconds < 9.95 { return tenths(seconds) + "s" }
        return span(seconds).filter { $0 != " " }
    }

    /// Two quantiles.
    static func quantiles(_ counts: LatencyCounts?) -> String {
        guard let counts, let half = counts.quantile(0.5), let most = counts.quantile(0.95) else { return unknown }
        return "\(latency(half))/\(latency(most))"
    }

    /// A time as people say it, as in `45 s`, `12 min`, `3 h`, `2 d`.
    static func span(_ seconds: Double) -> String {
        let whole = Int(max(0, seconds).rounded())
        if whole < 100 { return "\(whole) s" }
        if whole < 100 * 60 { return "\(whole / 60) min" }
        return whole < 48 * 3_600 ? "\(whole / 3_600) h" : "\(whole / 86_400) d"
    }

    /// The order of names as people number them: `worker-2` is before `worker-10`.
    static func precedes(_ one: String, _ other: String) -> Bool {
        switch one.compare(other, options: .numeric) {
        case .orderedAscending: true
        case .orderedDescending: false
        // Such as `w1` and `w01`.
        case .orderedSame: one < other
        }
    }

    /// Some names, in order, and how many more there are.
    static func list(_ names: [String]) -> String {
        let names = names.sorted(by: precedes)
        let shown = names.prefix(AlarmBounds.namesMax).joined(separator: ", ")
        let rest = names.count - AlarmBounds.namesMax
        return rest > 0 ? "\(shown) and \(rest) more" : shown
    }

    /// A curve of the last `width` points, as high as its highest.
    static func curve(_ points: [Double], width: Int) -> String {
        let shown = points.suffix(max(0, width))
        let highest = shown.max() ?? 0
        let steps = Array("▁▂▃▄▅▆▇█")
        return String(
            shown.map {
                highest > 0 ? steps[min(steps.count - 1, Int($0 / highest * Double(steps.count - 1) + 0.5))] : "▁"
            })
    }
}
