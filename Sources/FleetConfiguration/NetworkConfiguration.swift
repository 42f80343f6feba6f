/// The settings `network.…`, as they were read. What their texts mean, the subsystem says.
public struct NetworkConfiguration: Sendable {
    public var nameservers: [String]
    public var nameTryTimeout: Duration
    public var nameTries: Int
    public var cachedAnswersMax: Int
    public var cachedBytesMax: Int
    public var ttlMin: Duration
    public var ttlMax: Duration
    public var negativeTTLMax: Duration
    public var connectionsMax: Int
    public var waitingMax: Int
    public var limitWait: Duration
    /// Addresses, ranges of them and host names.
    public var allow: [String]
    public var caFile: String?
    public var downloadBytesMax: Int
    public var idleTimeout: Duration
    public var fruitlessTriesMax: Int
    public var partialsKeptFor: Duration

    init(_ values: SettingValues) throws(ConfigurationError) {
        nameservers = values.list("network.nameservers")
        nameTryTimeout = .milliseconds(try values.number("network.name_try_ms"))
        nameTries = try values.number("network.name_tries")
        cachedAnswersMax = try values.number("network.cache_answers")
        cachedBytesMax = try values.number("network.cache_bytes")
        ttlMin = .seconds(try values.number("network.ttl_min_s"))
        ttlMax = .seconds(try values.number("network.ttl_max_s"))
        negativeTTLMax = .seconds(try values.number("network.negative_ttl_max_s"))
        connectionsMax = try values.number("network.connections")
        waitingMax = try values.number("network.waiting")
        limitWait = .milliseconds(try values.number("network.limit_wait_ms"))
        allow = values.list("network.allow")
        caFile = values.text("network.ca_file")
        downloadBytesMax = try values.number("network.download_bytes")
        idleTimeout = .milliseconds(try values.number("network.idle_ms"))
        fruitlessTriesMax = try values.number("network.fruitless_tries")
        partialsKeptFor = .seconds(try values.number("network.partial_hours") * 3_600)
    }
}
