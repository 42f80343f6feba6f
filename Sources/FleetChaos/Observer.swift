import AMQPClient
import FleetBroker
import FleetModel
import FleetStore
import Logging
import PostgresClient
import Synchronization

/// What the harness sees of the ledger, the results and what was set aside. It looks from outside: by triggers of its own in
/// the database, by a queue of its own at the broker, over links on which nothing goes wrong.
struct Observer: Sendable {
    let pool: PostgresPool
    let amqp: AMQPConfiguration
    let logger: Logger
    let results = Results()

    static let poolSize = 4
    static let applicationName = "chaos observer"
    static let resultsQueue = "chaos.results"

    /// One line of the audit.
    struct Transition: Sendable {
        /// Since the epoch of Unix, by the database's clock.
        let at: Double
        let key: String
        let oldState: String?
        let newState: String
        let token: Int64
        let oldToken: Int64?
        let worker: Int64?
        let epoch: Int32?
        let isStolen: Bool
        let application: String

        var isEnd: Bool { Self.ends.contains(newState) }
        static let ends: Set<String> = ["succeeded", "discarded", "cancelled", "indeterminate"]
    }

    struct LedgerRow: Sendable {
        let state: String
        let token: Int64
        let attempt: Int
        let crashes: Int
        let errors: String
    }

    struct StaleWrite: Sendable { let what, application, leader: String }

    /// Ids of results, by job.
    final class Results: Sendable {
        private let seen = Mutex<[String: [String: Int]]>([:])
        var byKey: [String: [String: Int]] { seen.withLock { $0 } }
        var keys: Int { seen.withLock { $0.count } }

        func add(_ batch: [AMQPDelivery]) {
            seen.withLock { seen in
                for delivery in batch {
                    guard let key = delivery.properties.correlationID, let id = delivery.properties.messageID else {
                        continue
                    }
                    seen[key, default: [:]][id, default: 0] += 1
                }
            }
        }
    }

    // MARK: Results

    static var topology: AMQPTopology {
        var topology = FleetBroker.topology(subsystems: [ChaosSubsystem.name])
        topology.queues.append(AMQPQueue(name: resultsQueue, arguments: ["x-queue-type": .string("quorum")]))
        topology.bindings.append(
            AMQPBinding(queue: resultsQueue, exchange: FleetBroker.resultsExchange, routingKey: "#"))
        return topology
    }

    /// Reads results until cancelled or closed.
    func consumer() -> AMQPConsumer {
        AMQPConsumer(
            configuration: amqp, subscriptions: [AMQPSubscription(queue: Self.resultsQueue, prefetch: 1_000)],
            topology: Self.topology, logger: logger)
    }

    func read(_ consumer: AMQPConsumer) async {
        for await batch in consumer.deliveries {
            results.add(batch)
            consumer.acknowledge(batch.map(\.tag))
        }
    }

    // MARK: The ledger

    func install() async throws { try await pool.script(String(decoding: PackageResources.audit_sql, as: UTF8.self)) }

    func epoch() async throws -> Double {
        try await ask("select extract(epoch from clock_timestamp())::float8").single().get(0)
    }

    /// How many jobs are in each state.
    func states() async throws -> [String: Int] {
        var counts: [String: Int] = [:]
        for row in try await ask("select state, count(*) from gaia.job group by state") {
            counts[try row.get(0)] = Int(try row.get(1, as: Int64.self))
        }
        return counts
    }

    func leader() async throws -> String? {
        try await ask(
            """
            select l.name from gaia.leader l where exists (
                select from pg_locks k join pg_stat_activity a using (pid)
                where k.locktype = 'advisory' and k.granted and k.classid::bigint = \(FleetStore.leaderLockClass))
            """
        ).first?.get(0)
    }

    func ledger() async throws -> [String: LedgerRow] {
        var rows: [String: LedgerRow] = [:]
        for row in try await ask("select key, state, token, attempt, crashes::int4, errors::text from gaia.job") {
            rows[try row.get(0)] = LedgerRow(
                state: try row.get(1), token: try row.get(2), attempt: Int(try row.get(3, as: Int32.self)),
                crashes: Int(try row.get(4, as: Int32.self)), errors: try row.get(5))
        }
        return rows
    }

    func transitions() async throws -> [Transition] {
        try await ask(
            """
            select extract(epoch from at)::float8, key, old_state, new_state, new_token, old_token, worker, epoch, stolen,
                application
            from chaos.transition order by number
            """
        ).map { row in
            Transition(
                at: try row.get(0), key: try row.get(1), oldState: try row.get(2), newState: try row.get(3),
                token: try row.get(4), oldToken: try row.get(5), worker: try row.get(6), epoch: try row.get(7),
                isStolen: try row.get(8), application: try row.get(9))
        }
    }

    /// The names of worker rows.
    func crew() async throws -> [Int64: String] {
        var names: [Int64: String] = [:]
        for row in try await ask("select worker, name from chaos.crew") { names[try row.get(0)] = try row.get(1) }
        return names
    }

    func staleWrites() async throws -> [StaleWrite] {
        try await ask("select what, application, leader from chaos.stale_write").map {
            StaleWrite(what: try $0.get(0), application: try $0.get(1), leader: try $0.get(2))
        }
    }

    /// Connections of the fleet to the database.
    func connections() async throws -> Int {
        Int(
            try await ask(
                """
                select count(*) from pg_stat_activity
                where backend_type = 'client backend' and application_name not like 'chaos%'
                """
            ).single().get(0, as: Int64.self))
    }

    func ask(_ sql: String) async throws(PostgresError) -> PostgresRows {
        try await pool.execute(PostgresStatement(name: "chaos-\(sql.hashValue)", sql: sql))
    }

    // MARK: Set aside

    /// Takes everything out of a queue of messages that were set aside.
    func drain(_ queue: String) async throws -> [SetAsideMessage] {
        try await AMQPSession.withConnection(amqp) { session in
            var messages: [SetAsideMessage] = []
            while let delivery = try await session.get(queue) {
                messages.append(SetAsideMessage(delivery))
                try await session.acknowledge(delivery.tag)
            }
            return messages
        }
    }

    /// Uses every connection of the pool once, so that none is left that an earlier strike has cut and nobody has noticed.
    func dropCutConnections() async {
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<Self.poolSize { group.addTask { _ = try? await ask("select pg_sleep(0.05)") } }
        }
    }

    /// How many consume a queue; 0 also while the broker or the queue is away.
    func consumers(of queue: String) async -> Int {
        let status = try? await AMQPSession.withConnection(amqp) { try await $0.queueStatus(queue) }
        return status.flatMap(\.self)?.consumers ?? 0
    }

    func waiting(in queue: String) async throws -> Int? {
        try await AMQPSession.withConnection(amqp) { try await $0.queueStatus(queue)?.messages }
    }
}
