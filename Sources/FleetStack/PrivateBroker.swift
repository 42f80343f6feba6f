import FoundationEssentials
import Glibc
import Synchronization

/// A RabbitMQ node of our own.
///
/// Beside the node runs an Erlang port mapper (epmd) that is ours alone: without it the node would start one that
/// outlives it, or join the system's. Both are spawned in the foreground, so their process ids are known.
///
/// A node boots in about 3 s on two idle cores (9 s as the package starts it), since it gets to see only the plugins
/// that it needs and its threads spin for a moment before they sleep: measure with `time gaia stack up`.
public final class PrivateBroker: Sendable {
    public struct Options: Sendable {
        /// Where all its files live; made when absent. One that was used before is started again with its data.
        public var directory: String
        /// Whether the management plugin runs, and the one that tells Prometheus; ``PrivateBroker/createVirtualHost(_:)`` is
        /// much slower without.
        public var management: Bool
        /// Whether it also listens with TLS, with certificates made for it.
        public var tls: Bool
        /// Lines of rabbitmq.conf, which win over ours.
        public var settings: [String: String]
        /// Plugins to enable beside these.
        public var plugins: [String]
        /// Whether it stays when this process ends.
        public var detached: Bool
        /// Where packages are installed.
        public var prefix: String
        /// How long it may take to serve. Much longer than needed, as a loaded machine needs it.
        public var startLimit: Duration
        /// The cluster that it is a node of; nil when it is on its own.
        var membership: ClusterMembership?

        public init(
            directory: String,
            management: Bool = true,
            tls: Bool = false,
            settings: [String: String] = [:],
            plugins: [String] = [],
            detached: Bool = false,
            prefix: String = "/usr",
            startLimit: Duration = .seconds(120)
        ) {
            self.directory = directory
            self.management = management
            self.tls = tls
            self.settings = settings
            self.plugins = plugins
            self.detached = detached
            self.prefix = prefix
            self.startLimit = startLimit
        }
    }

    let layout: BrokerLayout
    let processes: ServerProcesses
    private let options: Options
    /// nil for a node of a cluster, which has one for all.
    private let mapper: PortMapper?

    private init(layout: BrokerLayout, processes: ServerProcesses, options: Options) {
        self.layout = layout
        self.processes = processes
        self.options = options
        let record = layout.record
        mapper =
            record.membership == nil
            ? PortMapper(
                port: record.mapperPort,
                package: layout.package,
                account: layout.account,
                processes: processes,
                detached: options.detached
            ) : nil
    }

    /// Prepares a directory for a node of a cluster, which ``start(_:)`` then starts.
    ///
    /// - Parameter ports: the node's own, ``BrokerRecord/portCount`` of them.
    static func layOut(_ options: Options, ports: [UInt16], mapperPort: UInt16) throws {
        let directory = try StateDirectory(options.directory)
        try directory.claim(for: try Account.forServer("rabbitmq", package: "rabbitmq-server"))
        let secrets = options.membership?.secrets ?? BrokerSecrets()
        let record = BrokerRecord(options, ports: ports, mapperPort: mapperPort, secrets: secrets)
        try writeFile(directory.file(BrokerRecord.fileName), try encoded(record), mode: 0o600)
    }

    /// Starts a node, or attaches to the one that runs in this directory already. It serves when this returns.
    ///
    /// - Throws: ``StackError``, with the end of the log when the node did not come up.
    public static func start(_ options: Options) async throws -> PrivateBroker {
        let package = try BrokerPackage.locate(prefix: options.prefix)
        let account = try Account.forServer("rabbitmq", package: "rabbitmq-server")
        let directory = try StateDirectory(options.directory)
        try directory.claim(for: account)
        return try await directory.withLock(within: options.startLimit) {
            let processes = try ServerProcesses(directory)
            guard directory.exists(BrokerRecord.fileName) else {
                return try await startAnew(directory, package, account, processes, options)
            }
            if processes.isAlive(BrokerLayout.node) {
                let broker = try load(directory: directory.path)
                try await broker.awaitReady(nil)
                return broker
            }
            let former = try decoded(BrokerRecord.self, from: directory.file(BrokerRecord.fileName))
            let layout = BrokerLayout(directory, package, account, BrokerRecord(options, keeping: former))
            let broker = PrivateBroker(layout: layout, processes: processes, options: options)
            try await broker.boot()
            return broker
        }
    }

    /// Attaches to a node that runs already.
    ///
    /// - Throws: ``StackError`` of kind `notRunning` when none does.
    public static func attach(directory path: String) throws -> PrivateBroker {
        let broker = try load(directory: path)
        guard broker.isRunning else {
            throw StackError(.notRunning, "No broker runs in \(path): start one with `gaia stack up`.")
        }
        return broker
    }

