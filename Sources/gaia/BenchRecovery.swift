import AMQPClient
import ArgumentParser
import FleetBroker
import FleetConfiguration
import FleetModel
import FleetStack
import FleetStore
import Foundation
import PostgresClient

extension BenchCommand {
    /// `gaia bench rescue`
    struct Rescue: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "From the SIGKILL of a worker to its job running elsewhere.",
            discussion: """
                Starts private servers, a dispatcher and two workers as processes of their own. In each round a job that
                takes long is given to the fleet, the worker that runs it is killed, and the time until another worker has
                claimed it is taken, by looking into the ledger every few milliseconds.
                """)

        @OptionGroup var options: RoundsOptions

        func run() async throws {
            try await options.measure(rounds: 50) { fleet, store, rounds in
                try fleet.start("dispatcher", name: "dispatcher")
                for name in ["worker-a", "worker-b"] { try fleet.start("worker", name: name) }
                try await fleet.awaitReady(store, workers: 2, within: .seconds(60))
                return try await rounds.time { round in
                    let identity = JobIdentity(subsystem: "gaia", key: "rescue-\(round)")
                    try await store.enqueueBySQL(NoopParameters(ms: 600_000), key: identity.key)
                    let first = try await store.poll(identity) { $0.state == "running" }
                    guard let victim = first.worker else {
                        throw CommandFailure(.inside, "the ledger does not say who runs \(identity)")
                    }
                    try await fleet.killAndWait(victim)
                    let killed = ContinuousClock.now
                    _ = try await store.poll(identity) { $0.token > first.token && $0.state == "running" }
                    let time = ContinuousClock.now - killed
                    _ = try await store.cancel(identity, reason: "the round is over")
                    try fleet.start("worker", name: "worker-\(round)")
                    _ = try await store.poll(identity) { $0.state == "cancelled" }
                    try await fleet.awaitReady(store, workers: 2, within: .seconds(60))
                    return time
                }
            }
        }
    }

    /// `gaia bench failover`
    struct Failover: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "From the SIGKILL of the leading dispatcher to the next one at work.",
            discussion: """
                Starts private servers and three dispatchers as processes of their own. In each round the leader is killed,
                a job is enqueued by SQL, and the time until the next leader has published it is taken.
                """)

        @OptionGroup var options: RoundsOptions

        func run() async throws {
            try await options.measure(rounds: 100) { fleet, store, rounds in
                for name in ["a", "b", "c"] { try fleet.start("dispatcher", name: name) }
                try await fleet.awaitReady(store, workers: 0, within: .seconds(60))
                try await fleet.awaitOutput(of: ["a", "b", "c"], containing: "serves")
                return try await rounds.time { round in
                    guard let leader = try await store.leader(), leader.leads else {
                        throw CommandFailure(.inside, "no dispatcher leads")
                    }
                    try await fleet.killAndWait(leader.name)
                    let killed = ContinuousClock.now
                    let identity = JobIdentity(subsystem: "gaia", key: "failover-\(round)")
                    try await store.enqueueBySQL(NoopParameters(), key: identity.key)
                    _ = try await store.poll(identity) { $0.state != "scheduled" }
                    let time = ContinuousClock.now - killed
                    let name = "next-\(round)"
                    try fleet.start("dispatcher", name: name)
                    try await fleet.awaitOutput(of: [name], containing: "serves")
                    return time
                }
            }
        }
    }

    /// `gaia bench urgent`
    struct Urgent: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "From the publishing of an urgent job behind ten thousand others to its running.",
            discussion: """
                Starts private servers, a dispatcher and two workers as processes of their own, and gives them 10,000 jobs
                that take 200 to 600 ms, which fill every slot and the queue. In each round one urgent job is published, and
                the time from the broker's confirm to its claim is taken.
                """)

        @OptionGroup var options: RoundsOptions

        func run() async throws {
            try await options.measure(rounds: 100) { fleet, store, rounds in
                try fleet.start("dispatcher", name: "dispatcher")
                for name in ["worker-a", "worker-b"] { try fleet.start("worker", name: name) }
                try await fleet.awaitReady(store, workers: 2, within: .seconds(60))
                let producer = JobProducer(
                    try fleet.configuration().amqp("gaia bench"), logger: try fleet.configuration().logger)
                let running = Task { try await producer.run() }
                func publish(_ jobs: [Job]) async throws {
                    if let open = await producer.enqueue(jobs).first(where: { $0 != .queued }) {
                        throw CommandFailure(.workFailed, "a job could not be published: \(open)")
                    }
                }
                // Of different lengths, or all slots would come free at once.
                try await publish(
                    (1...10_000).map { try Job(NoopParameters(ms: 200 + $0 * 7_919 % 401), key: "slow-\($0)") })
                let times = try await rounds.time { round in
                    var job = try Job(NoopParameters(), key: "urgent-\(round)")
                    job.isUrgent = true
                    try await publish([job])
                    let published = ContinuousClock.now
                    _ = try await store.poll(job.identity) { $0.claimedAt != nil }
                    return ContinuousClock.now - published
                }
                await producer.close()
                try await running.value
                let waiting = try await AMQPSession.withConnection(try fleet.configuration().amqp("gaia bench")) {
                    try await $0.queueStatus(FleetBroker.jobsQueue("gaia"))?.messages ?? 0
                }
                guard waiting > 0 else {
                    throw CommandFailure(.workFailed, "the others were done before the last round; use fewer --rounds")
                }
                return times
            }
        }
    }

    /// `gaia bench relay`
    struct Relay: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "From the commit of an enqueue by SQL to its job running.",
            discussion: """
                Starts private servers, a dispatcher and a worker as processes of their own, enqueues jobs one after the
                other by SQL, each in a transaction of its own, and takes the time from the commit to the claim by the
                database's clock.
                """)

        @OptionGroup var options: RoundsOptions

        func run() async throws {
            try await options.measure(rounds: 500) { fleet, store, rounds in
                try fleet.start("dispatcher", name: "dispatcher")
                try fleet.start("worker", name: "worker")
                try await fleet.awaitReady(store, workers: 1, within: .seconds(60))
                return try await rounds.time { round in
                    let identity = JobIdentity(subsystem: "gaia", key: "relay-\(round)")
                    try await store.enqueueBySQL(NoopParameters(), key: identity.key)
                    let committed = ContinuousClock.now
                    _ = try await store.poll(identity) { $0.state == "succeeded" || $0.state == "running" }
                    return ContinuousClock.now - committed
                }
            }
        }
    }
}

