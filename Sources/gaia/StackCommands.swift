import ArgumentParser
import FleetBroker
import FleetConfiguration
import FleetDispatcher
import FleetHTTP
import FleetModel
import FleetObservability
import FleetService
import FleetStack
import FleetStore
import FleetWorker
import Foundation
import ServiceLifecycle

/// Where a private stack lives.
struct StackOptions: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("Where its files live.", valueName: "path"))
    var directory: String = Stack.defaultDirectory()
}

/// `gaia stack up|down|status`
struct StackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stack",
        abstract: "A private RabbitMQ, of one node or several, and PostgreSQL from the installed packages.",
        discussion: "On free ports of the loopback interface, with data in a directory of their own.",
        subcommands: [Up.self, Down.self, Status.self])

    struct Up: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Start both servers and leave them running.",
            discussion: """
                Prints the variables that point the other commands at them. Running already, it only prints; of a \
                cluster it starts the nodes that do not run.
                """)

        @OptionGroup var stack: StackOptions
        @Option(
            name: .long,
            help: ArgumentHelp(
                "How many nodes RabbitMQ has: 1, or a cluster of 2 to 7, without management UI.", valueName: "count"))
        var nodes: Int?
        @Flag(name: .long, help: "Print JSON.")
        var json = false

        func validate() throws {
            guard let nodes, nodes != 1, !PrivateCluster.nodeCounts.contains(nodes) else { return }
            throw ValidationError("--nodes is 1, or from 2 to \(PrivateCluster.nodeCounts.upperBound) for a cluster.")
        }

        func run() async throws {
            try await report {
                Progress.shared.show("starting RabbitMQ and PostgreSQL in \(stack.directory) …")
                let running = try await Stack.up(
                    Stack.Options(directory: stack.directory, detached: true, nodes: nodes))
                Progress.shared.clear()
                if json {
                    Terminal.print(try Terminal.json(running.addresses))
                } else {
                    for (name, value) in running.environment.sorted(by: { $0.key < $1.key }) {
                        Terminal.print("export \(name)='\(value)'")
                    }
                }
            }
        }
    }

    struct Down: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Stop both servers.")

        @OptionGroup var stack: StackOptions
        @Flag(name: .long, help: "Delete their data too.")
        var remove = false

        func run() async throws {
            try await report { try await Stack.down(directory: stack.directory, remove: remove) }
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say whether the servers run.", discussion: "Exit status 69 when they do not.")

        @OptionGroup var stack: StackOptions

        func run() async throws {
            try await report {
                let status = try Stack.status(directory: stack.directory)
                var rows = status.nodes.map { node in
                    (status.nodes.count == 1 ? "RabbitMQ" : "RabbitMQ \(node.name)", node.processID)
                }
                if rows.isEmpty { rows = [("RabbitMQ", nil)] }
                rows.append(("PostgreSQL", status.databaseProcessID))
                let width = rows.map(\.0.count).max() ?? 0
                for (name, process) in rows {
                    let state = process.map { "runs, process \($0)" } ?? "does not run"
                    Terminal.print(name.padding(toLength: width, withPad: " ", startingAt: 0) + "  " + state)
                }
                guard status.isRunning else {
                    throw CommandFailure(
                        .unavailable, "start them: gaia stack up --directory \(stack.directory)")
                }
            }
        }
    }
}

/// `gaia up`
struct UpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "Everything in one process, for development.",
        discussion: """
            Starts private servers unless amqp.url and database.url are set, brings the schema up to date, and runs a
            dispatcher and a worker until Ctrl-C. The servers it started stop with it; their data stays.
            """)

    @OptionGroup var settings: SettingsOptions
    @OptionGroup var stack: StackOptions

    func run() async throws {
        try await report {
            var environment = ProcessInfo.processInfo.environment
            let given = try settings.load(environment)
            var started: Stack?
            if given.amqpURL == nil, given.databaseURL == nil {
                Progress.shared.show("starting RabbitMQ and PostgreSQL in \(stack.directory) …")
                let running = try await Stack.up(directory: stack.directory)
                Progress.shared.clear()
                environment.merge(running.environment) { $1 }
                started = running
            }
            do {
                try await run(try settings.load(environment), started)
            } catch {
                try await started?.down()
                throw error
            }
            try await started?.down()
        }
    }

    private func run(_ loaded: FleetConfiguration, _ started: Stack?) async throws {
        let steps = try await loaded.withStore("gaia up") { try await $0.migrate() }
        let ready = ReadyBanner(
            lines: [
                started.flatMap(\.broker.managementURL).map { url in
                    "RabbitMQ's management UI: \(url) (user \(PrivateBroker.user), password \(started?.broker.password ?? ""))"
                },
                started.map { "In another terminal:\n" + $0.exports },
                "Try: gaia enqueue --type gaia.noop.v1 --wait",
            ].compactMap { $0 } + steps.map { "schema: applied \($0.version) \($0.name)" }, parts: 2)
        let configuration = try loaded.dispatcher(name: nil)
        let dispatching = Readiness()
        let (registry, board) = (MetricsRegistry(), HealthBoard())
        let exporter = try loaded.tracing("fleet", configuration.name, registry)
        let dispatcher = Dispatcher(configuration, logger: loaded.logger, metrics: registry) {
            ready.partIsReady()
            dispatching.reach()
        }
        let http = try loaded.http(configuration.name).map {
            HTTPService($0, after: dispatching.isReached, logger: loaded.logger)
        }
        try await Catalogue.withHandlers(loaded, registry) { handlers in
            let worker = Worker(
                try handlers.configuration(loaded), definitions: handlers.definitions, logger: loaded.logger,
                metrics: registry
            ) {
                ready.partIsReady()
                board.stage = .serving
            }
            registry.collect(worker.metrics)
            registry.collect(dispatcher.metrics)
            board.add(worker.health)
            board.add(dispatcher.health, prefix: "dispatcher")
            var services: [any Service] = (exporter.map { [$0] } ?? []) + [dispatcher, worker]
            let pages = ProfilePages.all(worker: worker, dispatcher: dispatcher)
            if let admin = try loaded.admin("fleet", configuration.name, registry, board, pages: pages) {
                services.append(admin)
            }
            // The last is shut down first.
            if let http { services.append(http) }
            try await serve(services, logger: loaded.logger)
        }
    }
}

extension Stack {
    /// The lines for a shell.
    fileprivate var exports: String {
        environment.sorted { $0.key < $1.key }.map { "  export \($0.key)='\($0.value)'" }.joined(separator: "\n")
    }
}
