import AMQPClient
import FleetBroker
import FleetModel
import FleetStore
import Testing

@testable import FleetDoctor

/// What cannot be made for real without harm to others, and how checks behave together: judged from snapshots.
@Suite("Judging a snapshot")
struct SnapshotTests {
    /// What is changed in a deployment that is as it should be.
    struct Change: Sendable, CustomTestStringConvertible {
        let fault: Fault
        let make: @Sendable (inout Deployment) -> Void
        var testDescription: String { fault.code }

        init(_ fault: Fault, _ make: @escaping @Sendable (inout Deployment) -> Void) {
            self.fault = fault
            self.make = make
        }

        /// Of the broker's first node.
        static func node(_ fault: Fault, _ make: @escaping @Sendable (inout BrokerState.Node) -> Void) -> Change {
            Change(fault) { deployment in
                guard var node = deployment.broker?.server?.nodes.first else { return }
                make(&node)
                deployment.broker?.server?.nodes[0] = node
            }
        }

        static func database(_ fault: Fault, _ make: @escaping @Sendable (inout DatabaseState) -> Void) -> Change {
            Change(fault) { deployment in
                guard var database = deployment.database else { return }
                make(&database)
                deployment.database = database
            }
        }
    }

    static let changes: [Change] = [
        Change(.brokerVersion) { $0.broker?.server?.version = "3.9.27" },
        Change(.featureFlag) { $0.broker?.server?.disabledFlags = ["quorum_queue"] },
        .node(.memoryHigh) { ($0.memoryUsed, $0.memoryLimit) = (91e6, 100e6) },
        .node(.diskLow) { ($0.diskFree, $0.diskFreeLimit) = (2.9e9, 2e9) },
        .node(.diskAlarm) { ($0.hasDiskAlarm, $0.diskFree) = (true, nil) },
        .node(.nodeDown) { $0.isRunning = false },
        .node(.clusterPartition) { $0.partitions = ["rabbit@two"] },
        Change(.queueSingleMember) { $0.broker?.queues["gaia.jobs.api"]?.traits?.members = ["rabbit@one"] },
        Change(.queueMembersFew) {
            $0.broker?.queues["gaia.jobs.api"]?.traits?.members = ["rabbit@one", "rabbit@two"]
        },
        Change(.brokerWithoutTLS) { $0.broker?.endpoints = [AMQPEndpoint(host: "broker.example", port: 5672)] },
        Change(.managementWithoutTLS) {
            $0.broker?.management = try? ManagementAddress(
                url: "http://broker.example:15672", fallback: AMQPConfiguration(url: "amqp://localhost/"))
        },
        .database(.databaseWithoutTLS) { $0.server.isRemote = true },
        .database(.clockApart) { $0.server.clockAhead = .seconds(6) },
        Change(.clockApart) { $0.broker?.server?.clockAhead = .seconds(-6) },
        .database(.agendaOverdue) { ($0.fleet?.overdue, $0.fleet?.overdueFor) = (3, .seconds(61)) },
        .database(.databaseVersion) { $0.server.version = 140_009 },
        .database(.databaseStandby) { $0.server.isStandby = true },
        .database(.databaseEncoding) { $0.server.encoding = "SQL_ASCII" },
        .database(.connectionsNearLimit) { $0.server.connections = .init(used: 81, limit: 100) },
        .database(.consumerMissing) { $0.fleet?.workers.append(.init(name: "two", subsystems: ["file"])) },
    ]

    @Test("Each change is one fault", arguments: changes)
    func each(_ change: Change) {
        var deployment = Self.healthy
        #expect(deployment.findings.isEmpty, "\(deployment.findings)")
        change.make(&deployment)
        #expect(Set(deployment.findings.map(\.fault)) == [change.fault], "\(deployment.findings)")
    }

    @Test("Every fault that the doctor knows is seen in one of the tests")
    func allAreSeen() {
        let real =
            SeededFault.ofTopology + SeededFault.ofRights + SeededFault.ofTheFleet + SeededFault.ofTheDatabase
        let seen = Set(real.map(\.fault)).union(SeededServerTests.faults).union(Self.changes.map(\.fault))
        #expect(seen == Set(Fault.allCases), "\(Set(Fault.allCases).subtracting(seen).map(\.code))")
    }

