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

extension FleetConfiguration {
    /// Where the broker is.
    ///
    /// - Parameter name: how the connection is called in the broker's lists.
    /// - Throws: an error that names the setting which is missing or wrong.
    public func amqp(_ name: String) throws(ConfigurationError) -> AMQPConfiguration {
        guard let amqpURL else {
            throw ConfigurationError(
                "no broker is configured: set amqp.url (GAIA_AMQP_URL), or try 'gaia up' or 'gaia demo', which start one"
            )
        }
        let password = try amqpPasswordFile.map { file throws(ConfigurationError) in
            try Self.secret("amqp.password_file", in: file)
        }
        do {
            var configuration = try AMQPConfiguration(url: amqpURL)
            configuration.connectionName = name
            if let password { configuration.password = password }
            return configuration
        } catch {
            throw ConfigurationError("amqp.url (GAIA_AMQP_URL): \(error)")
        }
    }

    /// Where the database is.
    ///
    /// - Parameter name: how the connections are called in `pg_stat_activity`.
    /// - Throws: an error that names the setting which is missing or wrong.
    public func database(_ name: String) throws(ConfigurationError) -> PostgresConfiguration {
        guard let databaseURL else {
            throw ConfigurationError(
                "no database is configured: set database.url (GAIA_DATABASE_URL), or try 'gaia up' or 'gaia demo'")
        }
        let password = try databasePasswordFile.map { file throws(ConfigurationError) in
            try Self.secret("database.password_file", in: file)
        }
        do {
            var configuration = try PostgresConfiguration(url: databaseURL, password: password)
            configuration.applicationName = name
            configuration.poolSize = databasePoolSize
            return configuration
        } catch {
            throw ConfigurationError("database.url (GAIA_DATABASE_URL): \(error)")
        }
    }
}

extension WorkerConfiguration {
    /// What the settings say of a worker.
    ///
    /// - Parameter name: how it is called; as the settings say, or host and process id, when nil.
    /// - Throws: an error that names the setting which is missing or wrong.
    public init(_ settings: FleetConfiguration, name: String? = nil) throws(ConfigurationError) {
        let process = ProcessInfo.processInfo
        let name = name ?? settings.workerName ?? "\(process.hostName)-\(process.processIdentifier)"
        self.init(
            amqp: try settings.amqp(name), database: try settings.database(name), name: name, host: process.hostName)
        slotsDefault = settings.workerSlotsDefault
        slots = settings.workerSlots
        lendsSlots = settings.workerLendsSlots
        lease = settings.workerLease
        drain = settings.workerDrain
        slow = settings.workerSlow
        startWait = settings.startWait
        payloadBytesMax = settings.payloadBytesMax
        outputBytesMax = settings.outputBytesMax
    }
}
