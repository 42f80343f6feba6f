import FleetModel

/// # FleetBroker
///
/// What the fleet says over AMQP: which exchanges and queues there are, and how a job, a result, an event and a message
/// that was set aside look on the wire. Plain AMQP properties carry the contract, so that a producer in any language
/// needs nothing but its AMQP client.
///
/// ```
///  producer ──type──▶ gaia.jobs ──<subsystem>.#──▶ gaia.jobs.<subsystem> ──▶ worker
///       urgent.type ──▶        └─urgent.<subsystem>.#─▶ gaia.jobs.<subsystem>.high ──▶ the same worker, first
///                        └─ unroutable ─▶ gaia.unroutable                       │
///                                                                               ├─▶ gaia.results  <type>.<outcome>
///  dispatcher ◀── gaia.enqueue ◀── requests (delay, batch)                      ├─▶ reply_to
///                                                                               ├─▶ gaia.events   job.*
///                                                                               └─▶ gaia.dead     set aside, with why
/// ```
public enum FleetBroker {
    /// Where jobs are published; the routing key is the job's type.
    public static let jobsExchange = "gaia.jobs"
    public static let resultsExchange = "gaia.results"
    public static let eventsExchange = "gaia.events"
    public static let controlExchange = "gaia.control"
    /// What no worker can take, with the reason in its headers.
    public static let deadExchange = "gaia.dead"
    public static let deadQueue = "gaia.dead"
    /// What fits no queue.
    public static let unroutableExchange = "gaia.unroutable"
    public static let unroutableQueue = "gaia.unroutable"
    /// Where requests to the dispatcher are published; any routing key will do. A producer that may write to it needs no
    /// right to write to queues.
    public static let enqueueExchange = "gaia.enqueue"
    /// Requests to the dispatcher.
    public static let enqueueQueue = "gaia.enqueue"

    /// What the names of producers' queues for answers begin with.
    public static let replyPrefix = "gaia.reply."
    /// The same of dispatchers, which wait for results on behalf of HTTP clients. A prefix of their own, so that no producer
    /// may declare such a queue and no dispatcher may read a producer's.
    public static let waitPrefix = "gaia.wait."

    /// The queue of one subsystem's jobs.
    public static func jobsQueue(_ subsystem: String) -> String { "gaia.jobs.\(subsystem)" }

    /// The queue of one subsystem's urgent jobs. A queue beside the other, since quorum queues have no priorities before
    /// RabbitMQ 4.
    public static func urgentQueue(_ subsystem: String) -> String { "gaia.jobs.\(subsystem).high" }

    /// Whose jobs a queue holds, by its name.
    public static func subsystem(ofQueue queue: String) -> String {
        let name = queue.hasPrefix("gaia.jobs.") ? queue.dropFirst("gaia.jobs.".count) : queue[...]
        return String(name.hasSuffix(".high") ? name.dropLast(".high".count) : name)
    }

    /// Whether a queue of jobs is one of urgent ones.
    public static func isUrgent(queue: String) -> Bool { queue.hasSuffix(".high") }

    /// What goes before the type in the routing key of an urgent job.
    public static let urgentPrefix = "\(JobType.urgentLane)."

    /// How often the broker may redeliver a message before it takes it for poison. The ledger counts attempts; this only
    /// has to end a loop, and a crash of a worker counts against everything that it had prefetched, so it is high.
    public static let deliveryLimit: Int64 = 50
    /// The same for what was set aside, where it must end nothing.
    public static let keepingDeliveryLimit: Int64 = 1_000_000
}
