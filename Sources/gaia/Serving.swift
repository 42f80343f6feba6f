import ArgumentParser
import CMalloc
import FleetDispatcher
import FleetHTTP
import FleetModel
import FleetObservability
import FleetService
import FleetWorker
import Foundation
import Logging
import Metrics
import ServiceLifecycle

/// Runs services until SIGTERM or SIGINT, then lets them drain; a second signal ends the process at once.
func serve(_ services: [any Service], logger: Logger) async throws {
    // A batch's large buffers make glibc gather all small free chunks each time; without such chunks there is nothing to
    // gather, and a no-op job takes a twentieth less processor time.
    mallopt(M_MXFAST, 0)
    let group = ServiceGroup(
        configuration: ServiceGroupConfiguration(
            services: services.map {
                ServiceGroupConfiguration.ServiceConfiguration(
                    service: $0, successTerminationBehavior: .gracefullyShutdownGroup,
                    failureTerminationBehavior: .gracefullyShutdownGroup)
            } + [.init(service: SecondSignal(logger: logger), successTerminationBehavior: .ignore)],
            gracefulShutdownSignals: [.sigterm, .sigint], logger: logger.quieter))
    try await group.run()
}

extension Logger {
    /// The lifecycle library narrates every step at info; here only its warnings are news.
    fileprivate var quieter: Logger {
        var logger = self
        logger.logLevel = max(logger.logLevel, .warning)
        return logger
    }
}

/// Once a shutdown has begun, gives the signals back their own meaning: the next one ends the process.
private struct SecondSignal: Service {
    let logger: Logger

    func run() async throws {
        try await gracefulShutdown()
        logger.info("shutting down; another signal ends the process at once")
        signal(SIGTERM, SIG_DFL)
        signal(SIGINT, SIG_DFL)
    }
}

/// `gaia worker`
struct WorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker",
        abstract: "Run jobs until told to stop.",
        discussion: """
            Start as many as you like; they share the work. SIGTERM drains: nothing new is taken, running jobs may end
            within worker.drain_ms, the rest is handed back unspent. A second signal ends the process at once.
            """)

    @OptionGroup var settings: SettingsOptions
    @Option(name: .long, help: "How this worker is called in tables, logs and the management UI.")
    var name: String?

    func run() async throws {
        try await report {
            let loaded = try settings.load()
            let (registry, board) = (MetricsRegistry(), HealthBoard())
            MetricsSystem.bootstrap(registry)
            try await Catalogue.withHandlers(loaded, registry) { handlers in
                let configuration = try handlers.configuration(loaded, name: name)
                let exporter = try loaded.tracing("worker", configuration.name, registry)
                let worker = Worker(
                    configuration, definitions: handlers.definitions, logger: loaded.logger, metrics: registry,
                    onReady: {
                        board.stage = .serving
                        StartUpCode.release()
                    })
                registry.collect(worker.metrics)
                board.add(worker.health)
                let pages = ProfilePages.all(worker: worker)
                let admin = try loaded.admin("worker", configuration.name, registry, board, pages: pages)
                // The first is shut down last: spans are made until then.
                let services: [(any Service)?] = [exporter, worker, admin]
                try await serve(services.compactMap(\.self), logger: loaded.logger)
            }
        }
    }
}

/// `gaia dispatcher`
struct DispatcherCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dispatcher",
        abstract: "Take enqueue requests, stage jobs for later and retries, rescue jobs of dead workers.",
        discussion: """
            Start two or three: one leads, another takes over when it dies. With http.listen and http.token set, each also
            serves jobs over HTTP.
            """)

    @OptionGroup var settings: SettingsOptions
    @Option(name: .long, help: "How this dispatcher is called in tables, logs and the management UI.")
    var name: String?

    func run() async throws {
        try await report {
            let loaded = try settings.load()
            let configuration = try loaded.dispatcher(name: name)
            let ready = Readiness()
            let (registry, board) = (MetricsRegistry(), HealthBoard())
            let exporter = try loaded.tracing("dispatcher", configuration.name, registry)
            let dispatcher = Dispatcher(configuration, logger: loaded.logger, metrics: registry) {
                ready.reach()
                board.stage = .serving
                StartUpCode.release()
            }
            registry.collect(dispatcher.metrics)
            board.add(dispatcher.health)
            // The first is shut down last: spans are made until then.
            var services: [any Service] = exporter.map { [$0, dispatcher] } ?? [dispatcher]
            if let http = try loaded.http(configuration.name) {
                // The last is shut down first: no request comes in while the dispatcher drains.
                services.append(HTTPService(http, after: ready.isReached, logger: loaded.logger))
            }
            let pages = ProfilePages.all(dispatcher: dispatcher)
            if let admin = try loaded.admin("dispatcher", configuration.name, registry, board, pages: pages) {
                services.append(admin)
            }
            try await serve(services, logger: loaded.logger)
        }
    }
}