    /// The broker of a directory, whether or not it runs.
    static func load(directory path: String) throws -> PrivateBroker {
        let directory = try StateDirectory(path)
        guard directory.exists(BrokerRecord.fileName) else {
            throw StackError(.notRunning, "There is no broker in \(path): start one with `gaia stack up`.")
        }
        let record = try decoded(BrokerRecord.self, from: directory.file(BrokerRecord.fileName))
        let package = try BrokerPackage.locate(prefix: record.prefix)
        let account = try Account.forServer("rabbitmq", package: "rabbitmq-server")
        var options = Options(
            directory: directory.path,
            management: record.management,
            tls: record.tls,
            settings: record.settings,
            plugins: record.plugins,
            detached: record.detached,
            prefix: record.prefix
        )
        options.membership = record.membership
        return PrivateBroker(
            layout: BrokerLayout(directory, package, account, record),
            processes: try ServerProcesses(directory),
            options: options
        )
    }

    // MARK: Addresses

    /// As user `gaia`, an administrator who may use every virtual host; the path names the default one.
    public var amqpURL: String { url("amqp", layout.record.amqpPort, host: "") }

    /// The same with TLS; nil when started without.
    public var amqpsURL: String? { layout.record.tls ? url("amqps", layout.record.amqpsPort, host: "") : nil }

    /// The certificate to trust with ``amqpsURL``.
    public var tlsAuthorityFile: String? { layout.record.tls ? layout.authority.authority : nil }

    /// A certificate that the node accepts of a client, and its key.
    public var tlsClientCertificate: (certificate: String, key: String)? {
        layout.record.tls ? (layout.authority.client, layout.authority.clientKey) : nil
    }

    /// The management plugin's page and API, for a browser too; its user is `gaia`, with ``password``.
    public var managementURL: String? {
        layout.record.management ? "http://127.0.0.1:\(layout.record.managementPort)" : nil
    }

    /// What Prometheus scrapes, below which `/detailed` and `/per-object` tell of each queue; nil without management.
    public var metricsURL: String? {
        guard layout.record.management, let port = layout.record.metricsPort else { return nil }
        return "http://127.0.0.1:\(port)/metrics"
    }

    /// The management API, to ask directly.
    public var management: ManagementAPI? {
        guard layout.record.management else { return nil }
        return ManagementAPI(port: layout.record.managementPort, user: Self.user, password: password)
    }

    /// The user of all the addresses.
    public static let user = "gaia"

    /// Chosen at random when the directory was made.
    public var password: String { layout.record.password }

    /// The process id of the Erlang machine; 0 when it does not run.
    public var processID: Int32 { processes[BrokerLayout.node].flatMap { $0.isAlive ? $0.processID : nil } ?? 0 }

    public var isRunning: Bool { processes.isAlive(BrokerLayout.node) }

    /// As Erlang and RabbitMQ's tables call it.
    public var nodeName: String { layout.record.nodeName }

    /// Where the other nodes of its cluster reach it, on 127.0.0.1.
    public var distributionPort: UInt16 { layout.record.distributionPort }

    /// The address from which it reaches them; nil for a broker on its own.
    public var distributionSource: String? { layout.record.membership?.source }

    /// The node's log.
    public var logFile: String { layout.nodeLog }

    private func url(_ scheme: String, _ port: UInt16, host: String) -> String {
        Self.url(scheme, [port], password: password, virtualHost: host)
    }

    /// - Parameter virtualHost: escaped already; empty for the default one.
    static func url(_ scheme: String, _ ports: [UInt16], password: String, virtualHost: String) -> String {
        let hosts = ports.map { "127.0.0.1:\($0)" }.joined(separator: ",")
        return "\(scheme)://\(user):\(password)@\(hosts)/\(virtualHost)"
    }

    // MARK: Administration

    /// Runs rabbitmqctl on this node and returns what it prints. Takes a second or two: it starts an Erlang machine.
    public func control(_ arguments: [String]) async throws -> String {
        try await tool("rabbitmqctl", arguments)
    }

    /// The same for another of RabbitMQ's tools, such as `rabbitmq-queues`.
    public func tool(_ name: String, _ arguments: [String]) async throws -> String {
        try await layout.tool(name, arguments).run()
    }

    /// Makes a virtual host and returns its AMQP address.
    public func createVirtualHost(_ name: String) async throws -> String {
        if let management {
            try await management.createVirtualHost(name, user: Self.user)
        } else {
            _ = try await control(["add_vhost", name])
            _ = try await control(["set_permissions", "--vhost", name, Self.user, ".*", ".*", ".*"])
        }
        return url("amqp", layout.record.amqpPort, host: ManagementAPI.escaped(name))
    }

    /// Deletes a virtual host with all its queues and closes the connections to it.
    public func deleteVirtualHost(_ name: String) async throws {
        if let management {
            try await management.deleteVirtualHost(name)
        } else {
            _ = try await control(["delete_vhost", name])
        }
    }

    // MARK: Life

