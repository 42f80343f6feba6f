import ArgumentParser
import CFloor
import FleetConfiguration
import FleetModel
import FleetStack
import Foundation

/// What a benchmark measured, as it is printed, drawn and kept.
protocol BenchFigures: Encodable, Sendable {
    /// For a terminal.
    var text: String { get }
    /// What the pictures' horizontal axis shows, with its unit.
    var axis: String { get }
    var panels: [Plot.Panel] { get }
}

/// On what it was measured.
struct Machine: Encodable, Sendable {
    let processor: String
    let cores: Int
    let memoryBytes: Int
    let system: String
    /// Of gaia, the servers, and the C libraries.
    let versions: [String: String]

    static func here(_ stack: Stack, _ loaded: FleetConfiguration) async throws -> Machine {
        let processors = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        let model = processors.split(separator: "\n").first { $0.hasPrefix("model name") }
        let system = ProcessInfo.processInfo.operatingSystemVersionString
        return Machine(
            processor: model?.split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) } ?? "unknown",
            cores: ProcessInfo.processInfo.activeProcessorCount,
            memoryBytes: Int(ProcessInfo.processInfo.physicalMemory), system: system,
            versions: [
                "gaia": FleetModel.version,
                "RabbitMQ": try await stack.broker.control(["version"]).trimmingCharacters(in: .whitespacesAndNewlines),
                "PostgreSQL": try await loaded.withStore("gaia bench") { try await $0.serverVersion() },
                "librabbitmq": String(cString: gaia_floor_librabbitmq()), "libpq": String(cString: gaia_floor_libpq()),
            ])
    }

    var text: String {
        let servers = versions.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        return "\(processor), \(cores) cores, \(memoryBytes >> 30) GiB, \(system)\n\(servers); "
            + "servers, fleet and benchmark on this one machine"
    }
}

/// Where the figures go.
struct BenchOutput: ParsableArguments {
    @Flag(name: .long, help: "Print JSON.")
    var json = false
    @Option(name: .long, help: "Draw a picture into this PNG file.")
    var plot: String?

    private struct Report<Figures: BenchFigures>: Encodable {
        let machine: Machine
        let figures: Figures
    }

    /// Measures, prints, and draws.
    func report<Figures: BenchFigures>(
        title: String, _ measure: @Sendable @escaping () async throws -> (Machine, Figures)
    ) async throws {
        try await gaia.report {
            if let plot { try Plot.prepare(plot) }
            let (machine, figures) = try await measure()
            Terminal.print(
                json
                    ? try Terminal.json(Report(machine: machine, figures: figures))
                    : "\(machine.text)\n\n\(figures.text)")
            if let plot {
                try await Plot(title: title, axis: figures.axis, panels: figures.panels).write(to: plot)
                Terminal.error("the picture is in \(plot)")
            }
        }
    }
}

/// The middle one of some values; of an even number, the mean of the two in the middle.
func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    guard !sorted.isEmpty else { return 0 }
    let middle = sorted.count / 2
    return sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
}

/// Figures of several rounds in a table: the slowest, the median, the fastest.
func spanCells(_ rates: [Double]) -> [String] {
    [rates.min() ?? 0, median(rates), rates.max() ?? 0].map { Terminal.grouped(Int($0)) }
}

extension Plot.Curve {
    /// A figure for each round, or each measurement, in their order.
    init(name: String, rounds: [Double]) {
        self.init(name: name, points: rounds.enumerated().map { (Double($0.offset + 1), $0.element) })
    }
}
