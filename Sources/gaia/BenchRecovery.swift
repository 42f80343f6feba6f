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

        @Option(name: .long, help: "How often.")
        var rounds = 50
        @Flag(name: .long, help: "Print JSON.")
        var json = false

        func validate() throws { if rounds < 1 { throw ValidationError("--rounds must be positive") } }

        func run() async throws {
            try await measuring(json) { fleet, store, environment in
                try fleet.start("dispatcher", name: "dispatcher")
                for name in ["worker-a", "worker-b"] { try fleet.start("worker", name: name) }
                try await fleet.awaitReady(store, workers: 2, within: .seconds(60))
                var times: [Duration] = []
                for round in 1...rounds {
                    Progress.shared.show("\(Progress.bar(round - 1, of: rounds)) round \(round) of \(rounds)")
                    let identity = JobIdentity(subsystem: "gaia", key: "rescue-\(round)")
                    try await store.enqueueBySQL(NoopParameters(ms: 600_000), key: identity.key)
                    let first = try await store.poll(identity) { $0.state == "running" }
                    guard let victim = first.worker else { continue }
                    try await fleet.killAndWait(victim)
                    let killed = ContinuousClock.now
                    _ = try await store.poll(identity) { $0.token > first.token && $0.state == "running" }
                    times.append(ContinuousClock.now - killed)
                    _ = try await store.cancel(identity, reason: "the round is over")
                    try fleet.start("worker", name: "worker-\(round)")
                    _ = try await store.poll(identity) { $0.state == "cancelled" }
                    try await fleet.awaitReady(store, workers: 2, within: .seconds(60))
                }
                return times
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

        @Option(name: .long, help: "How often.")
        var rounds = 100
        @Flag(name: .long, help: "Print JSON.")
        var json = false

        func validate() throws { if rounds < 1 { throw ValidationError("--rounds must be positive") } }

        func run() async throws {
            try await measuring(json) { fleet, store, environment in
                for name in ["a", "b", "c"] { try fleet.start("dispatcher", name: name) }
                try await fleet.awaitReady(store, workers: 0, within: .seconds(60))
                try await fleet.awaitOutput(of: ["a", "b", "c"], containing: "serves")
                var times: [Duration] = []
                for round in 1...rounds {
                    Progress.shared.show("\(Progress.bar(round - 1, of: rounds)) round \(round) of \(rounds)")
                    guard let leader = try await store.leader(), leader.leads else {
                        throw CommandFailure(.inside, "no dispatcher leads")
                    }
                    try await fleet.killAndWait(leader.name)
                    let killed = ContinuousClock.now
                    let identity = JobIdentity(subsystem: "gaia", key: "failover-\(round)")
                    try await store.enqueueBySQL(NoopParameters(), key: identity.key)
                    _ = try await store.poll(identity) { $0.state != "scheduled" }
                    times.append(ContinuousClock.now - killed)
                    let name = "next-\(round)"
                    try fleet.start("dispatcher", name: name)
                    try await fleet.awaitOutput(of: [name], containing: "serves")
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

        @Option(name: .long, help: "How many jobs.")
        var rounds = 500
        @Flag(name: .long, help: "Print JSON.")
        var json = false

        func validate() throws { if rounds < 1 { throw ValidationError("--rounds must be positive") } }

        func run() async throws {
            try await measuring(json) { fleet, store, environment in
                try fleet.start("dispatcher", name: "dispatcher")
                try fleet.start("worker", name: "worker")
                try await fleet.awaitReady(store, workers: 1, within: .seconds(60))
                var times: [Duration] = []
                for round in 1...rounds {
                    Progress.shared.show("\(Progress.bar(round - 1, of: rounds)) round \(round) of \(rounds)")
                    let identity = JobIdentity(subsystem: "gaia", key: "relay-\(round)")
                    try await store.enqueueBySQL(NoopParameters(), key: identity.key)
                    let committed = ContinuousClock.now
                    _ = try await store.poll(identity) { $0.state == "succeeded" || $0.state == "running" }
                    times.append(ContinuousClock.now - committed)
                }
                return times
            }
        }
    }
}

/// Sets up servers and the schema, measures, and prints how the times are spread.
private func measuring(
    _ json: Bool,
    _ body: @Sendable @escaping (Fleet, FleetStore, [String: String]) async throws -> [Duration]
) async throws {
    try await report {
        let directory = "\(Stack.defaultDirectory())-bench-\(ProcessInfo.processInfo.processIdentifier)"
        Progress.shared.show("starting RabbitMQ and PostgreSQL …")
        let stack = try await Stack.up(Stack.Options(directory: directory, management: false))
        let result: Result<Spread, any Error>
        do {
            let loaded = try FleetConfiguration(
                environment: stack.environment.merging(["GAIA_LOG_LEVEL": "warning"]) { $1 })
            let fleet = try Fleet(environment: stack.environment, logs: "\(stack.directory)/logs")
            let times = try await loaded.withStore("gaia bench") { store in
                try await store.migrate()
                let times = try await body(fleet, store, stack.environment)
                try await fleet.stop()
                return times
            }
            result = .success(Spread(times))
        } catch {
            result = .failure(error)
        }
        try await stack.down(remove: true)
        Progress.shared.clear()
        let spread = try result.get()
        Terminal.print(json ? try Terminal.json(spread) : spread.text)
    }
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

    var text: String {
        func milliseconds(_ value: Double) -> String { String(format: "%.0f ms", value) }
        return Terminal.table(
            ["rounds", "fastest", "p50", "p95", "p99", "slowest"],
            [["\(rounds)"] + [fastest, p50, p95, p99, slowest].map(milliseconds)])
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
