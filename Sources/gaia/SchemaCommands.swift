import AMQPClient
import ArgumentParser
import FleetBroker
import FleetModel
import FleetStore
import Foundation

/// `gaia migrate`
struct MigrateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Bring the database schema up to date.",
        discussion: "Safe to run at any time and by many at once; all steps are one transaction.")

    @OptionGroup var settings: SettingsOptions

    func run() async throws {
        try await report {
            let steps = try await settings.load().withStore("gaia migrate") { try await $0.migrate() }
            for step in steps { Terminal.print("applied \(step.version) \(step.name)") }
            if steps.isEmpty { Terminal.print("the schema is up to date") }
        }
    }
}

/// Whose queues a topology has.
struct SubsystemOptions: ParsableArguments {
    @Option(
        name: .customLong("subsystem"),
        help: ArgumentHelp(
            "Also the queue of this subsystem, which a program of your own serves; may be repeated.", valueName: "name")
    )
    var others: [String] = []

    func validate() throws {
        for name in others where !JobType.isSubsystem(name) {
            throw ValidationError("'\(name)' is no name of a subsystem: lower-case letters, digits and hyphens.")
        }
    }

    var all: [String] { Catalogue.subsystems + others }
}

/// `gaia topology apply|definitions|users`
struct TopologyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "topology", abstract: "The fleet's exchanges, queues and bindings, and who may use them.",
        subcommands: [Apply.self, Definitions.self, Users.self])

    struct Apply: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Declare every exchange, queue and binding at the broker.",
            discussion: "Safe to run at any time. Workers and dispatchers do the same when they start, if they may.")

        @OptionGroup var settings: SettingsOptions
        @OptionGroup var subsystems: SubsystemOptions

        func run() async throws {
            try await report {
                let loaded = try settings.load()
                let topology = FleetBroker.topology(subsystems: subsystems.all)
                try await AMQPSession.withConnection(try loaded.amqp("gaia topology")) { session in
                    try await session.declare(topology)
                }
                Terminal.print(
                    "declared \(topology.exchanges.count) exchanges, \(topology.queues.count) queues, \(topology.bindings.count) bindings"
                )
            }
        }
    }

    struct Definitions: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print virtual host, limits and topology for 'rabbitmqctl import_definitions'.",
            discussion: "May be imported again at any time.")

        @Option(name: .long, help: ArgumentHelp("The fleet's virtual host.", valueName: "name"))
        var virtualHost = "gaia"
        @OptionGroup var subsystems: SubsystemOptions

        func run() async throws {
            Terminal.print(BrokerDefinitions(virtualHost: virtualHost, subsystems: subsystems.all).topology)
        }
    }

    struct Users: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print users and their rights for 'rabbitmqctl import_definitions'.",
            discussion: """
                They have no passwords, so none of them can log in before 'rabbitmqctl change_password'. Importing them \
                again takes their passwords away.
                """)

        @Option(name: .long, help: ArgumentHelp("The fleet's virtual host.", valueName: "name"))
        var virtualHost = "gaia"
        @Option(name: .long, help: ArgumentHelp("What the users' names begin with.", valueName: "name"))
        var prefix = "gaia"

        func run() async throws {
            Terminal.print(BrokerDefinitions(virtualHost: virtualHost, userPrefix: prefix, subsystems: []).users)
        }
    }
}

/// `gaia types`
struct TypesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "types", abstract: "List the job types, or print the JSON Schema of one.")

    @Argument(help: "A type whose schema to print.")
    var type: String?
    @Flag(name: .long, help: "Print all schemas as one JSON object.")
    var json = false

    func run() async throws {
        try await report {
            try await Catalogue.withDefinitions { definitions in
                if let type {
                    guard let definition = definitions.first(where: { $0.type.name == type }) else {
                        let known = definitions.map(\.type.name).joined(separator: ", ")
                        throw CommandFailure(.usage, "there is no type '\(type)'; known are \(known)")
                    }
                    Terminal.print(definition.document)
                } else if json {
                    let members = definitions.map { "\"\($0.type)\": \($0.document)" }
                    Terminal.print("{\n\(members.joined(separator: ",\n"))\n}")
                } else {
                    Terminal.print(
                        Terminal.table(
                            ["type", "queue", "attempts", "limit", "what it does"],
                            definitions.map {
                                [
                                    $0.type.name, FleetBroker.jobsQueue($0.type.subsystem), "\($0.retry.attemptsMax)",
                                    "\(Int($0.timeout.inSeconds)) s", $0.summary,
                                ]
                            }))
                }
            }
        }
    }
}

extension JobDefinition {
    fileprivate var document: String { schema.document(title: type.name, summary: summary) }
}
