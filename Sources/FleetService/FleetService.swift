import AMQPClient
import FleetConfiguration
import FleetWorker
import FoundationEssentials
import PostgresClient

/// # FleetService
///
/// From settings to a worker: for a service of a user's own that reads the same file and variables as `gaia` does. A
/// service with a configuration system of its own does without, and needs only FleetWorker.
///
/// ```
///  FleetConfiguration.load() ──▶ WorkerConfiguration ──▶ Worker
/// ```
enum FleetServiceOverview {}

extension WorkerConfiguration {
    /// What the settings say of a worker.
    ///
    /// - Parameter name: how it is called; as the settings say, or host and process id, when nil.
    /// - Throws: an error that names the setting which is missing or wrong.
    public init(_ settings: FleetConfiguration, name: String? = nil) throws(ConfigurationError) {
        guard let amqpURL = settings.amqpURL else {
            throw ConfigurationError("no broker is configured: set amqp.url (GAIA_AMQP_URL)")
        }
        guard let databaseURL = settings.databaseURL else {
            throw ConfigurationError("no database is configured: set database.url (GAIA_DATABASE_URL)")
        }
        let amqp: AMQPConfiguration
        do { amqp = try AMQPConfiguration(url: amqpURL) } catch {
            throw ConfigurationError("amqp.url (GAIA_AMQP_URL): \(error)")
        }
        var database: PostgresConfiguration
        do { database = try PostgresConfiguration(url: databaseURL) } catch {
            throw ConfigurationError("database.url (GAIA_DATABASE_URL): \(error)")
        }
        let process = ProcessInfo.processInfo
        let name = name ?? settings.workerName ?? "\(process.hostName)-\(process.processIdentifier)"
        database.applicationName = name
        database.poolSize = settings.databasePoolSize
        self.init(amqp: amqp, database: database, name: name, host: process.hostName)
        slotsDefault = settings.workerSlotsDefault
        slots = settings.workerSlots
        lease = settings.workerLease
        drain = settings.workerDrain
        startWait = settings.startWait
        payloadBytesMax = settings.payloadBytesMax
        outputBytesMax = settings.outputBytesMax
    }
}
