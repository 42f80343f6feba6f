import AMQPClient
import FleetModel
import FleetStore
import FoundationEssentials
import PostgresClient

/// What a worker is told: where broker and database are, and how much it may take on.
public struct WorkerConfiguration: Sendable {
    public var amqp: AMQPConfiguration
    public var database: PostgresConfiguration
    /// Shown in tables, logs and events.
    public var name: String
    public var host: String
    public var processID: Int32 = ProcessInfo.processInfo.processIdentifier
    /// Jobs of one subsystem that run at once, where `slots` does not say otherwise.
    public var slotsDefault: Int = 200
    public var slots: [String: Int] = [:]
    /// Whether a subsystem whose jobs wait may use slots that others of this worker do not need. Not where a slot stands
    /// for something that cannot be had twice, such as a browser.
    public var lendsSlots = true
    /// How long this worker owns its jobs without renewing.
    public var lease: Duration = FleetStore.leaseDefault
    /// How long running jobs may go on once the worker is told to stop.
    public var drain: Duration = .seconds(25)
    /// How long to wait at the start for broker and database.
    public var startWait: Duration = .seconds(60)
    /// The largest payload taken, in bytes.
    public var payloadBytesMax: Int = 1 << 20
    /// The largest output stored, in bytes.
    public var outputBytesMax: Int = 1 << 20
    /// When a job that is done for somebody was slow for them: from its first claim, or the time for which it was
    /// scheduled, to its end.
    public var slow: Duration = .seconds(10)

    /// What is amiss with what subsystems hold, by subsystem: asked for at each renewal of the lease, shown by `gaia status`.
    public var notices: @Sendable () -> [String: [String]] = { [:] }

    /// Where this process is to die, for tests.
    public var fault: FaultPoint? = .ofEnvironment

    public init(amqp: AMQPConfiguration, database: PostgresConfiguration, name: String, host: String) {
        self.amqp = amqp
        self.database = database
        self.name = name
        self.host = host
    }

    func slots(of subsystem: String) -> Int { slots[subsystem] ?? slotsDefault }

    /// How many deliveries the broker may have out with us: those that run, and half as many again on their way in or out.
    /// RabbitMQ caps what a quorum queue's consumer may have at about 2,000.
    func prefetch(slots: Int) -> UInt16 {
        UInt16(min(slots + max(slots / 2, 50), FleetStore.inHandMax))
    }
}

/// The most jobs in one claim and in one completion: large enough that a round trip is shared by hundreds, small enough
/// that one statement holds no row lock for long.
enum BatchLimit {
    static let claim = 500
    static let completion = 1_000
}
