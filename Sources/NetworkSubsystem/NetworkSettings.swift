import AddressPolicy
import NetworkClient

/// What a ``NetworkSubsystem`` allows itself. Each has a setting `network.…` that says the same.
public struct NetworkSettings: Sendable {
    /// Name servers; those of /etc/resolv.conf when empty.
    public var nameservers: [Endpoint] = []
    /// How long one try with one name server may take.
    public var nameTryTimeout: Duration = .seconds(2)
    /// Tries for one question, over all servers.
    public var nameTries = 3
    /// Answers kept, and about how many bytes they may take.
    public var cachedAnswers = 10_000
    public var cachedBytes = 16 << 20
    /// An answer is kept at least and at most so long, and the answer that there is nothing at most so long.
    public var ttlMin: Duration = .zero
    public var ttlMax: Duration = .seconds(86_400)
    public var negativeTTLMax: Duration = .seconds(3_600)

    /// Probes and downloads of this worker at once, and how many may wait for one to end.
    public var connections = 1_000
    public var waitingMax = 10_000
    /// How long a job waits in its slot for a place or bandwidth of the fleet's before it is postponed.
    public var limitWait: Duration = .seconds(30)
    /// Which addresses probes and downloads may connect to.
    public var addresses = AddressPolicy.globalOnly
    /// PEM file of the authorities to trust instead of the system's.
    public var caFile: String?

    /// The largest file, in bytes.
    public var downloadBytesMax: Int64 = 10 << 30
    /// The longest that a server sends nothing.
    public var idleTimeout: Duration = .seconds(30)
    /// How often in one attempt a download goes on after a break that followed on one without a new byte.
    public var fruitlessTriesMax = 3
    /// How long the part of a download that nobody goes on with is kept.
    public var partialsKeptFor: Duration = .seconds(48 * 3_600)

    public init() {}

    func resolver(observe: @escaping @Sendable (ResolverEvent) -> Void) -> ResolverConfiguration {
        ResolverConfiguration(
            servers: nameservers.isEmpty ? Nameservers.system() : nameservers, tryTimeout: nameTryTimeout,
            tries: nameTries,
            cache: DNSCache.Limits(
                entries: cachedAnswers, bytes: cachedBytes, ttlMin: ttlMin, ttlMax: ttlMax,
                negativeTTLMax: negativeTTLMax), observe: observe)
    }
}