    /// Shuts down in order; when this returns no process of it is left and its ports are free. The data stays.
    ///
    /// A second without the management plugin, and six with it: RabbitMQ 3.10 waits five for that one's statistics.
    public func stop() async throws {
        try await layout.directory.withLock(within: .seconds(120)) {
            try await processes.end(BrokerLayout.node, by: [(SIGTERM, .seconds(40))])
            try await mapper?.end()
            try await processes.endStragglers()
            try await processes.awaitFree(ports)
            try processes.forgetAll()
        }
    }

    /// Stops and starts on the same ports and data.
    public func restart() async throws {
        try await stop()
        try await startAgain()
    }

    /// Kills the node (SIGKILL) and waits the moment until it is gone. The port mapper stays.
    public func kill() throws {
        try processes.signal(BrokerLayout.node, SIGKILL)
        _ = try processes[BrokerLayout.node]?.awaitEnd(within: .seconds(10))
    }

    /// Starts again on the same ports and data, after ``kill()`` or ``stop()``.
    public func startAgain() async throws {
        try await layout.directory.withLock(within: options.startLimit) {
            guard !isRunning else { return }
            try await boot()
        }
    }

    /// Stops the node's clock (SIGSTOP), and returns when it stands still: connections stay open and nothing answers, as
    /// with a hung machine.
    public func pause() async throws { try await processes.pause(BrokerLayout.node) }

    /// Lets a paused node go on.
    public func resume() throws { try processes.signal(BrokerLayout.node, SIGCONT) }
}

// MARK: - Starting

extension PrivateBroker {
    /// Starts in a directory that held nothing. Ports can be lost in the instant between choosing and using them, so
    /// a start that fails for want of one is tried again with others.
    private static func startAnew(
        _ directory: StateDirectory,
        _ package: BrokerPackage,
        _ account: Account?,
        _ processes: ServerProcesses,
        _ options: Options
    ) async throws -> PrivateBroker {
        // The same in each attempt: data that one has left behind knows them.
        let secrets = BrokerSecrets()
        var attemptsLeft = 5
        while true {
            attemptsLeft -= 1
            var ports = try Ports(count: 1 + BrokerRecord.portCount)
            let own = Array(ports.numbers.dropFirst())
            let record = BrokerRecord(options, ports: own, mapperPort: ports.numbers[0], secrets: secrets)
            let layout = BrokerLayout(directory, package, account, record)
            let broker = PrivateBroker(layout: layout, processes: processes, options: options)
            ports.release()
            do {
                try await broker.boot()
                return broker
            } catch {
                unlink(directory.file(BrokerRecord.fileName))
                guard attemptsLeft > 0, broker.ports.contains(where: { !Ports.isFree($0) }) else { throw error }
            }
        }
    }

    private func boot() async throws {
        // Of a node that was killed: its helpers end by themselves, and must have before its files are used again.
        if mapper?.isAlive != true {
            try await processes.endStragglers()
            if let taken = ports.first(where: { !Ports.isFree($0) }) {
                throw StackError(
                    .portTaken(taken),
                    "Port \(taken) of the broker in \(layout.directory.path) is in use by another process."
                )
            }
        }
        let record = layout.record
        try writeFile(layout.directory.file(BrokerRecord.fileName), try encoded(record), mode: 0o600)
        if record.tls {
            try await layout.authority.make(serverAccount: layout.account, prefix: options.prefix)
        }
        try layout.write(options)
        do {
            try await mapper?.start()
            try await awaitReady(try start(BrokerLayout.node, layout.nodeCommand))
        } catch {
            try await processes.end(BrokerLayout.node, by: [])
            try await mapper?.end(within: .zero)
            try await processes.endStragglers()
            throw error
        }
    }

    /// All that its processes listen on.
    private var ports: [UInt16] { layout.record.ports + (mapper.map { [$0.port] } ?? []) }

    private func start(_ name: String, _ command: Command) throws -> ChildProcess {
        try processes.start(
            name,
            ChildDescription(
                executable: command.executable,
                arguments: command.arguments,
                environment: command.environment,
                directory: command.directory,
                // Ctrl-C is for us to turn into an orderly end.
                ownSession: true,
                parentDeathSignal: options.detached ? 0 : SIGKILL,
                account: command.account
            ),
            log: layout.outputLog
        )
    }

    private func awaitReady(_ child: ChildProcess?) async throws {
        let record = layout.record
        let management = self.management
        let ready: Bool? = try await polling(within: options.startLimit) {
            guard child?.isRunning ?? isRunning else { return false }
            guard try await offPool({ Probe.servesAMQP(record.amqpPort, limit: .seconds(2)) }) else { return nil }
            guard let management else { return true }
            if let port = record.metricsPort, Ports.isFree(port) { return nil }
            // An error here is one of a plugin that does not serve yet.
            return (try? await management.send("GET", "/api/whoami")) == nil ? nil : true
        }
        switch ready {
        case true?:
            return
        case false?:
            throw StackError(.startFailed, "The broker ended before it was ready. \(layout.logTails)")
        case nil:
            let limit = options.startLimit
            throw StackError(.deadline, "The broker was not ready within \(limit). \(layout.logTails)")
        }
    }
}
