import ArgumentParser
import FleetConfiguration
import FleetStack

extension BenchCommand {
    /// `gaia bench idle`
    struct Idle: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Memory and processor time of processes that have nothing to do.",
            discussion: """
                Starts private servers, a dispatcher that leads, one that stands by, and a worker, gives them a quarter of a
                minute to come to rest, and then watches them. Memory is what the kernel counts as resident, most of it
                shared by all processes of this program.
                """)

        @Option(name: .long, help: "For how many seconds they are watched.")
        var seconds = 60
        @OptionGroup var output: BenchOutput

        private static let settling: Duration = .seconds(15)

        func validate() throws {
            if seconds < 1 { throw ValidationError("--seconds must be positive") }
        }

        func run() async throws {
            try await output.report(title: "processes at rest") {
                try await withBenchStack { loaded, fleet, stack in
                    let rows = try await loaded.withStore("gaia bench") { store in
                        try await store.migrate()
                        try fleet.start("dispatcher", name: "leader")
                        try await fleet.awaitReady(store, workers: 0, within: .seconds(60))
                        try fleet.start("dispatcher", name: "standby")
                        try fleet.start("worker", name: "worker")
                        try await fleet.awaitReady(store, workers: 1, within: .seconds(60))
                        let rows = try await watch(fleet, ["leader", "standby", "worker"])
                        try await fleet.stop()
                        return rows
                    }
                    return (try await Machine.here(stack, loaded), IdleFigures(seconds: seconds, processes: rows))
                }
            }
        }

        private func watch(_ fleet: Fleet, _ names: [String]) async throws -> [IdleFigures.Process] {
            Progress.shared.show("they come to rest …")
            try await Task.sleep(for: Self.settling)
            let begin = ContinuousClock.now
            let before = names.map { fleet.processorSeconds(of: $0) }
            var bytes = [[Double]](repeating: [], count: names.count)
            for second in 1...seconds {
                Progress.shared.show("\(Progress.bar(second, of: seconds)) \(second) of \(seconds) s")
                try await Task.sleep(for: .seconds(1))
                for (index, name) in names.enumerated() {
                    bytes[index].append(Double(fleet.residentBytes(of: name) ?? 0))
                }
            }
            let span = (ContinuousClock.now - begin).inSeconds
            return try zip(zip(names, before), bytes).map { process, bytes in
                guard let before = process.1, let after = fleet.processorSeconds(of: process.0) else {
                    throw CommandFailure(.workFailed, "\(process.0) ended; its log: \(fleet.logFile(of: process.0))")
                }
                return IdleFigures.Process(
                    name: process.0, medianBytes: median(bytes), largestBytes: bytes.max() ?? 0,
                    corePercent: (after - before) / span * 100, bytes: bytes)
            }
        }
    }
}

/// What `gaia bench idle` measured.
private struct IdleFigures: BenchFigures {
    struct Process: Encodable, Sendable {
        let name: String
        let medianBytes, largestBytes: Double
        /// Of one core's time, in hundredths.
        let corePercent: Double
        /// Each second.
        let bytes: [Double]
    }

    let seconds: Int
    let processes: [Process]

    var text: String {
        Terminal.table(
            ["process", "median memory", "most", "of a core"],
            processes.map {
                [
                    $0.name, Terminal.megabytes(Int($0.medianBytes)), Terminal.megabytes(Int($0.largestBytes)),
                    String(format: "%.2f %%", $0.corePercent),
                ]
            }) + "\nOver \(seconds) s, from a quarter of a minute after the start on."
    }

    var axis: String { "seconds" }
    var panels: [Plot.Panel] {
        [
            Plot.Panel(
                title: "resident memory, MB",
                curves: processes.map { process in
                    Plot.Curve(
                        name: process.name,
                        points: process.bytes.enumerated().map { (Double($0.offset + 1), $0.element / 1e6) })
                })
        ]
    }
}
