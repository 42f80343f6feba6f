import FoundationEssentials
import Glibc

/// A private broker, of one node or of several, and a private database in one directory.
public final class Stack: Sendable {
    public struct Options: Sendable {
        /// Where all files live; see ``Stack/defaultDirectory()``.
        public var directory: String
        /// Whether the servers stay when this process ends, until ``Stack/down(directory:remove:)``.
        public var detached: Bool
        /// How many nodes the broker has; nil for those that it has already, or one. Several are a cluster, without
        /// management plugin and TLS.
        public var nodes: Int?
        /// Whether a single node runs the management plugin and the one that tells Prometheus.
        public var management: Bool
        /// Whether a single node also listens with TLS.
        public var tls: Bool
        /// Lines of rabbitmq.conf.
        public var brokerSettings: [String: String]
        /// Lines of postgresql.conf.
        public var databaseSettings: [String: String]
        /// See ``PrivateDatabase/Options/logDirectory``.
        public var databaseLogDirectory: String?
        /// Where packages are installed.
        public var prefix: String
        /// How long each server may take to serve.
        public var startLimit: Duration

        public init(
            directory: String = Stack.defaultDirectory(),
            detached: Bool = false,
            nodes: Int? = nil,
            management: Bool = true,
            tls: Bool = false,
            brokerSettings: [String: String] = [:],
            databaseSettings: [String: String] = [:],
            prefix: String = "/usr",
            startLimit: Duration = .seconds(120)
        ) {
            self.directory = directory
            self.detached = detached
            self.nodes = nodes
            self.management = management
            self.tls = tls
            self.brokerSettings = brokerSettings
            self.databaseSettings = databaseSettings
            self.prefix = prefix
            self.startLimit = startLimit
        }
    }

    /// Where to reach a stack, in the names that scripts read.
    public struct Addresses: Sendable, Hashable, Codable {
        public let directory: String
        /// With all nodes of a cluster.
        public let amqpURL: String
        /// Of each node, where there are several.
        public let nodeAMQPURLs: [String]?
        public let managementURL: String?
        /// Where a Prometheus finds the figures of a single node.
        public let brokerMetricsURL: String?
        public let databaseURL: String

        private enum CodingKeys: String, CodingKey {
            case directory
            case amqpURL = "amqp_url"
            case nodeAMQPURLs = "node_amqp_urls"
            case managementURL = "management_url"
            case brokerMetricsURL = "broker_metrics_url"
            case databaseURL = "database_url"
        }
    }

    /// What of a stack runs.
    public struct Status: Sendable, Hashable {
        /// A node of the broker.
        public struct Node: Sendable, Hashable {
            public let name: String
            /// nil when it does not run.
            public let processID: Int32?
        }

        public let directory: String
        /// One, or those of a cluster; none when there has never been a broker.
        public let nodes: [Node]
        /// Process id of the database; nil when it does not run.
        public let databaseProcessID: Int32?

        /// Process id of the broker's first node that runs; nil when none does.
        public var brokerProcessID: Int32? { nodes.lazy.compactMap(\.processID).first }

        public var isRunning: Bool {
            !nodes.isEmpty && nodes.allSatisfy { $0.processID != nil } && databaseProcessID != nil
        }
    }

    public let directory: String
    public let database: PrivateDatabase
    private let nodes: StackBroker

    private init(directory: String, nodes: StackBroker, database: PrivateDatabase) {
        self.directory = directory
        self.nodes = nodes
        self.database = database
    }

    /// The broker; of a cluster, its first node.
    public var broker: PrivateBroker { nodes.first }

    /// The broker, where it has several nodes.
    public var cluster: PrivateCluster? { if case .cluster(let cluster) = nodes { cluster } else { nil } }

    /// A place for a person's stack that the servers' users can reach too, which root's home is not.
    public static func defaultDirectory() -> String {
        if geteuid() == 0 { return "/var/tmp/gaia-root" }
        let environment = ProcessInfo.processInfo.environment
        if let state = environment["XDG_STATE_HOME"], state.hasPrefix("/") { return "\(state)/gaia/stack" }
        if let home = environment["HOME"], home.hasPrefix("/") { return "\(home)/.local/state/gaia/stack" }
        return "/var/tmp/gaia-\(geteuid())"
    }

