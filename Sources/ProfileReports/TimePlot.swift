/// Curves over minutes, as an SVG for within a page.
struct TimePlot {
    struct Curve {
        let name: String
        let points: [(x: Double, y: Double)]
        /// Laid through them.
        var line: [(x: Double, y: Double)] = []
    }

    let title: String
    let curves: [Curve]
    /// What comes before it is shaded.
    let from: Double

    private static let (width, height) = (960.0, 250.0)
    private static let (left, right, top, bottom) = (64.0, 14.0, 34.0, 34.0)
    private static let colours = ["#2f7de1", "#e07b1a", "#1f9d63", "#b44ad6", "#d1435b", "#7a7f87"]
    /// Dots of a curve at most, so that a day's report is no larger than an hour's.
    private static let dotsMax = 600

    var svg: String {
        let all = curves.flatMap(\.points)
        let (low, high) = Self.range(all.map(\.y))
        let end = max(all.map(\.x).max() ?? 0, 0.01)
        func x(_ value: Double) -> Double { Self.left + value / end * (Self.width - Self.left - Self.right) }
        func y(_ value: Double) -> Double {
            Self.height - Self.bottom - (value - low) / (high - low) * (Self.height - Self.top - Self.bottom)
        }
        let base = Self.height - Self.bottom
        var svg = """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Markup.number(Self.width)) \(Markup.number(Self.height))" \
            role="img" aria-label="\(Markup.text(title))"><text x="0" y="18" style="font-weight:600">\(Markup.text(title))</text>
            """
        if from > 0 {
            svg += """
                <rect class="warm" x="\(Markup.number(Self.left))" y="\(Markup.number(Self.top))" \
                width="\(Markup.number(x(min(from, end)) - Self.left))" height="\(Markup.number(base - Self.top))"/>
                """
        }
        for tick in Self.ticks(low, high) {
            svg += """
                <line class="grid" x1="\(Markup.number(Self.left))" x2="\(Markup.number(Self.width - Self.right))" \
                y1="\(Markup.number(y(tick)))" y2="\(Markup.number(y(tick)))"/>\
                <text class="tick" text-anchor="end" x="\(Markup.number(Self.left - 8))" \
                y="\(Markup.number(y(tick) + 4))">\(Self.label(tick))</text>
                """
        }
        for tick in Self.ticks(0, end) {
            svg += """
                <text class="tick" text-anchor="middle" x="\(Markup.number(x(tick)))" \
                y="\(Markup.number(base + 18))">\(Markup.number(tick))</text>
                """
        }
        svg += """
            <text class="tick" text-anchor="end" x="\(Markup.number(Self.width - Self.right))" \
            y="\(Markup.number(Self.height - 2))">minutes</text>
            """
        for (index, curve) in curves.enumerated() {
            svg += drawn(curve, Self.colours[index % Self.colours.count], index, x, y)
        }
        return svg + "</svg>"
    }

    private func drawn(
        _ curve: Curve, _ colour: String, _ index: Int, _ x: (Double) -> Double, _ y: (Double) -> Double
    ) -> String {
        func path(_ points: [(x: Double, y: Double)]) -> String {
            points.map { "\(Markup.number(x($0.x))),\(Markup.number(y($0.y)))" }.joined(separator: " ")
        }
        let every = max(1, (curve.points.count + Self.dotsMax - 1) / Self.dotsMax)
        var svg = """
            <polyline fill="none" stroke="\(colour)" stroke-width="1.3" opacity=".55" points="\(path(curve.points))"/>
            """
        for (number, point) in curve.points.enumerated() where number % every == 0 {
            svg += """
                <circle cx="\(Markup.number(x(point.x)))" cy="\(Markup.number(y(point.y)))" r="2.2" fill="\(colour)">\
                <title>\(Markup.text(curve.name)): \(Markup.number(point.y)) at \(Markup.number(point.x)) min</title></circle>
                """
        }
        if let first = curve.line.first, let last = curve.line.last {
            // Over jobs it is straight, over time only as far as their pace is even.
            let inner = curve.line.count > 100 ? [first, curve.line[curve.line.count / 2], last] : curve.line
            svg += """
                <polyline fill="none" stroke="\(colour)" stroke-width="2" stroke-dasharray="7 5" points="\(path(inner))"/>
                """
        }
        return svg + """
            <text text-anchor="end" x="\(Markup.number(Self.width - Self.right - Double(index) * 190))" y="18" \
            style="fill:\(colour)">\(Markup.text(String(curve.name.prefix(26))))</text>
            """
    }

    /// With some air, and never of no height.
    private static func range(_ values: [Double]) -> (low: Double, high: Double) {
        let (low, high) = (values.min() ?? 0, values.max() ?? 1)
        let air = max((high - low) * 0.15, max(abs(high) * 0.03, 0.5))
        return (max(0, low - air), high + air)
    }

    /// Round numbers within a range, about five.
    static func ticks(_ low: Double, _ high: Double) -> [Double] {
        var step = 1e-3
        var factors = [2, 2.5, 2]
        while (high - low) / step > 6 {
            step *= factors[0]
            factors.append(factors.removeFirst())
        }
        var ticks: [Double] = []
        var tick = (low / step).rounded(.up) * step
        while tick <= high + step / 1_000, ticks.count < 12 {
            ticks.append(tick)
            tick += step
        }
        return ticks
    }

    private static func label(_ value: Double) -> String {
        abs(value) >= 10_000 ? FlameGraph.grouped(Int(value.rounded())) : Markup.number(value)
    }
}
