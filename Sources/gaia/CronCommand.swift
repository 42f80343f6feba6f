import ArgumentParser
import FleetModel
import FleetStore
import Foundation

/// `gaia cron`
struct CronCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cron", abstract: "Jobs by the clock.",
        discussion: """
            Each tick of a schedule makes one job, however many dispatchers there are; its key is cron/NAME/TICK.
            """,
        subcommands: [Put.self, List.self, Pause.self, Resume.self, Remove.self])

    /// `gaia cron put`
    struct Put: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a schedule, or replace the one of this name.",
            discussion: """
                --every takes cron's five fields: MINUTE HOUR DAY MONTH WEEKDAY, as in '30 7 * * mon-fri', or @hourly,
                @daily, @weekly, @monthly, @yearly. They are meant by the clock of --zone, also when it is set forward
                or back: a time that is left out comes as soon as the clock has passed it, one that comes twice is taken
                once (a schedule for each hour is served twice).
                """)

        @OptionGroup var settings: SettingsOptions
        @Argument(help: "The schedule's name.")
        var name: String
        @Option(name: .long, help: "The cron expression.")
        var every: String
        @Option(name: .long, help: "The job type.")
        var type: String
        @Option(name: .long, help: "The payload as JSON.")
        var payload = "{}"
        @Option(name: .long, help: "The time zone, such as Europe/Berlin.")
        var zone = "UTC"
        @Option(name: .long, help: "What to do with ticks missed while no dispatcher ran: skip, last or all.")
        var catchUp = "skip"
        @Option(name: .long, help: "Whom the jobs are done for.")
        var subject: String?

        func run() async throws {
            try await report {
                let schedule = try checked()
                let next = try await settings.load().withStore("gaia cron put") { try await $0.put(schedule) }
                Terminal.print("\(name): first at \(next)")
            }
        }

        private func checked() throws -> CronSchedule {
            func usage(_ text: String) -> CommandFailure { CommandFailure(.usage, text) }
            guard !name.isEmpty, name.utf8.count <= CronSchedule.nameBytesMax, Job.flaw(inKey: name) == nil else {
                throw usage("the name must be 1 to \(CronSchedule.nameBytesMax) bytes of printable text")
            }
            guard let catchUp = CronSchedule.CatchUp(rawValue: catchUp) else {
                throw usage("--catch-up must be skip, last or all")
            }
            do {
                return CronSchedule(
                    name: name, expression: try CronExpression(every), zone: zone,
                    type: try JobType(validating: type), payload: try CanonicalJSON.text(of: Array(payload.utf8)),
                    catchUp: catchUp, subject: subject)
            } catch let error as InvalidCronExpression {
                throw usage("--every: \(error)")
            } catch let error as JobTypeError {
                throw usage("--type: \(error)")
            } catch {
                throw usage("--payload: \(error)")
            }
        }
    }

    /// `gaia cron list`
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the schedules.")

        @OptionGroup var settings: SettingsOptions
        @Flag(name: .long, help: "Print JSON.")
        var json = false

        struct Line: Encodable {
            let name, every, zone, type, payload, catchUp: String
            let paused: Bool
            let next: String
            let last: String?
        }

        func run() async throws {
            try await report {
                let lines = try await settings.load().withStore("gaia cron list") { try await $0.schedules() }.map {
                    Line(
                        name: $0.name, every: $0.expression, zone: $0.zone, type: $0.type, payload: $0.payload,
                        catchUp: $0.catchUp, paused: $0.paused, next: $0.nextAt, last: $0.lastAt)
                }
                if json { return Terminal.print(try Terminal.json(lines)) }
                Terminal.print(
                    Terminal.table(
                        ["schedule", "every", "zone", "type", "catch up", "next", "last"],
                        lines.map {
                            [
                                $0.name, $0.every, $0.zone, $0.type, $0.catchUp, $0.paused ? "paused" : $0.next,
                                $0.last ?? "-",
                            ]
                        }))
            }
        }
    }

    /// `gaia cron pause`
    struct Pause: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let a schedule rest; its ticks count as missed.")
        @OptionGroup var settings: SettingsOptions
        @Argument var name: String
        func run() async throws {
            try await CronCommand.change(name, settings, "paused") { try await $0.pauseSchedule($1, true) }
        }
    }

    /// `gaia cron resume`
    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Let a paused schedule go on.")
        @OptionGroup var settings: SettingsOptions
        @Argument var name: String
        func run() async throws {
            try await CronCommand.change(name, settings, "resumed") { try await $0.pauseSchedule($1, false) }
        }
    }

    /// `gaia cron remove`
    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a schedule; jobs that it has made stay.")
        @OptionGroup var settings: SettingsOptions
        @Argument var name: String
        func run() async throws {
            try await CronCommand.change(name, settings, "removed") { try await $0.removeSchedule($1) }
        }
    }

    private static func change(
        _ name: String, _ settings: SettingsOptions, _ word: String,
        _ change: @escaping @Sendable (FleetStore, String) async throws -> Bool
    ) async throws {
        try await report {
            guard try await settings.load().withStore("gaia cron", { try await change($0, name) }) else {
                throw CommandFailure(.notFound, "there is no schedule '\(name)'; gaia cron list")
            }
            Terminal.print("\(name): \(word)")
        }
    }
}
