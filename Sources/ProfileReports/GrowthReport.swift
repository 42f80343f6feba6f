/// How processes went on over time, as a page for any browser: nothing is fetched, and the plots are within it. They are drawn
/// here and not by gnuplot, which the benchmarks' pictures come from: the report shall be made where a fleet runs, where there is
/// none, and a picture of dots has no figures to point at.
public struct GrowthReport {
    private let record: GrowthRecord
    private let title: String

    public init(_ record: GrowthRecord, title: String) { (self.record, self.title) = (record, title) }

    /// The whole file.
    public var html: String {
        let plots = GrowthMeasure.allCases.map { measure in
            let unit = measure.isMemory ? ", MB" : ""
            return TimePlot(
                title: measure.title + unit,
                curves: record.processes.map { process in
                    let growth = Growth(measure, of: process)
                    let scale = measure.isMemory ? 1e6 : 1
                    return TimePlot.Curve(
                        name: process.name,
                        points: process.looks.map { ($0.seconds / 60, measure.value($0) / scale) },
                        line: growth.line.map { ($0.x / 60, $0.y / scale) })
                }, from: record.processes.map { Growth(measure, of: $0).from / 60 }.max() ?? 0
            ).svg
        }
        let jobs = TimePlot(
            title: "jobs done",
            curves: record.processes.map { process in
                TimePlot.Curve(name: process.name, points: process.looks.map { ($0.seconds / 60, Double($0.jobs)) })
            }, from: 0
        ).svg
        return """
            <!DOCTYPE html>
            <html lang="en"><head><meta charset="utf-8"/><meta name="viewport" content="width=device-width"/>
            <title>\(Markup.text(title))</title><style>\(Self.style)</style></head><body>
            <h1>\(Markup.text(title))</h1>
            \(record.processes.map(section).joined(separator: "\n"))
            <p class="note">The first fifth of the time is the warm-up (grey) and counts for nothing. Through the rest a \
            straight line is laid by least squares, over the jobs that were done, or over time when they were fewer than \
            \(FlameGraph.grouped(Growth.jobsMin)). The figure after ± is twice the slope's standard error, reckoned with how far \
            each look repeats the one before. A slope within it is chance; so is a change of less than 128 KiB, or of less \
            than one descriptor or thread, over the whole.</p>
            \((plots + [jobs]).joined(separator: "\n"))
            </body></html>

            """
    }

    private func section(_ process: GrowthRecord.Process) -> String {
        let growths = GrowthMeasure.allCases.map { Growth($0, of: process) }
        let rows = growths.map { growth in
            let (first, last) = (process.looks.first, process.looks.last)
            func value(_ look: GrowthRecord.Look?) -> String {
                guard let look else { return "–" }
                let value = growth.measure.value(look)
                return growth.measure.isMemory ? "\(Markup.number(value / 1e6)) MB" : Markup.number(value)
            }
            return """
                <tr><td>\(growth.measure.title)</td><td>\(value(first))</td><td>\(value(last))</td>\
                <td class="\(growth.verdict)">\(Markup.text(growth.words))</td></tr>
                """
        }
        let jobs = (process.looks.last?.jobs ?? 0) - (process.looks.first?.jobs ?? 0)
        let time = (process.looks.last?.seconds ?? 0) - (process.looks.first?.seconds ?? 0)
        let restarts = Set(process.looks.map(\.began)).count - 1
        let anew =
            restarts > 0 ? " It was started anew \(restarts) times: what came before the last is not judged." : ""
        return """
            <h2>\(Markup.text(process.name))</h2>
            <p>\(process.looks.count) looks in \(Markup.number(time / 60)) minutes, \
            \(restarts > 0 ? "" : "\(FlameGraph.grouped(max(jobs, 0))) jobs done.")\(anew)</p>
            <table><tr><th></th><th>first</th><th>last</th><th>after the warm-up</th></tr>\(rows.joined())</table>
            """
    }

    private static let style = """
        :root{color-scheme:light dark;--page:#fff;--ink:#1c1c1e;--soft:#5c5c66;--line:#d9d9e0;--pale:#8884}\
        @media(prefers-color-scheme:dark){:root{--page:#17181c;--ink:#ececf0;--soft:#a5a6b0;--line:#3a3b42}}\
        body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2.5em auto;padding:0 1.2em;\
        background:var(--page);color:var(--ink)}h1{font-size:1.5em}h2{font-size:1.15em;margin-top:1.6em}\
        table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.32em .8em .32em 0;\
        border-bottom:1px solid var(--line)}th{font-weight:500;color:var(--soft)}td:nth-child(2),td:nth-child(3)\
        {white-space:nowrap;font-variant-numeric:tabular-nums}.grows{color:#d1242f;font-weight:600}\
        .flat{color:#1a7f37}.shrinks{color:#1a7f37}.note{color:var(--soft);font-size:.9em}\
        svg{width:100%;height:auto;margin-top:1em}svg text{fill:var(--ink);font:13px system-ui,sans-serif}\
        svg .tick{fill:var(--soft);font-size:12px}svg .grid{stroke:var(--line)}svg .warm{fill:var(--pale);opacity:.35}
        """
}