    /// Starts broker and database at once, or those of them that do not run; both serve when this returns.
    ///
    /// - Throws: ``StackError``. When one server cannot start, the other is stopped again if this call started it.
    public static func up(_ options: Options = Options()) async throws -> Stack {
        // The database's package is looked for at once too: better now than after the broker's boot.
        _ = try BrokerPackage.locate(prefix: options.prefix)
        _ = try DatabasePackage.locate(prefix: options.prefix)
        let directory = try StateDirectory(options.directory)
        try directory.claim()
        let before = try status(directory: directory.path)
        async let startingBroker = Result<StackBroker, any Error>.of {
            try await StackBroker.start(in: directory.file("broker"), options)
        }
        async let startingDatabase = Result<PrivateDatabase, any Error>.of {
            try await PrivateDatabase.start(
                PrivateDatabase.Options(
                    directory: directory.file("database"),
                    settings: options.databaseSettings,
                    detached: options.detached,
                    prefix: options.prefix,
                    startLimit: options.startLimit,
                    logDirectory: options.databaseLogDirectory
                )
            )
        }
        switch await (startingBroker, startingDatabase) {
        case (.success(let broker), .success(let database)):
            return Stack(directory: directory.path, nodes: broker, database: database)
        case (.failure(let error), .success(let database)):
            if before.databaseProcessID == nil { try await database.stop() }
            throw error
        case (.success(let broker), .failure(let error)):
            if before.brokerProcessID == nil { try await broker.stop() }
            throw error
        case (.failure(let error), .failure(let other)):
            throw StackError(.startFailed, "\(error)\n\(other)")
        }
    }

    /// The same with only the place given.
    public static func up(directory: String) async throws -> Stack { try await up(Options(directory: directory)) }

    /// Attaches to a stack of which both servers run.
    public static func attach(directory: String) throws -> Stack {
        let place = try StateDirectory(directory)
        return Stack(
            directory: place.path,
            nodes: try StackBroker.attach(in: place.file("broker")),
            database: try PrivateDatabase.attach(directory: place.file("database"))
        )
    }

    /// What runs there; nothing, when there has never been a stack.
    public static func status(directory: String) throws -> Status {
        let place = try StateDirectory(directory)
        let database = try ServerProcesses(try StateDirectory(place.file("database")))[DatabaseLayout.server]
        return Status(
            directory: place.path,
            nodes: try StackBroker.status(in: place.file("broker")),
            databaseProcessID: database.flatMap { $0.isAlive ? $0.processID : nil }
        )
    }

    /// Stops what runs there, sees that no process is left, and removes the directory when asked. That nothing is
    /// there is no error.
    public static func down(directory: String, remove: Bool = false) async throws {
        let place = try StateDirectory(directory)
        guard access(place.path, F_OK) == 0 else { return }
        let broker = try StackBroker.load(in: place.file("broker"))
        let hasDatabase = try StateDirectory(place.file("database")).exists(DatabaseRecord.fileName)
        guard broker != nil || hasDatabase || !remove else {
            // Not to be talked into removing some other directory.
            throw StackError(.directory, "There is no stack in \(directory), so it is not removed.")
        }
        async let brokerStopped = Result<Void, any Error>.of {
            try await broker?.stop()
        }
        async let databaseStopped = Result<Void, any Error>.of {
            if hasDatabase { try await PrivateDatabase.load(directory: place.file("database")).stop() }
        }
        let ends = await (brokerStopped, databaseStopped)
        try ends.0.get()
        try ends.1.get()
        let left = serverProcesses(under: place.path)
        guard left.isEmpty else {
            let names = left.map { "\($0.name) (\($0.processID))" }.joined(separator: ", ")
            throw StackError(.busy, "Still running in \(directory): \(names).")
        }
        if remove { try place.remove() }
    }

    /// Stops broker and database; see ``down(directory:remove:)``.
    public func down(remove: Bool = false) async throws { try await Self.down(directory: directory, remove: remove) }

    public var addresses: Addresses {
        Addresses(
            directory: directory,
            amqpURL: nodes.amqpURL,
            nodeAMQPURLs: cluster?.nodes.map(\.amqpURL),
            managementURL: broker.managementURL,
            brokerMetricsURL: broker.metricsURL,
            databaseURL: database.url
        )
    }

    /// The variables by which the commands of `gaia` find this stack.
    public var environment: [String: String] {
        var variables = ["GAIA_AMQP_URL": nodes.amqpURL, "GAIA_DATABASE_URL": database.url]
        variables["GAIA_MANAGEMENT_URL"] = broker.managementURL
        return variables
    }
}

extension Result where Failure == any Error {
    /// The outcome of a body, as a value.
    fileprivate static func of(_ body: () async throws -> Success) async -> Self {
        do { return .success(try await body()) } catch { return .failure(error) }
    }
}
