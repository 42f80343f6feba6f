import FleetStore

@testable import FleetTop

/// A worker as the ledger tells of it.
func worker(
    _ name: String = "w", id: Int64 = 1, state: String = "live", host: String = "host", leaseSeconds: Double = 29,
    started: Double = 0, reported: Double = 100, now: Double? = nil, lostSeconds: Double? = nil,
    load: [WorkerLoad.Subsystem] = [tally("api", ended: 0)]
) -> WorkerRecord {
    WorkerRecord(
        id: id, name: name, host: host, processID: 1, version: "1", state: state, subsystems: load.map(\.name),
        slots: load.reduce(0) { $0 + $1.slots }, busy: load.reduce(0) { $0 + $1.busy }, epoch: 1,
        leaseMilliseconds: Int64(leaseSeconds * 1_000), leaseWholeMilliseconds: 30_000, started: started,
        reported: reported, now: now ?? reported, lostSeconds: lostSeconds, load: load)
}

/// A subsystem's part of a report.
func tally(
    _ name: String, ended: Int, failed: Int = 0, retried: Int = 0, runs: [Duration] = [], notices: [String] = []
) -> WorkerLoad.Subsystem {
    var tally = WorkerTally()
    (tally.ended, tally.failed, tally.retried) = (ended, failed, retried)
    for run in runs { tally.run.add(run) }
    return WorkerLoad.Subsystem(name: name, busy: 3, slots: 20, waiting: 1, notices: notices, tally: tally)
}

func ledger(_ workers: [WorkerRecord], _ change: (inout FleetGlance) -> Void = { _ in }) -> LedgerSight {
    var glance = FleetGlance()
    glance.leader = .init(name: "dispatcher-1", term: 4, sinceSeconds: 90)
    (glance.workers, glance.sessions, glance.sessionsMax) = (workers.count, 12, 100)
    change(&glance)
    return LedgerSight(glance: glance, workers: workers)
}

let queues = [
    BrokerSight.Queue(name: "gaia.jobs.api.high", ready: 0, consumers: 1),
    BrokerSight.Queue(name: "gaia.jobs.api", ready: 1_204, consumers: 1),
    BrokerSight.Queue(name: "gaia.enqueue", ready: 0, consumers: 1),
    BrokerSight.Queue(name: "gaia.dead", ready: 0, consumers: 0),
    BrokerSight.Queue(name: "gaia.unroutable", ready: 0, consumers: 0),
]

/// Both servers have answered at this moment.
func sight(_ ledger: LedgerSight, queues: [BrokerSight.Queue] = queues, at now: Double = 0) -> Sight {
    var sight = Sight(known: ["api"], begun: 0)
    sight.ledger.saw(ledger, at: now)
    sight.broker.saw(BrokerSight(queues: queues), at: now)
    return sight
}

func frame(_ sight: Sight, _ history: History = History(), now: Double = 0) -> FleetFrame {
    FleetFrame(sight, history, now: now, interval: 1)
}
