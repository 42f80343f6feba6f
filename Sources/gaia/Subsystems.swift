import APISubsystem
import FleetConfiguration
import FleetModel
import FleetObservability

/// What this program has handlers for.
enum Catalogue {
    /// A family of types, and how it is made.
    private struct Entry {
        let name: String
        /// The setting without which there is nothing that its jobs may touch. A worker without it leaves them to others.
        var needs: (setting: String, isSet: (FleetConfiguration) -> Bool)?
        let make: (FleetConfiguration, MetricsRegistry) throws -> any Subsystem
    }

    private static var entries: [Entry] {
        [
            Entry(name: "api") { settings, _ in
                APISubsystem(
                    connections: settings.apiConnectionsMax, connectionsPerHost: settings.apiConnectionsPerHostMax,
                    responseBytesMax: settings.apiResponseBytesMax)
            }
        ]
    }

    /// The family of the no-op job, which every worker has.
    private static let own = NoopParameters.type.subsystem

    /// Each has its queues, whoever serves it.
    static let subsystems = (entries.map(\.name) + [own]).sorted()

    /// Runs `body` with the handlers that a worker with these settings serves. What they hold is given back when this
    /// returns: a thread that is still in C code while the process exits would crash it.
    static func withHandlers<Value>(
        _ settings: FleetConfiguration, _ metrics: MetricsRegistry, _ body: ([JobDefinition]) async throws -> Value
    ) async throws -> Value {
        let named = settings.workerSubsystems
        for name in named where !subsystems.contains(name) {
            throw CommandFailure(
                .configuration,
                "worker.subsystems names '\(name)', this program has \(subsystems.joined(separator: ", "))")
        }
        let served = try entries.filter { entry in
            guard named.isEmpty || named.contains(entry.name) else { return false }
            guard let needs = entry.needs, !needs.isSet(settings) else { return true }
            if named.isEmpty {
                settings.logger.info("\(entry.name) is not served: \(needs.setting) is not set")
                return false
            }
            throw CommandFailure(
                .configuration, "worker.subsystems names '\(entry.name)', which needs \(needs.setting); set it")
        }
        return try await with(served, settings, metrics) { definitions in
            try await body((named.isEmpty || named.contains(own) ? [NoopParameters.definition] : []) + definitions)
        }
    }

    /// All types, for commands that only describe.
    static func withDefinitions<Value>(_ body: ([JobDefinition]) async throws -> Value) async throws -> Value {
        try await with(entries, try FleetConfiguration(environment: [:]), MetricsRegistry()) { definitions in
            try await body([NoopParameters.definition] + definitions)
        }
    }

    private static func with<Value>(
        _ entries: [Entry], _ settings: FleetConfiguration, _ metrics: MetricsRegistry,
        _ body: ([JobDefinition]) async throws -> Value
    ) async throws -> Value {
        var made: [any Subsystem] = []
        let result: Result<Value, any Error>
        do {
            for entry in entries { made.append(try entry.make(settings, metrics)) }
            result = .success(try await body(made.flatMap(\.definitions)))
        } catch {
            result = .failure(error)
        }
        for subsystem in made { await subsystem.close() }
        return try result.get()
    }
}
