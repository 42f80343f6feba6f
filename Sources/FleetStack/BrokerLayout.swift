import FoundationEssentials
import Glibc

/// What a broker's directory remembers between starts.
struct BrokerRecord: Sendable, Codable {
    static let fileName = "broker.json"

    let amqpPort: UInt16
    let amqpsPort: UInt16
    let managementPort: UInt16
    /// Where Prometheus asks; nil for a broker that was made before it could.
    let metricsPort: UInt16?
    let mapperPort: UInt16
    let distributionPort: UInt16
    let password: String
    let cookie: String
    let management: Bool
    let tls: Bool
    let settings: [String: String]
    let plugins: [String]
    let detached: Bool
    let prefix: String
    /// nil for a broker on its own.
    let membership: ClusterMembership?

    /// How many ports of its own a node needs, besides the port mapper's.
    static let portCount = 5

    /// Those of its own that it listens on. Of the others another server may have taken one meanwhile.
    var ports: [UInt16] {
        [amqpPort, distributionPort] + (tls ? [amqpsPort] : [])
            + (management ? [managementPort] + [metricsPort].compactMap { $0 } : [])
    }

    /// As Erlang and RabbitMQ's tables call it.
    var nodeName: String { membership?.name ?? "gaia@localhost" }

    /// The same place with other options.
    init(_ options: PrivateBroker.Options, keeping record: BrokerRecord) {
        var options = options
        options.membership = record.membership
        self.init(
            options,
            ports: [record.amqpPort, record.amqpsPort, record.managementPort, record.distributionPort]
                + [record.metricsPort].compactMap { $0 },
            mapperPort: record.mapperPort,
            secrets: BrokerSecrets(password: record.password, cookie: record.cookie)
        )
    }

    /// - Parameter ports: ``portCount`` of its own, or one less without ``metricsPort``.
    init(_ options: PrivateBroker.Options, ports: [UInt16], mapperPort: UInt16, secrets: BrokerSecrets) {
        amqpPort = ports[0]
        amqpsPort = ports[1]
        managementPort = ports[2]
        distributionPort = ports[3]
        metricsPort = ports.count > 4 ? ports[4] : nil
        self.mapperPort = mapperPort
        password = secrets.password
        cookie = secrets.cookie
        membership = options.membership
        management = options.management
        tls = options.tls
        settings = options.settings
        plugins = options.plugins
        detached = options.detached
        prefix = options.prefix
    }
}

/// What must be known to use a broker, and to be one of its nodes.
struct BrokerSecrets: Sendable, Codable {
    var password = randomPassword()
    var cookie = randomPassword()
}

/// What makes a node one of several that are one cluster.
struct ClusterMembership: Sendable, Codable {
    /// This node's, among `nodes`.
    let name: String
    /// The names of all.
    let nodes: [String]
    /// The same for all.
    let secrets: BrokerSecrets

    /// Where its connections to the others come from: each node's is its own, so that they can be told apart. All of
    /// 127.0.0.0/8 is this machine.
    var source: String { "127.0.1.\((nodes.firstIndex(of: name) ?? 0) + 1)" }
}

/// Where a broker's files are and how its programs are called.
///
/// ```
/// broker.json  processes.json  output.log      ours
/// home/        sbin escript plugins/           ours: links into the package, of plugins only those needed
/// tls/         certificates                    ours, the server's key excepted
/// node/        .erlang.cookie rabbitmq.conf … data/ log/    the server's
/// ```
struct BrokerLayout: Sendable {
    static let node = "node"

    let directory: StateDirectory
    let package: BrokerPackage
    let account: Account?
    let record: BrokerRecord

    init(_ directory: StateDirectory, _ package: BrokerPackage, _ account: Account?, _ record: BrokerRecord) {
        self.directory = directory
        self.package = package
        self.account = account
        self.record = record
    }

