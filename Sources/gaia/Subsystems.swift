import APISubsystem
import BrowserPool
import BrowserSubsystem
import FileSubsystem
import FleetConfiguration
import FleetModel
import FleetObservability
import FleetService
import FleetWorker
import NetworkSubsystem
import ProcessSubsystem
import RootedFiles

/// What this program has handlers for.
enum Catalogue {
    /// A family of types, and how it is made.
    private struct Entry {
        let name: String
        /// What is missing without which its jobs cannot run here, or may touch nothing; nil when nothing is. A worker
        /// without it leaves them to others.
        var lack: (FleetConfiguration) throws -> String? = { _ in nil }
        /// For commands that only describe, where ``make`` would need more than they have.
        var describe: ((Parts) throws -> any Subsystem)?
        let make: (Parts) throws -> any Subsystem
    }

    /// What subsystems are made of.
    private struct Parts {
        let settings: FleetConfiguration
        let metrics: MetricsRegistry
        /// Its roots and threads serve them all.
        let files: FileSubsystem

        /// Where results go that are too large for a message. Nil where no root may be written: then such jobs fail.
        func results(bytesMax: Int) throws -> ResultFiles? {
            guard files.roots.roots.contains(where: \.isWritable) else { return nil }
            return try ResultFiles(roots: files.roots, threads: files.threads, bytesMax: Int64(bytesMax))
        }
    }

    private static var entries: [Entry] {
        [
            Entry(name: "api") { parts in
                let settings = try parts.settings.apiSettings()
                return APISubsystem(
                    settings, results: try parts.results(bytesMax: settings.fileBytesMax), metrics: parts.metrics)
            },
            Entry(
                name: "browser", lack: { try $0.browserLack() },
                describe: { BrowserSubsystem(describing: try $0.settings.browserSettings()) }
            ) { parts in
                let settings = try parts.settings.browserSettings()
                let results = try parts.results(bytesMax: settings.fileBytesMax)
                do throws(BrowserPoolError) {
                    return try BrowserSubsystem(
                        settings, roots: parts.files.roots, results: results, threads: parts.files.threads,
                        metrics: parts.metrics)
                } catch {
                    throw ConfigurationError("\(error)")
                }
            },
            Entry(name: "file", lack: { $0.file.roots == nil ? "file.roots is not set" : nil }) { $0.files },
            Entry(name: "network") { parts in
                try NetworkSubsystem(
                    try parts.settings.networkSettings(), roots: parts.files.roots, threads: parts.files.threads,
                    metrics: parts.metrics)
            },
            Entry(
                name: "process", lack: { $0.process.executables.isEmpty ? "process.executables is not set" : nil }
            ) { parts in
                do throws(ProcessSettingsError) {
                    return try ProcessSubsystem(
                        parts.settings.processSettings, roots: parts.files.roots, threads: parts.files.threads,
                        metrics: parts.metrics)
                } catch {
                    throw ConfigurationError("process.executables or process.user: \(error)")
                }
            },
        ]
    }

    /// What a worker is made of.
    struct Handlers: Sendable {
        var definitions: [JobDefinition]
        /// Of subsystems whose slots stand for something, how many there are.
        let places: [String: Int]
        /// What is amiss, by subsystem.
        let notices: @Sendable () -> [String: [String]]
        /// What they hold, by subsystem.
        let holdings: @Sendable () -> [String: String]

        /// What the settings say of a worker, and these.
        func configuration(_ settings: FleetConfiguration, name: String? = nil) throws -> WorkerConfiguration {
            var configuration = try WorkerConfiguration(settings, name: name)
            (configuration.places, configuration.notices, configuration.holdings) = (places, notices, holdings)
            return configuration
        }
    }

    /// The family of the no-op job, which every worker has.
    private static let own = NoopParameters.type.subsystem

    /// Each has its queues, whoever serves it.
    static let subsystems = (entries.map(\.name) + [own]).sorted()

    /// Runs `body` with the handlers that a worker with these settings serves. What they hold is given back when this
    /// returns: a thread that is still in C code while the process exits would crash it.
    static func withHandlers<Value>(
        _ settings: FleetConfiguration, _ metrics: MetricsRegistry, _ body: (Handlers) async throws -> Value
    ) async throws -> Value {
        let named = settings.workerSubsystems
        for name in named where !subsystems.contains(name) {
            throw CommandFailure(
                .configuration,
                "worker.subsystems names '\(name)', this program has \(subsystems.joined(separator: ", "))")
        }
        let served = try entries.filter { entry in
            guard named.isEmpty || named.contains(entry.name) else { return false }
            guard let lack = try entry.lack(settings) else { return true }
            if named.isEmpty {
                settings.logger.info("\(entry.name) is not served: \(lack)")
                return false
            }
            throw CommandFailure(
                .configuration, "worker.subsystems names '\(entry.name)', which cannot be served: \(lack)")
        }
        return try await with(served, settings, metrics) { handlers in
            var handlers = handlers
            if named.isEmpty || named.contains(own) { handlers.definitions.append(NoopParameters.definition) }
            return try await body(handlers)
        }
    }

    /// All types, for commands that only describe.
    ///
    /// - Parameter settings: from which some have their limits; the defaults when nil.
    static func withDefinitions<Value>(
        _ settings: FleetConfiguration? = nil, _ body: ([JobDefinition]) async throws -> Value
    ) async throws -> Value {
        let settings = try settings ?? FleetConfiguration(environment: [:])
        return try await with(entries, settings, MetricsRegistry(), isDescribing: true) { handlers in
            try await body([NoopParameters.definition] + handlers.definitions)
        }
    }

    private static func with<Value>(
        _ entries: [Entry], _ settings: FleetConfiguration, _ metrics: MetricsRegistry, isDescribing: Bool = false,
        _ body: (Handlers) async throws -> Value
    ) async throws -> Value {
        let files: FileSubsystem
        do { files = try FileSubsystem(try settings.fileSettings(), metrics: metrics) } catch let error as FileError {
            throw ConfigurationError("file.roots (\(Setting.variable(of: "file.roots"))): \(error)")
        }
        let parts = Parts(settings: settings, metrics: metrics, files: files)
        var made: [(name: String, subsystem: any Subsystem)] = []
        let result: Result<Value, any Error>
        do {
            for entry in entries {
                let make = isDescribing ? entry.describe ?? entry.make : entry.make
                made.append((entry.name, try make(parts)))
            }
            let complete = made
            result = .success(
                try await body(
                    Handlers(
                        definitions: complete.flatMap(\.subsystem.definitions),
                        places: Dictionary(
                            uniqueKeysWithValues: complete.compactMap { made in
                                made.subsystem.places.map { (made.name, $0) }
                            }),
                        notices: { Dictionary(uniqueKeysWithValues: complete.map { ($0.name, $0.subsystem.notices) }) },
                        holdings: {
                            Dictionary(
                                uniqueKeysWithValues: complete.compactMap { made in
                                    made.subsystem.holdings.map { (made.name, $0) }
                                })
                        })))
        } catch {
            result = .failure(error)
        }
        // Files last, since the others write with its threads.
        for (_, subsystem) in made where !(subsystem is FileSubsystem) { await subsystem.close() }
        await files.close()
        return try result.get()
    }
}
