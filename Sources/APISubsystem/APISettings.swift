import AddressPolicy

/// What an ``APISubsystem`` allows itself and its jobs.
public struct APISettings: Sendable {
    /// HTTP connections in all, and so calls at once; more wait for their turn.
    public var connections = 1_000
    /// The same for one host and port.
    public var connectionsPerHost = 256
    /// The largest response body kept in a result, in bytes after decoding.
    public var responseBytesMax = 256 << 10
    /// The largest response body put into a file, in bytes after decoding.
    public var fileBytesMax = 1 << 30
    /// What the response bodies in the result of one batch may come to, in bytes after decoding.
    public var batchBytesMax = 512 << 10
    /// Where calls may connect to, beyond the global addresses of the Internet.
    public var addresses = AddressPolicy.globalOnly
    /// PEM file of the certificate authorities to trust instead of the system's.
    public var caFile: String?
    /// Whether servers must prove who they are. Off only in a network of your own.
    public var verifiesTLS = true
    public var breaker = BreakerRules()
    /// Hosts whose circuit breakers are remembered; the least used are forgotten first.
    public var breakerHostsMax = 1_000

    public init() {}
}

/// When a host that fails is left alone, and for how long.
public struct BreakerRules: Sendable, Hashable {
    /// How far back calls count.
    public var window: Duration = .seconds(10)
    /// How many of a hundred calls must have failed; 0 switches breakers off.
    public var failurePercent = 50
    /// With fewer calls in the window nothing is concluded.
    public var callsMin = 20
    /// How long no call goes out.
    public var coolDown: Duration = .seconds(5)
    /// How many calls must succeed after that, and may be under way meanwhile, before all go out again.
    public var probes = 3

    public init() {}
}