    var outputLog: String { directory.file("output.log") }
    var nodeLog: String { "\(node)/log/broker.log" }
    var authority: TestAuthority { TestAuthority(directory: directory.file("tls")) }
    var logTails: String { tail(of: outputLog) + "\n" + tail(of: nodeLog) }

    private var home: String { directory.file("home") }
    private var node: String { directory.file("node") }

    /// Lays out all files but data.
    func write(_ options: PrivateBroker.Options) throws {
        for path in [node, "\(node)/data", "\(node)/log"] { try makeDirectory(path, mode: 0o700, owner: account) }
        try writeHome(plugins(options))
        try writeFile("\(node)/.erlang.cookie", record.cookie, mode: 0o400, owner: account)
        try writeFile("\(node)/rabbitmq.conf", configuration(options), mode: 0o600, owner: account)
        let enabled = plugins(options).joined(separator: ",")
        try writeFile("\(node)/enabled_plugins", "[\(enabled)].\n", mode: 0o600, owner: account)
        // Empty, and there: without it the scripts read the system's.
        try writeFile("\(node)/env.conf", "", mode: 0o600, owner: account)
    }

    private func plugins(_ options: PrivateBroker.Options) -> [String] {
        guard options.management else { return options.plugins }
        return options.plugins + ["rabbitmq_management"] + (record.metricsPort == nil ? [] : ["rabbitmq_prometheus"])
    }

    /// A home of RabbitMQ made of links: the package's own scripts, run by that path, take the plugins from here.
    private func writeHome(_ plugins: [String]) throws {
        try makeDirectory(home, mode: 0o755)
        for name in ["sbin", "escript"] { try makeLink("\(home)/\(name)", to: "\(package.home)/\(name)") }
        let place = "\(home)/plugins"
        var status = stat()
        if lstat(place, &status) == 0 {
            do { try FileManager.default.removeItem(atPath: place) } catch {
                throw StackError(.directory, "Cannot remove \(place): \(error)")
            }
        }
        if let needed = package.pluginDirectories(for: plugins) {
            try makeDirectory(place, mode: 0o755)
            for name in needed { try makeLink("\(place)/\(name)", to: "\(package.home)/plugins/\(name)") }
        } else {
            try makeLink(place, to: "\(package.home)/plugins")
        }
    }

    private func configuration(_ options: PrivateBroker.Options) -> String {
        var lines = [
            "listeners.tcp.default": "127.0.0.1:\(record.amqpPort)",
            "default_user": PrivateBroker.user,
            "default_pass": record.password,
            "default_user_tags.administrator": "true",
            "default_permissions.configure": ".*",
            "default_permissions.write": ".*",
            "default_permissions.read": ".*",
            // An alarm blocks publishers without end. Let it mean that the machine is truly at its limit, not that a
            // disk or memory shared with others is a little fuller than on a server of its own.
            "disk_free_limit.absolute": "50MB",
            "vm_memory_high_watermark.relative": "0.6",
            "log.file": nodeLog,
            "log.file.level": "info",
            "log.file.rotation.size": "16777216",
            "log.file.rotation.count": "2",
            "log.console": "false",
        ]
        if options.management {
            lines["management.tcp.ip"] = "127.0.0.1"
            lines["management.tcp.port"] = "\(record.managementPort)"
            if let port = record.metricsPort {
                lines["prometheus.tcp.ip"] = "127.0.0.1"
                lines["prometheus.tcp.port"] = "\(port)"
            }
        }
        if options.tls {
            lines["listeners.ssl.default"] = "127.0.0.1:\(record.amqpsPort)"
            lines["ssl_options.cacertfile"] = authority.authority
            lines["ssl_options.certfile"] = authority.server
            lines["ssl_options.keyfile"] = authority.serverKey
            // A certificate of the client's is checked if it comes with one.
            lines["ssl_options.verify"] = "verify_peer"
            lines["ssl_options.fail_if_no_peer_cert"] = "false"
        }
        if let membership = record.membership {
            lines["cluster_formation.peer_discovery_backend"] = "classic_config"
            for (number, name) in zip(1..., membership.nodes) {
                lines["cluster_formation.classic_config.nodes.\(number)"] = name
            }
            // Who has the lock first finds nobody to join, and is the one whom the others join. By default it would
            // look ten times, for five seconds, while they wait.
            lines["cluster_formation.discovery_retry_limit"] = "1"
            lines["cluster_formation.discovery_retry_interval"] = "100"
            // What RabbitMQ advises for quorum queues: nodes cut off from the most do not go on by themselves.
            lines["cluster_partition_handling"] = "pause_minority"
        }
        lines.merge(options.settings) { $1 }
        return lines.sorted { $0.key < $1.key }.map { "\($0.key) = \($0.value)\n" }.joined()
    }

