import AMQPClient
import FleetBroker
import FleetModel

/// A deployment at one moment, as far as it could be seen, beside what the fleet needs.
struct Deployment: Sendable {
    var needs: Needs
    /// Nil when it could not be reached.
    var broker: BrokerState?
    /// Nil when it could not be reached.
    var database: DatabaseState?

    /// What is wrong, errors first, each group in the order of its checks.
    var findings: [Finding] {
        let all =
            TopologyChecks.findings(self) + QueueChecks.findings(self) + RightsChecks.findings(self)
            + NodeChecks.findings(self) + LinkChecks.findings(self) + FleetChecks.findings(self)
            + DatabaseChecks.findings(self)
        return Level.allCases.flatMap { level in all.filter { $0.fault.level == level } }
    }

    /// What was looked at, a line each.
    var portrait: [String] {
        var lines: [String] = []
        if let broker {
            let version = broker.server.map { ", RabbitMQ \($0.version)" } ?? ""
            let nodes = broker.server.map { ", \($0.nodes.count) \($0.nodes.count == 1 ? "node" : "nodes")" } ?? ""
            let hosts = broker.endpoints.map(\.description).joined(separator: ", ")
            lines.append("broker    \(hosts), virtual host \(broker.virtualHost)\(version)\(nodes)")
        }
        if let database {
            let version = database.server.version
            lines.append(
                "database  \(database.target), PostgreSQL \(version / 10_000).\(version % 10_000), \(database.schemaText)"
            )
        }
        if let fleet = database?.fleet {
            let count = fleet.workers.count
            let leader = fleet.leader.map { "led by \($0)" } ?? "without a leader"
            lines.append("fleet     \(count) \(count == 1 ? "worker" : "workers"), \(leader)")
        }
        return lines
    }
}

/// What the deployment is compared with.
struct Needs: Sendable {
    let topology: AMQPTopology
    /// The longest that a job of each subsystem may run in one attempt.
    var longestRuns: [String: Duration]
    var bounds: Bounds

    init(subsystems: Set<String>, longestRuns: [String: Duration] = [:], bounds: Bounds = Bounds()) {
        topology = FleetBroker.topology(subsystems: subsystems)
        self.longestRuns = longestRuns
        self.bounds = bounds
    }
}
