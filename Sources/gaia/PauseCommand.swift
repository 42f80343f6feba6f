import ArgumentParser
import FleetModel
import FleetStore

/// What a person may let rest.
struct PauseScope: ExpressibleByArgument {
    let name: String

    init?(argument: String) {
        if argument == "all" {
            name = Pauses.fleet
        } else if JobType.isSubsystem(argument) || (try? JobType(validating: argument)) != nil {
            name = argument
        } else {
            return nil
        }
    }

    static func text(_ scope: String) -> String { scope == Pauses.fleet ? "the fleet" : scope }
}

/// `gaia pause`
struct PauseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Let a type, a subsystem or the fleet rest, or list what rests.",
        discussion: """
            What runs goes on to its end; nothing new is begun, whatever is restarted, until gaia resume. Jobs of a
            subsystem wait in its queues, jobs of a type in the ledger. Retries and jobs for later wait with them.
            """)

    @OptionGroup var settings: SettingsOptions
    @Argument(help: "A type, a subsystem, or 'all'; without it what rests is listed.")
    var scope: PauseScope?
    @Option(name: .long, help: "Why; shown to whoever asks.")
    var reason = ""
    @Flag(name: .long, help: "Print JSON.")
    var json = false

    func run() async throws {
        try await report {
            try await settings.load().withStore("gaia pause") { [scope, reason, json] store in
                guard let scope else { return try PauseCommand.list(try await store.pauses(), json) }
                let isNew = try await store.pause(scope.name, reason: reason)
                Terminal.print("\(PauseScope.text(scope.name)) rests\(isNew ? "" : " already")")
            }
        }
    }

    private struct View: Encodable { let scope, reason, since: String }

    private static func list(_ pauses: [PauseRecord], _ json: Bool) throws {
        if json {
            let views = pauses.map { View(scope: $0.scope, reason: $0.reason, since: $0.since) }
            return Terminal.print(try Terminal.json(views))
        }
        if pauses.isEmpty { return Terminal.print("nothing rests") }
        Terminal.print(
            Terminal.table(
                ["rests", "since", "reason"], pauses.map { [PauseScope.text($0.scope), $0.since, $0.reason] }))
    }
}

/// `gaia resume`
struct ResumeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Let go on what rests.",
        discussion: "Exit status 66 when it does not rest.")

    @OptionGroup var settings: SettingsOptions
    @Argument(help: "A type, a subsystem, or 'all' for the fleet as a whole.")
    var scope: PauseScope

    func run() async throws {
        try await report {
            try await settings.load().withStore("gaia resume") { [scope] store in
                guard try await store.resume(scope.name) else {
                    throw CommandFailure(
                        .notFound, "\(PauseScope.text(scope.name)) does not rest; gaia pause lists what does")
                }
                Terminal.print("\(PauseScope.text(scope.name)) goes on")
                let others = try await store.pauses()
                if !others.isEmpty {
                    Terminal.print("still resting: \(others.map { PauseScope.text($0.scope) }.joined(separator: ", "))")
                }
            }
        }
    }
}