    // MARK: Commands

    var nodeCommand: Command { command("\(home)/sbin/rabbitmq-server", []) }

    /// A call of one of RabbitMQ's tools: `rabbitmqctl`, `rabbitmq-queues`, …
    func tool(_ name: String, _ arguments: [String]) -> Command {
        command("\(home)/sbin/\(name)", ["--quiet"] + arguments)
    }

    private func command(_ executable: String, _ arguments: [String]) -> Command {
        var environment = Command.plainEnvironment
        let path = environment["PATH"] ?? ""
        environment["PATH"] = "\(package.erl.dropLast("/erl".count)):\(path)"
        environment.merge(
            [
                "HOME": node,
                "ERL_EPMD_PORT": "\(record.mapperPort)",
                "ERL_EPMD_ADDRESS": "127.0.0.1",
                "ERL_CRASH_DUMP": "\(node)/log/erl_crash.dump",
                // The machine's own name may resolve to anything, or nothing.
                "RABBITMQ_NODENAME": record.nodeName,
                "RABBITMQ_SCRIPTS_DIR": "\(home)/sbin",
                "RABBITMQ_PLUGINS_DIR": "\(home)/plugins",
                "RABBITMQ_CONF_ENV_FILE": "\(node)/env.conf",
                "RABBITMQ_CONFIG_FILE": "\(node)/rabbitmq.conf",
                "RABBITMQ_ADVANCED_CONFIG_FILE": "\(node)/advanced.config",
                "RABBITMQ_ENABLED_PLUGINS_FILE": "\(node)/enabled_plugins",
                "RABBITMQ_MNESIA_BASE": "\(node)/data",
                "RABBITMQ_LOG_BASE": "\(node)/log",
                "RABBITMQ_PID_FILE": "\(node)/broker.pid",
                "RABBITMQ_DIST_PORT": "\(record.distributionPort)",
                // Makes the script become the Erlang machine instead of waiting for it: the process we spawn is the
                // node, and SIGTERM reaches it.
                "RUNNING_UNDER_SYSTEMD": "true",
                // Instead of binding to cores, which serves only where the whole machine is the broker's, and of
                // sleeping at once, which on virtual machines makes each file read at boot cost a wake-up.
                "RABBITMQ_SERVER_ERL_ARGS": "+sbwt very_short +sbwtdcpu none +sbwtdio very_short",
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": Self.loopbackOnly + connectOptions,
                "RABBITMQ_CTL_ERL_ARGS": Self.loopbackOnly,
                // Any port: the fixed range is for firewalls, and commands run side by side would use it up.
                "RABBITMQ_CTL_DIST_PORT_MIN": "0",
                "RABBITMQ_CTL_DIST_PORT_MAX": "0",
            ]
        ) { $1 }
        return Command(
            executable: executable,
            arguments: arguments,
            environment: environment,
            directory: node,
            account: account
        )
    }

    private var connectOptions: String {
        guard let source = record.membership?.source else { return "" }
        return " -kernel inet_dist_connect_options [{ip,{\(source.replacing(".", with: ","))}}]"
    }

    private static let loopbackOnly = "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"
}
