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
    /// Whether a subsystem whose jobs wait may use slots that others of this worker do not need.
    public var lendsSlots = true
    /// Of subsystems whose slots stand for something that cannot be had twice: how many there are. They are not lent, and no
    /// more jobs are delivered than have a place, on each lane.
    public var places: [String: Int] = [:]
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
    /// What subsystems hold, such as so many browsers, in the same way.
    public var holdings: @Sendable () -> [String: String] = { [:] }

    /// Where this process is to die, for tests.
    public var fault: FaultPoint? = .ofEnvironment

    public init(amqp: AMQPConfiguration, database: PostgresConfiguration, name: String, host: String) {
        self.amqp = amqp
        self.database = database
        self.name = name
        self.host = host
    }

    package func slots(of subsystem: String) -> Int {
        guard let places = places[subsystem] else { return slots[subsystem] ?? slotsDefault }
        return min(slots[subsystem] ?? places, places)
    }

    /// How many deliveries the broker may have out with us: those that run, and half as many again on their way in or out.
    /// RabbitMQ caps what a quorum queue's consumer may have at about 2,000.
    package func prefetch(of subsystem: String, slots: Int) -> UInt16 {
        let ahead = places[subsystem] == nil ? max(slots / 2, 50) : 0
        return UInt16(min(slots + ahead, FleetStore.inHandMax))
    }
}

/// The most jobs in one claim and in one completion: large enough that a round trip is shared by hundreds, small enough
/// that one statement holds no row lock for long.
enum BatchLimit {
    static let claim = 500
    static let completion = 1_000
}
