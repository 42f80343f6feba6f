import FleetBroker
import FleetModel
import FleetStore

/// Whether somebody is at work, and whether work piles up.
enum FleetChecks {
    static func findings(_ deployment: Deployment) -> [Finding] {
        atWork(deployment) + setAside(deployment) + overdue(deployment)
    }

    private static func atWork(_ deployment: Deployment) -> [Finding] {
        guard let fleet = deployment.database?.fleet else { return [] }
        var findings: [Finding] = []
        if fleet.workers.isEmpty {
            findings.append(
                Finding(.workerAbsent, "fleet", "The ledger knows of no worker that lives.", remedy: "gaia worker"))
        }
        if fleet.leader == nil {
            findings.append(
                Finding(
                    .leaderAbsent, "fleet", "Nobody holds the leader's lock.", remedy: "gaia dispatcher, two of them"))
        }
        if let broker = deployment.broker { findings += consumers(fleet, broker) }
        return findings
    }

    private static func consumers(_ fleet: DatabaseState.Fleet, _ broker: BrokerState) -> [Finding] {
        broker.queues.sorted { $0.key < $1.key }.compactMap { name, queue in
            guard queue.consumers == 0 else { return nil }
            let place = "queue \(name)"
            if name == FleetBroker.enqueueQueue {
                guard let leader = fleet.leader else { return nil }
                return Finding(
                    .consumerMissing, place, "The dispatcher \(leader) leads, and nobody consumes from it.",
                    remedy: "look into the log of \(leader), and start it again")
            }
            guard name.hasPrefix(FleetBroker.jobsQueue("")) else { return nil }
            let subsystem = FleetBroker.subsystem(ofQueue: name)
            guard !Pauses(fleet.pauses).rests(subsystem: subsystem) else { return nil }
            if let worker = fleet.workers.first(where: { $0.subsystems.contains(subsystem) }) {
                return Finding(
                    .consumerMissing, place,
                    "The worker \(worker.name) serves \(subsystem), and nobody consumes from it.",
                    remedy: "look into the log of \(worker.name), and start it again")
            }
            guard queue.messages > 0, !fleet.workers.isEmpty else { return nil }
            return Finding(
                .queueUnserved, place, "\(queue.messages) jobs wait, and no worker serves \(subsystem).",
                remedy: "start a worker that serves it; what it lacks, a worker says at its start")
        }
    }

    private static func setAside(_ deployment: Deployment) -> [Finding] {
        let bound = deployment.needs.bounds.setAsideMax
        var findings: [Finding] = []
        if let messages = deployment.broker?.queues[FleetBroker.deadQueue]?.messages, messages > bound {
            findings.append(
                Finding(
                    .deadMany, "queue \(FleetBroker.deadQueue)", "\(messages) messages are set aside.",
                    remedy: "gaia dead list, then gaia dead replay or gaia dead drop"))
        }
        if let messages = deployment.broker?.queues[FleetBroker.unroutableQueue]?.messages, messages > bound {
            findings.append(
                Finding(
                    .unroutableMany, "queue \(FleetBroker.unroutableQueue)", "\(messages) messages fit no queue.",
                    remedy: "start a worker that has their handlers, or mend the producer; then gaia dead replay"))
        }
        return findings
    }

    private static func overdue(_ deployment: Deployment) -> [Finding] {
        // Without a leader that is what is wrong; and what rests is due for as long as it does.
        guard let fleet = deployment.database?.fleet, fleet.leader != nil, fleet.pauses.isEmpty,
            fleet.overdue > 0, fleet.overdueFor > deployment.needs.bounds.overdueMax
        else { return [] }
        return [
            Finding(
                .agendaOverdue, "agenda",
                "\(fleet.overdue) deliveries are due, the first for \(Int(fleet.overdueFor.inSeconds)) s.",
                remedy: "look into the leader's log; does the broker take what it publishes, is a queue full?")
        ]
    }
}
