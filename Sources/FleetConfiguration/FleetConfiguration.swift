import FleetModel

/// # FleetConfiguration
///
/// What a process is told at its start: from a YAML file, then from the environment, which wins. Every setting stands
/// in one table (`Setting.all`), from which come its check, its default, its variable and its documentation. An error
/// names the key, where it was read, and what would be right.
///
/// ```
///  gaia.yaml ──┐
///              ├──▶ values by key ──check──▶ FleetConfiguration
///  GAIA_… ─────┘        unknown key, wrong kind, out of range: ConfigurationError
/// ```
public struct FleetConfiguration: Sendable {
    /// The broker; nil when none is configured.
    public var amqpURL: String?
    /// A file that holds the password for it.
    public var amqpPasswordFile: String?
    /// The broker's management plugin; nil when none is configured.
    public var managementURL: String?
    /// The database; nil when none is configured.
    public var databaseURL: String?
    /// A file that holds the password for it.
    public var databasePasswordFile: String?
    public var databasePoolSize: Int
    /// How long a process waits at its start for broker and database before it gives up.
    public var startWait: Duration
    /// How this worker is called; host and process id when nil.
    public var workerName: String?
    /// The subsystems a worker serves; all it has handlers for when empty.
    public var workerSubsystems: [String]
    /// How many jobs of one subsystem run at once.
    public var workerSlotsDefault: Int
    public var workerSlots: [String: Int]
    /// Whether a subsystem may use slots that others of the same worker do not need.
    public var workerLendsSlots: Bool
    public var workerLease: Duration
    public var workerDrain: Duration
    /// After how long a job was slow for whom it was done.
    public var workerSlow: Duration
    public var dispatcherPoll: Duration
    public var dispatcherGrace: Duration
    public var payloadBytesMax: Int
    /// How long jobs that succeeded or were called off are kept.
    public var retentionSucceededHours: Int
    public var retentionDiscardedHours: Int
    public var outputBytesMax: Int
    public var api: APIConfiguration
    public var browser: BrowserConfiguration
    public var file: FileConfiguration
    public var network: NetworkConfiguration
    public var process: ProcessConfiguration
    /// Where the dispatcher serves HTTP; nowhere when nil.
    public var httpListen: String?
    /// What HTTP clients must show.
    public var httpToken: String?
    /// A file that holds it.
    public var httpTokenFile: String?
    public var httpConnectionsMax: Int
    public var httpWaitsMax: Int
    public var httpWaitMax: Duration
    public var httpBodyBytesMax: Int
    /// Where this process serves health and metrics; nowhere when nil.
    public var adminListen: String?
    /// What whoever asks there must show, and a file that holds it.
    public var adminToken: String?
    public var adminTokenFile: String?
    public var logLevel: String
    /// `text` or `json`.
    public var logFormat: String
    /// Where spans are sent; nowhere when nil.
    public var traceURL: String?
    /// Of the traces that begin here how many are recorded, from 0 to 1.
    public var traceRatio: Double
    /// What the collector is shown, and a file that holds it.
    public var traceToken: String?
    public var traceTokenFile: String?

    /// Reads file and environment.
    ///
    /// - Parameters:
    ///   - file: a YAML file's content and its name for errors; nil for none.
    ///   - environment: variables that begin with `GAIA_` and are not settings are ignored, since other programs of the
    ///     fleet have some of their own.
    public init(
        file: (name: String, text: String)? = nil, environment: [String: String]
    ) throws(ConfigurationError) {
        var values = SettingValues()
        if let file { try values.read(yaml: file.text, name: file.name) }
        try values.read(environment: environment)
        amqpURL = values.text("amqp.url")
        amqpPasswordFile = values.text("amqp.password_file")
        managementURL = values.text("management.url")
        databaseURL = values.text("database.url")
        databasePasswordFile = values.text("database.password_file")
        databasePoolSize = try values.number("database.pool_size")
        startWait = .milliseconds(try values.number("start.wait_ms"))
        workerName = values.text("worker.name")
        workerSubsystems = try values.names("worker.subsystems")
        workerSlotsDefault = try values.number("worker.slots.default")
        workerSlots = try values.numbers(under: "worker.slots.")
        workerLendsSlots = try values.choice("worker.lend_slots") == "true"
        workerLease = .milliseconds(try values.number("worker.lease_ms"))
        workerDrain = .milliseconds(try values.number("worker.drain_ms"))
        workerSlow = .milliseconds(try values.number("worker.slow_ms"))
        dispatcherPoll = .milliseconds(try values.number("dispatcher.poll_ms"))
        dispatcherGrace = .milliseconds(try values.number("dispatcher.grace_ms"))
        payloadBytesMax = try values.number("limits.payload_bytes")
        retentionSucceededHours = try values.number("retention.succeeded_hours")
        retentionDiscardedHours = try values.number("retention.discarded_hours")
        outputBytesMax = try values.number("limits.output_bytes")
        api = try APIConfiguration(values)
        browser = try BrowserConfiguration(values)
        self.file = try FileConfiguration(values)
        network = try NetworkConfiguration(values)
        process = try ProcessConfiguration(values)
        httpListen = values.text("http.listen")
        httpToken = values.text("http.token")
        httpTokenFile = values.text("http.token_file")
        httpConnectionsMax = try values.number("http.connections")
        httpWaitsMax = try values.number("http.waits")
        httpWaitMax = .milliseconds(try values.number("http.wait_ms"))
        httpBodyBytesMax = try values.number("http.body_bytes")
        adminListen = values.text("admin.listen")
        adminToken = values.text("admin.token")
        adminTokenFile = values.text("admin.token_file")
        logLevel = try values.choice("log.level")
        logFormat = try values.choice("log.format")
        traceURL = values.text("trace.url")
        traceRatio = try values.ratio("trace.ratio")
        traceToken = values.text("trace.token")
        traceTokenFile = values.text("trace.token_file")
    }
}

/// A setting that is wrong: which, where, and what would be right.
public struct ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}
