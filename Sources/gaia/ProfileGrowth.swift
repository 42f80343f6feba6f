import ArgumentParser
import FleetProfiler
import Foundation
import ProfileReports

/// `gaia profile growth`
struct ProfileGrowthCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "growth",
        abstract: "Watch processes for a while, and say whether their memory grows with what they do.",
        discussion: """
            --output is a page for any browser; what it was made of stands beside it, as JSON, and can be given instead of \
            URLs to make it again. A process that cannot be asked for a while leaves a gap.
            """)

    @Argument(help: ArgumentHelp("The processes' admin listeners, or one file of looks.", valueName: "url"))
    var sources: [String]
    @OptionGroup var target: ProfileTarget
    @Option(name: .long, help: "How long, in minutes.")
    var minutes = 10.0
    @Option(name: .long, help: ArgumentHelp("How long from one look to the next, in seconds.", valueName: "seconds"))
    var every = 5.0
    @Option(name: .long, help: ArgumentHelp("Write the report, HTML.", valueName: "file"))
    var output = "growth.html"

    private static let looksMax = 100_000.0

    func run() async throws {
        try await report {
            guard (0.05...10_080).contains(minutes), (0.2...3_600).contains(every),
                minutes * 60 / every <= Self.looksMax
            else {
                throw CommandFailure(
                    .usage, "--minutes is from 0.05 to 10080, --every from 0.2 s to 3600 s, with 100,000 looks at most")
            }
            try requireWritable(output)
            let record: GrowthRecord
            if sources.count == 1, FileManager.default.fileExists(atPath: sources[0]) {
                record = try read(sources[0])
            } else {
                record = try await watch()
                try writeFile(try Terminal.json(record) + "\n", to: looksFile)
            }
            try writeFile(
                GrowthReport(record, title: "Growth: \(record.processes.map(\.name).joined(separator: ", "))").html,
                to: output)
            Terminal.print(text(record))
        }
    }

    /// `report.json` beside `report.html`.
    private var looksFile: String {
        URL(fileURLWithPath: output).deletingPathExtension().appendingPathExtension("json").path
    }

    private func read(_ path: String) throws -> GrowthRecord {
        do {
            return try JSONDecoder().decode(GrowthRecord.self, from: try Data(contentsOf: URL(fileURLWithPath: path)))
        } catch {
            throw CommandFailure(.refused, "\(path) is no file of looks, as --output has beside it")
        }
    }

    private func watch() async throws -> GrowthRecord {
        try await ProfileClient.use(sources, tokenFile: target.tokenFile) { clients in
            var record = GrowthRecord([])
            for client in clients { record.processes.append(.init(name: try await client.name())) }
            let begin = ContinuousClock.now
            let end = begin + .seconds(minutes * 60)
            var next = begin
            while true {
                for (index, client) in clients.enumerated() {
                    // The first must succeed: it tells a wrong token, or an older program.
                    do { record.processes[index].looks.append(try await client.look(since: begin)) } catch {
                        if record.processes[index].looks.isEmpty { throw error }
                    }
                }
                next += .seconds(every)
                if next > end { break }
                let done = (.now - begin) / (end - begin)
                Progress.shared.show(
                    "\(Progress.bar(Int(done * 100), of: 100))  \(String(format: "%.1f", done * minutes)) of \(minutes) minutes"
                )
                try await Task.sleep(until: next)
            }
            Progress.shared.clear()
            return record
        }
    }

    private func text(_ record: GrowthRecord) -> String {
        let rows = record.processes.flatMap { process in
            GrowthMeasure.allCases.map { [process.name, $0.title, Growth($0, of: process).words] }
        }
        return Terminal.table(["process", "measure", "after the warm-up"], rows) + "\n\n\(output)"
    }
}

extension ProfileClient {
    fileprivate func look(since begin: ContinuousClock.Instant) async throws -> GrowthRecord.Look {
        let (memory, _) = try await document(ProfilePages.memoryPath, MemorySnapshot.self)
        let at = (ContinuousClock.now - begin) / .seconds(1)
        let metrics = String(decoding: try await get("metrics").body, as: UTF8.self)
        /// Of all series of a family.
        func sum(_ family: String) -> Double {
            metrics.split(separator: "\n").reduce(0) { sum, line in
                guard line.hasPrefix(family), let next = line.dropFirst(family.count).first, next == " " || next == "{",
                    let value = line.split(separator: " ").last.flatMap({ Double($0) })
                else { return sum }
                return sum + value
            }
        }
        return GrowthRecord.Look(
            seconds: at, began: sum("process_start_time_seconds"), resident: memory.resident ?? 0,
            heap: memory.heap.inUse,
            descriptors: memory.descriptors, threads: memory.threads, jobs: Int(sum("gaia_jobs_total")))
    }
}
