import FleetBroker
import FleetStore

/// What the ledger told at one moment.
public struct LedgerSight: Sendable {
    public var glance: FleetGlance
    public var workers: [WorkerRecord]
    public var pauses: [PauseRecord]

    public init(glance: FleetGlance, workers: [WorkerRecord], pauses: [PauseRecord] = []) {
        (self.glance, self.workers, self.pauses) = (glance, workers, pauses)
    }
}

/// What the broker told at one moment.
public struct BrokerSight: Sendable {
    public struct Queue: Sendable {
        public var name: String
        /// Ready to be delivered; nil when there is no such queue.
        public var ready: Int?
        public var consumers: Int?
        /// Delivered and not settled; nil where only the management plugin would know.
        public var unacknowledged: Int?

        /// Whose jobs it holds; nil for a queue of the fleet itself.
        var subsystem: String? {
            name.hasPrefix(FleetBroker.jobsQueue("")) ? FleetBroker.subsystem(ofQueue: name) : nil
        }

        public init(name: String, ready: Int?, consumers: Int?, unacknowledged: Int? = nil) {
            (self.name, self.ready, self.consumers) = (name, ready, consumers)
            self.unacknowledged = unacknowledged
        }
    }

    public var queues: [Queue]
    /// Nodes with an alarm, as in `rabbit@host is short of memory`; empty also where nobody can be asked.
    public var alarms: [String]
    /// Why the management plugin that is configured told nothing; nil when it did, or none is.
    public var managementFault: String?

    public init(queues: [Queue], alarms: [String] = [], managementFault: String? = nil) {
        (self.queues, self.alarms, self.managementFault) = (queues, alarms, managementFault)
    }
}

/// One server's last answer. Times are seconds by a clock of this process that never goes back.
public struct Watched<Content: Sendable>: Sendable {
    public var content: Content?
    public var seenAt: Double?
    /// Why the last look failed; nil when it did not.
    public var fault: String?

    public init() {}

    public mutating func saw(_ content: Content, at now: Double) {
        (self.content, seenAt, fault) = (content, now, nil)
    }

    public mutating func failed(_ fault: String) { self.fault = fault }

    /// Nil when nothing was ever seen.
    public func age(at now: Double) -> Double? { seenAt.map { max(0, now - $0) } }
}

/// All that is known of the fleet.
public struct Sight: Sendable {
    public var ledger = Watched<LedgerSight>()
    public var broker = Watched<BrokerSight>()
    /// Subsystems that are to be shown though no worker serves them.
    public var known: [String]
    /// When the watching began.
    public var begun: Double

    public init(known: [String], begun: Double) { (self.known, self.begun) = (known, begun) }
}