/// How often something is timed.
struct Rounds: Sendable {
    let count: Int

    /// Times each round.
    func time(_ body: (Int) async throws -> Duration) async throws -> [Duration] {
        var times: [Duration] = []
        for round in 1...count {
            Progress.shared.show("\(Progress.bar(round - 1, of: count)) round \(round) of \(count)")
            times.append(try await body(round))
        }
        return times
    }
}

/// What the commands have in common that time something again and again.
struct RoundsOptions: ParsableArguments {
    @Option(name: .long, help: "How often.")
    var rounds: Int?
    @Flag(name: .long, help: "Print JSON.")
    var json = false

    func validate() throws { if let rounds, rounds < 1 { throw ValidationError("--rounds must be positive") } }

    /// Sets up servers and the schema, measures, and prints how the times are spread.
    ///
    /// - Parameter rounds: how often, unless the option says otherwise.
    func measure(
        rounds: Int, _ body: @Sendable @escaping (Fleet, FleetStore, Rounds) async throws -> [Duration]
    ) async throws {
        let rounds = Rounds(count: self.rounds ?? rounds)
        try await report {
            let spread = try await withBenchStack { loaded, fleet, _ in
                let times = try await loaded.withStore("gaia bench") { store in
                    try await store.migrate()
                    let times = try await body(fleet, store, rounds)
                    try await fleet.stop()
                    return times
                }
                return Spread(times)
            }
            Terminal.print(json ? try Terminal.json(spread) : spread.text)
        }
    }
}

/// Runs `body` on private servers of its own, which go when it ends.
///
/// - Parameters:
///   - management: whether the broker has its management plugin, whose statistics cost it time.
///   - settings: of the processes that are started, besides where the servers are.
func withBenchStack<Value>(
    management: Bool = false, settings: [String: String] = [:],
    _ body: (FleetConfiguration, Fleet, Stack) async throws -> Value
) async throws -> Value {
    let directory = "\(Stack.defaultDirectory())-bench-\(ProcessInfo.processInfo.processIdentifier)"
    Progress.shared.show("starting RabbitMQ and PostgreSQL …")
    let stack = try await Stack.up(Stack.Options(directory: directory, management: management))
    let result: Result<Value, any Error>
    do {
        let environment = stack.environment.merging(settings) { $1 }
        let loaded = try FleetConfiguration(environment: environment.merging(["GAIA_LOG_LEVEL": "warning"]) { $1 })
        let fleet = try Fleet(environment: environment, logs: "\(stack.directory)/logs")
        result = .success(try await body(loaded, fleet, stack))
    } catch {
        result = .failure(error)
    }
    try await stack.down(remove: true)
    Progress.shared.clear()
    return try result.get()
}

/// How measured times are spread, in milliseconds.
struct Spread: Encodable, Sendable {
    let rounds: Int
    let fastest, p50, p95, p99, slowest: Double

    init(_ times: [Duration]) {
        let sorted = times.map { $0.inSeconds * 1_000 }.sorted()
        func percentile(_ part: Double) -> Double {
            sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int((Double(sorted.count) * part).rounded(.up)) - 1)]
        }
        rounds = sorted.count
        (fastest, slowest) = (sorted.first ?? 0, sorted.last ?? 0)
        (p50, p95, p99) = (percentile(0.5), percentile(0.95), percentile(0.99))
    }

    private var cells: [String] {
        ["\(rounds)"] + [fastest, p50, p95, p99, slowest].map { String(format: $0 < 20 ? "%.1f ms" : "%.0f ms", $0) }
    }
    private static let head = ["rounds", "fastest", "p50", "p95", "p99", "slowest"]

    var text: String { Terminal.table(Self.head, [cells]) }

    /// Several, a line each.
    static func table(_ spreads: [(name: String, spread: Spread)]) -> String {
        Terminal.table(["what"] + head, spreads.map { [$0.name] + $0.spread.cells })
    }
}

extension FleetStore {
    /// Looks at a job every few milliseconds until it is as it shall be.
    fileprivate func poll(
        _ identity: JobIdentity, within limit: Duration = .seconds(60), _ isDone: (JobRecord) -> Bool
    ) async throws -> JobRecord {
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            if let record = try await job(identity.key, subsystem: identity.subsystem).first, isDone(record) {
                return record
            }
            try await Task.sleep(for: .milliseconds(2))
        }
        throw CommandFailure(.inside, "\(identity) did not come so far within \(limit)")
    }
}
