/// The settings `api.…`, as they were read. What their texts mean, the subsystem says.
public struct APIConfiguration: Sendable {
    public var connectionsMax: Int
    public var connectionsPerHostMax: Int
    public var responseBytesMax: Int
    public var fileBytesMax: Int
    public var batchBytesMax: Int
    /// Addresses, ranges of them and host names.
    public var allow: [String]
    public var caFile: String?
    public var verifiesTLS: Bool
    public var breakerPercent: Int
    public var breakerCallsMin: Int
    public var breakerWindow: Duration
    public var breakerCoolDown: Duration
    public var breakerProbes: Int

    init(_ values: SettingValues) throws(ConfigurationError) {
        connectionsMax = try values.number("api.connections")
        connectionsPerHostMax = try values.number("api.connections_per_host")
        responseBytesMax = try values.number("api.response_bytes")
        fileBytesMax = try values.number("api.file_bytes")
        batchBytesMax = try values.number("api.batch_bytes")
        allow = values.list("api.allow")
        caFile = values.text("api.ca_file")
        verifiesTLS = try values.choice("api.verify_tls") == "true"
        breakerPercent = try values.number("api.breaker_percent")
        breakerCallsMin = try values.number("api.breaker_calls")
        breakerWindow = .milliseconds(try values.number("api.breaker_window_ms"))
        breakerCoolDown = .milliseconds(try values.number("api.breaker_cool_down_ms"))
        breakerProbes = try values.number("api.breaker_probes")
    }
}
