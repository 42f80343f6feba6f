import FleetStack
import Foundation

/// A picture of curves over time, drawn by gnuplot.
struct Plot {
    struct Curve {
        let name: String
        let points: [(x: Double, y: Double)]
    }

    struct Panel {
        let title: String
        let curves: [Curve]
    }

    let title: String
    /// What the horizontal axes show, with its unit.
    let axis: String
    let panels: [Panel]

    /// Told before long work, not after it.
    ///
    /// - Throws: ``CommandFailure`` when there is no gnuplot, or the file cannot be written.
    static func prepare(_ path: String) throws {
        try requireWritable(path)
        do { _ = try ChildProcess.located("gnuplot") } catch {
            throw CommandFailure(
                .unavailable, "--plot needs gnuplot: apt-get install gnuplot-nox, or leave the option out")
        }
    }

    /// Draws the panels below each other into a PNG file.
    func write(to path: String) async throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("gaia-plot-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let script = directory.appendingPathComponent("plot.gp")
        try text(writingTo: path).write(to: script, atomically: true, encoding: .utf8)
        let gnuplot = try ChildProcess.start(executable: "gnuplot", arguments: [script.path], output: .capture)
        let status = await gnuplot.exitStatus()
        guard status.isSuccess else {
            throw CommandFailure(.inside, "gnuplot \(status): \(gnuplot.capturedOutput)")
        }
    }

    private func text(writingTo path: String) -> String {
        var lines = [
            "set terminal pngcairo size 1200,\(80 + 260 * panels.count) noenhanced background 'white' font 'sans,11'",
            "set output \(quoted(path))",
            "set multiplot layout \(panels.count),1 title \(quoted(title)) font ',14'",
            "set xlabel \(quoted(axis))", "set key outside right top", "set grid ytics lc rgb '#dddddd'",
            "set lmargin 8", "set rmargin 24", "set autoscale xfix", "set yrange [0:*]", "set border 3",
            "set tics nomirror",
            "set offsets 0, 0, graph 0.1, 0",
        ]
        for (number, panel) in panels.enumerated() {
            for (index, curve) in panel.curves.enumerated() {
                lines.append("$data_\(number)_\(index) << END")
                lines += curve.points.map { "\($0.x) \($0.y)" }
                lines.append("END")
            }
            lines.append("set title \(quoted(panel.title))")
            let curves = panel.curves.enumerated().map { index, curve in
                "$data_\(number)_\(index) using 1:2 with lines lw 1.5 title \(quoted(curve.name))"
            }
            lines.append("plot " + curves.joined(separator: ", "))
        }
        lines.append("unset multiplot")
        return lines.joined(separator: "\n") + "\n"
    }

    /// Gnuplot knows no escape within single quotes but the quote doubled.
    private func quoted(_ text: String) -> String { "'" + text.replacingOccurrences(of: "'", with: "''") + "'" }
}

/// An hour's work is not to be for nothing.
func requireWritable(_ path: String) throws {
    let directory = URL(fileURLWithPath: path).deletingLastPathComponent().path
    guard FileManager.default.isWritableFile(atPath: directory) else {
        throw CommandFailure(.usage, "\(path): nothing can be written in \(directory)")
    }
}
