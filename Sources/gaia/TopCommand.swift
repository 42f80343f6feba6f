import ArgumentParser
import FleetConfiguration
import FleetDoctor
import FleetTop
import Foundation

/// `gaia top`
struct TopCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Watch the fleet live on a terminal.",
        discussion: """
            Queues, rates, latencies, workers, the leader, and what is amiss with its remedy; ? explains keys and columns.
            It only looks, never at the table of jobs, and stays when broker or database are away. While it runs, workers
            report at each look, at most twice a second, instead of with every third of their lease.

            Exit status 64 where there is no terminal; with --once 69 when broker or database did not answer.
            """)

    @OptionGroup var settings: SettingsOptions
    @Option(name: .long, help: "Seconds between two looks.")
    var interval = 1.0
    @Flag(name: .long, help: "Print one picture in plain text, for which no terminal is needed.")
    var once = false

    func validate() throws {
        guard (0.5...3_600).contains(interval) else { throw ValidationError("--interval is from 0.5 to 3600 seconds") }
    }

    func run() async throws {
        try await report {
            let loaded = try settings.load()
            let amqp = try loaded.amqp("gaia top")
            let run = TopRun(
                amqp: amqp, database: try loaded.database("gaia top"),
                management: try loaded.management(fallback: amqp), known: Catalogue.subsystems,
                interval: .milliseconds(Int(interval * 1_000)))
            var status: Int32 = 0
            if once {
                let columns = ProcessInfo.processInfo.environment["COLUMNS"].flatMap(Int.init) ?? 100
                let (text, isComplete) = await run.once(columns: max(columns, 40))
                Terminal.print(text)
                if !isComplete { status = FailureStatus.unavailable.rawValue }
            } else {
                do { try await run.draw() } catch let refusal as Screen.Refusal {
                    throw CommandFailure(.usage, "\(refusal)")
                }
            }
            // The watches may wait for a server that hangs, and hold nothing that needs an orderly end.
            _exit(status)
        }
    }
}
