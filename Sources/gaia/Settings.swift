import AMQPClient
import ArgumentParser
import FleetConfiguration
import FleetDispatcher
import FleetModel
import FleetService
import FleetStore
import FleetWorker
import Foundation
import Logging
import PostgresClient

/// Options that every command has which needs settings.
struct SettingsOptions: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("A YAML file of settings; GAIA_CONFIG names one too.", valueName: "file"))
    var config: String?

    /// Reads file and environment.
    func load(_ environment: [String: String] = ProcessInfo.processInfo.environment) throws -> FleetConfiguration {
        guard let path = config ?? environment["GAIA_CONFIG"], !path.isEmpty else {
            return try FleetConfiguration(environment: environment)
        }
        let text: String
        do {
            text = try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            throw CommandFailure(
                .configuration, "the settings file \(path) cannot be read: \(error.localizedDescription)")
        }
        return try FleetConfiguration(file: (name: path, text: text), environment: environment)
    }
}

extension FleetConfiguration {
    func dispatcher(name: String?) throws -> DispatcherConfiguration {
        let process = ProcessInfo.processInfo
        let name = name ?? "dispatcher-\(process.hostName)-\(process.processIdentifier)"
        var configuration = DispatcherConfiguration(
            amqp: try amqp(name), database: try database(name), name: name, subsystems: Catalogue.subsystems)
        configuration.poll = dispatcherPoll
        configuration.grace = dispatcherGrace
        configuration.startWait = startWait
        configuration.payloadBytesMax = payloadBytesMax
        configuration.retention = Retention(
            succeededHours: retentionSucceededHours, discardedHours: retentionDiscardedHours)
        return configuration
    }

    /// Runs `body` with a store whose pool lives as long. For commands, which would rather fail soon than wait.
    func withStore<Value: Sendable>(
        _ applicationName: String, connections: Int = 1, _ body: @Sendable (FleetStore) async throws -> Value
    ) async throws -> Value {
        var configuration = try database(applicationName)
        configuration.poolSize = connections
        configuration.acquireTimeout = min(startWait, .seconds(10))
        let pool = PostgresPool(configuration: configuration, logger: logger)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await pool.run() }
            do {
                let value = try await body(FleetStore(pool: pool))
                await pool.close()
                try await group.waitForAll()
                return value
            } catch {
                await pool.close()
                // Why the pool gave up (a refused password) tells more than that the statement got no connection.
                do { try await group.waitForAll() } catch let cause { throw cause }
                throw error
            }
        }
    }
}

/// `gaia settings`: every setting, its variable, its default and what it means.
struct SettingsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "settings", abstract: "List every setting with its variable and default.")

    func run() async throws {
        let rows = Setting.all.map {
            [$0.key, $0.variable, $0.fallback.map { $0.isEmpty ? "-" : $0 } ?? "-", $0.summary]
        }
        Terminal.print(Terminal.table(["setting", "variable", "default", "meaning"], rows))
    }
}
