import FleetBroker
import FleetModel
import FleetStore

/// What a frame says, whatever its size.
public struct FleetFrame: Sendable {
    struct SubsystemRow: Sendable {
        let name: String
        /// In both its queues; nil when the broker has none of them.
        let ready: Int?
        let consumers: Int?
        /// Delivered and not settled: as the broker says, or else as the workers last reported.
        let unacknowledged: Int?
        let rates: SubsystemRates?
        let isResting: Bool
    }

    struct QueueRow: Sendable {
        let queue: BrokerSight.Queue
        /// About how long its oldest job has waited, in seconds: as long as most of those that were delivered last. Nil when
        /// none waits, or none was delivered.
        let oldest: Double?
        let isResting: Bool
    }

    struct WorkerRow: Sendable {
        let record: WorkerRecord
        /// Jobs per second.
        let ended: Double?
        let notices: [String]

        var isGone: Bool { record.state == "gone" }
        var hasLapsed: Bool { !isGone && record.leaseMilliseconds <= 0 }
    }

    let subsystems: [SubsystemRow]
    let queues: [QueueRow]
    /// Those with a lease that ran out first, those that are gone last.
    let workers: [WorkerRow]
    let glance: FleetGlance?
    public let alarms: [Alarm]
    let curve: [Double]
    let ledgerAge: Double?
    let brokerAge: Double?
    /// Whether an answer is so old that the age must be seen.
    let interval: Double

    /// - Parameters:
    ///   - now: seconds by the clock of the sight.
    ///   - interval: seconds between two looks.
    public init(_ sight: Sight, _ history: History, now: Double, interval: Double) {
        let ledger = sight.ledger.content
        let workers = ledger?.workers ?? []
        let present = workers.filter { $0.state != "gone" }
        let pauses = Pauses(ledger?.pauses.map(\.scope) ?? [])
        let rates = history.rates
        let queues = sight.broker.content?.queues ?? []

        let names = Set(sight.known).union(present.flatMap(\.subsystems)).sorted()
        subsystems = names.map { name in
            let own = queues.filter { $0.subsystem == name }
            func sum(_ values: [Int?]) -> Int? {
                let known = values.compactMap { $0 }
                return known.isEmpty ? nil : known.reduce(0, +)
            }
            let loads = present.flatMap(\.load).filter { $0.name == name }
            let inHand = ledger == nil ? nil : loads.reduce(0) { $0 + $1.busy + $1.waiting }
            return SubsystemRow(
                name: name, ready: sum(own.map(\.ready)), consumers: sum(own.map(\.consumers)),
                unacknowledged: sum(own.map(\.unacknowledged)) ?? inHand, rates: rates[name],
                isResting: pauses.rests(subsystem: name))
        }
        self.queues = queues.map { queue in
            let waited = queue.subsystem.flatMap { rates[$0]?.queued.quantile(0.95) }
            return QueueRow(
                queue: queue, oldest: (queue.ready ?? 0) > 0 ? waited : nil,
                isResting: queue.subsystem.map(pauses.rests(subsystem:)) ?? false)
        }
        let rows = workers.map { worker in
            WorkerRow(
                record: worker, ended: history.ended(worker: worker.id),
                notices: worker.state == "gone"
                    ? [] : worker.load.flatMap { load in load.notices.map { "\(load.name): \($0)" } })
        }
        func order(_ row: WorkerRow) -> Int { row.hasLapsed ? 0 : row.isGone ? 2 : 1 }
        self.workers = rows.sorted {
            if order($0) != order($1) { return order($0) < order($1) }
            if $0.record.name == $1.record.name { return $0.record.id < $1.record.id }
            return Words.precedes($0.record.name, $1.record.name)
        }
        glance = ledger?.glance
        alarms = AlarmJudge(sight: sight, history: history, now: now, interval: interval).alarms
        curve = history.curve
        (ledgerAge, brokerAge) = (sight.ledger.age(at: now), sight.broker.age(at: now))
        self.interval = interval
    }

    /// Jobs per second that end in the whole fleet; nil when nobody tells.
    var ended: Double? {
        let known = subsystems.compactMap { $0.rates?.ended }
        return known.isEmpty ? nil : known.reduce(0, +)
    }

    var presentWorkers: Int { workers.count { !$0.isGone } }
}
