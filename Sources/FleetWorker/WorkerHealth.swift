import FleetBroker
import FleetModel
import FleetObservability
import FleetStore

extension Worker {
    /// What a worker can be asked about: broker and database, without which it can do nothing, and each subsystem.
    public var health: [HealthPart] {
        let servers = [
            HealthPart("broker", isNeeded: true) { await self.brokerHealth() },
            HealthPart("database", isNeeded: true) { await self.databaseHealth() },
        ]
        return servers
            + subsystems.map { subsystem in
                HealthPart(subsystem, isNeeded: false) { self.health(of: subsystem) }
            }
    }

    private func brokerHealth() async -> PartHealth {
        var health = PartHealth(.pass, lastSuccess: settler.lastConfirmed)
        publishing.describe(in: &health)
        consuming.describe(in: &health)
        let queues = expectedQueues
        health.facts["queues"] = .number(Double(queues.count))
        await presence.describe(consuming, queues: queues, part: "worker", in: &health)
        return health
    }

    private func databaseHealth() async -> PartHealth {
        var health = await answers.health(pool)
        let epoch = await lease.present
        health.facts["epoch"] = .number(Double(epoch?.epoch ?? 0))
        if epoch == nil {
            health.worsen(.fail, "the lease is lost: jobs are claimed again when the database has given a new one")
        }
        return health
    }

    private func health(of subsystem: String) -> PartHealth {
        var health = PartHealth(.pass, lastSuccess: jobMetrics.lastSuccess(of: subsystem))
        if let load = load.subsystems.first(where: { $0.name == subsystem }) {
            health.facts["slots"] = .number(Double(load.slots))
            health.facts["busy"] = .number(Double(load.busy))
            health.facts["waiting"] = .number(Double(load.waiting))
            for notice in load.notices { health.worsen(.warn, notice) }
        }
        health.facts["resting"] = .flag(pauses.withLock { $0.rests(subsystem: subsystem) })
        return health
    }

    /// From which a consumer of ours should take jobs now.
    ///
    /// - Returns: for each whether more would be taken.
    private var expectedQueues: [String: Bool] {
        let loads = Dictionary(uniqueKeysWithValues: load.subsystems.map { ($0.name, $0) })
        var queues: [String: Bool] = [:]
        for subsystem in subsystems where !pauses.withLock({ $0.rests(subsystem: subsystem) }) {
            guard let load = loads[subsystem], load.slots > 0 else { continue }
            for queue in [FleetBroker.urgentQueue(subsystem), FleetBroker.jobsQueue(subsystem)] {
                queues[queue] = load.busy < load.slots && load.waiting == 0
            }
        }
        return queues
    }
}
