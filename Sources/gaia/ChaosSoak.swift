import ArgumentParser
import FleetChaos
import FleetStack
import Foundation

extension ChaosCommand {
    /// `gaia chaos soak`
    struct Soak: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run the fleet in peace for an hour, and see whether anything grows.",
            discussion: """
                The same fleet, jobs, target and promises as of a run, without faults and without jobs that kill their workers.
                Memory, descriptors, threads and sockets of each process are looked at every second. What is larger at the end
                than it was after the first minutes has grown: exit status 1.
                """)

        @OptionGroup var crew: Crew
        @Option(name: .long, help: "How long.")
        var minutes = 60
        @Option(name: .long, help: "How many jobs a second.")
        var rate = 100
        @Option(
            name: .long, help: ArgumentHelp("Draw what was seen into this PNG file; needs gnuplot.", valueName: "file"))
        var plot: String?
        @Option(name: .long, help: ArgumentHelp("Write what was seen into this JSON file.", valueName: "file"))
        var json: String?

        func validate() throws {
            if minutes < 1 || rate < 1 { throw ValidationError("it takes a minute and a job a second at least") }
        }

        func run() async throws {
            try await report {
                if let plot { try Plot.prepare(plot) }
                if let json { try requireWritable(json) }
                var options = crew.options()
                options.jobs = minutes * 60 * rate
                options.faults = []
                options.length = .seconds(minutes * 60)
                options.hasPoison = false
                Terminal.error(
                    "seed \(crew.seed): \(minutes) min, \(rate) jobs/s, \(crew.workers) workers, "
                        + "\(crew.dispatchers) dispatchers")
                let result = try await ChaosCommand.perform(options, keep: false)
                Terminal.print(result.text(verbose: false) + "\n\n" + result.footprint.text)
                if let json {
                    try JSONEncoder().encode(result.footprint).write(to: URL(fileURLWithPath: json))
                }
                if let plot { try await picture(result.footprint).write(to: plot) }
                if let failure = result.failure { throw failure }
                let courses = result.footprint.courses
                guard !courses.isEmpty else { throw CommandFailure(.inside, "it ended too soon to tell what grows") }
                if courses.contains(where: { !$0.isFlat }) || !result.violations.isEmpty {
                    throw ExitCode(FailureStatus.workFailed.rawValue)
                }
            }
        }

        private func picture(_ footprint: Footprint) -> Plot {
            func panel(_ title: String, _ measure: Footprint.Measure, of names: [String], in unit: Double = 1)
                -> Plot.Panel
            {
                Plot.Panel(
                    title: title,
                    curves: names.map { name in
                        Plot.Curve(
                            name: name,
                            points: footprint.values(measure, of: name).map { ($0.at / 60, $0.value / unit) })
                    })
            }
            let processes = footprint.processes
            return Plot(
                title: "seed \(crew.seed), \(rate) jobs/s", axis: "minutes",
                panels: [
                    panel("resident memory, MB", .memory, of: processes, in: 1_048_576),
                    panel("descriptors", .descriptors, of: processes), panel("threads", .threads, of: processes),
                    panel("sockets", .sockets, of: processes),
                    panel("connections to the database", .connections, of: ["fleet"]),
                ])
        }
    }
}

extension Footprint {
    /// A line for each process; what has grown is said.
    var text: String {
        let courses = courses
        func cell(_ course: Course?) -> String {
            guard let course else { return "-" }
            func number(_ value: Double) -> String {
                course.measure == .memory ? String(format: "%.1f", value / 1_048_576) : String(format: "%.0f", value)
            }
            return "\(number(course.early)) → \(number(course.late))" + (course.isFlat ? "" : " GROWN")
        }
        let measures: [Measure] = [.memory, .descriptors, .threads, .sockets]
        let rows = processes.map { name in
            [name] + measures.map { measure in cell(courses.first { $0.name == name && $0.measure == measure }) }
        }
        let connections = courses.first { $0.measure == .connections }
        return Terminal.table(["process", "memory, MB", "descriptors", "threads", "sockets"], rows)
            + "\nconnections of the fleet to the database: \(cell(connections))"
    }
}