    @Test("What could not be seen is no fault")
    func unseen() {
        var deployment = Self.healthy
        deployment.database = nil
        #expect(deployment.findings.isEmpty)
        deployment.broker = nil
        #expect(deployment.findings.isEmpty)
        #expect(deployment.portrait.isEmpty)
    }

    @Test("Without a broker's plugin the names alone are judged")
    func namesAlone() {
        var deployment = Self.healthy
        var broker = BrokerState(endpoints: [AMQPEndpoint(host: "localhost", port: 5672)], virtualHost: "gaia")
        for name in deployment.needs.topology.exchanges.map(\.name).dropFirst() { broker.exchanges[name] = .init() }
        for name in deployment.needs.topology.queues.map(\.name).dropFirst() {
            broker.queues[name] = .init(messages: 0, consumers: 1)
        }
        deployment.broker = broker
        #expect(deployment.findings.map(\.fault) == [.exchangeMissing, .queueMissing])
    }

    @Test("What rests has no consumer, and is no fault")
    func resting() {
        var deployment = Self.healthy
        for name in ["gaia.jobs.api", "gaia.jobs.api.high"] { deployment.broker?.queues[name]?.consumers = 0 }
        #expect(Set(deployment.findings.map(\.fault)) == [.consumerMissing])
        deployment.database?.fleet?.pauses = ["api"]
        #expect(deployment.findings.isEmpty)
        deployment.database?.fleet?.pauses = [Pauses.fleet]
        #expect(deployment.findings.isEmpty)
    }

    @Test("Errors come first")
    func order() {
        var deployment = Self.healthy
        deployment.broker?.server?.disabledFlags = ["x"]
        deployment.database?.server.isStandby = true
        #expect(deployment.findings.map(\.fault) == [.databaseStandby, .featureFlag])
    }

    @Test("A queue's own consumer timeout counts before the broker's, and only what is served needs time")
    func ownTimeout() {
        var deployment = Self.healthy
        deployment.needs.longestRuns = ["api": .seconds(100), "file": .seconds(100_000)]
        #expect(deployment.findings.isEmpty)
        deployment.broker?.queues["gaia.jobs.api"]?.traits?.policy["consumer-timeout"] = .number(150_000)
        #expect(deployment.findings.map(\.fault) == [.consumerTimeoutTight])
        deployment.broker?.server?.consumerTimeout = .never
        #expect(deployment.findings.map(\.fault) == [.consumerTimeoutTight])
    }

    // MARK: A deployment as it should be

    private static let needs = Needs(subsystems: ["api", "file"])

    /// Three nodes, a worker that serves `api`, a dispatcher.
    private static let healthy: Deployment = {
        let nodes = ["rabbit@one", "rabbit@two", "rabbit@three"]
        var broker = BrokerState(endpoints: [AMQPEndpoint(host: "localhost", port: 5672)], virtualHost: "gaia")
        for exchange in needs.topology.exchanges {
            broker.exchanges[exchange.name] = .init(
                traits: .init(
                    kind: exchange.kind, isDurable: true,
                    alternate: exchange.name == FleetBroker.jobsExchange ? FleetBroker.unroutableExchange : nil))
        }
        for queue in needs.topology.queues {
            let arguments = queue.arguments.compactMapValues { value -> ManagementValue? in
                switch value {
                case .string(let text): .text(text)
                case .int(let number): .number(Double(number))
                default: nil
                }
            }
            let isConsumed = !queue.name.hasPrefix("gaia.jobs.file")
            broker.queues[queue.name] = .init(
                messages: 0, consumers: isConsumed ? 1 : 0,
                traits: QueueTraits(
                    kind: "quorum", arguments: arguments, policy: ["max-length": .number(1_000)], members: nodes))
        }
        broker.bindings = Set(
            needs.topology.bindings.compactMap { binding in
                guard case .queue(let queue) = binding.destination else { return nil }
                return .init(exchange: binding.exchange, queue: queue, routingKey: binding.routingKey)
            })
        broker.server = .init(
            version: "3.10.8", nodes: nodes.map { BrokerState.Node(name: $0) }, disabledFlags: [], clockAhead: .zero,
            consumerTimeout: .byDefault)
        let database = DatabaseState(
            target: "localhost:5432/gaia", server: .init(version: 150_008), schema: .current(version: 8),
            fleet: .init(workers: [.init(name: "one", subsystems: ["api"])], leader: "dispatcher"))
        return Deployment(needs: needs, broker: broker, database: database)
    }()
}
