import AMQPClient
import APISubsystem
import CurlClient
import FleetBroker
import FleetConfiguration
import FleetDemoTarget
import FleetModel
import FleetStack
import FleetStore
import Foundation
import Synchronization

/// The demo's course: publish, watch, kill, count.
struct DemoRun: Sendable {
    let configuration: FleetConfiguration
    let stack: Stack
    let fleet: Fleet
    let target: DemoTarget
    let port: Int
    let jobs: Int
    let timeout: Duration
    let keep: Bool
    private let results = ArrivedResults()

    init(
        _ configuration: FleetConfiguration, stack: Stack, fleet: Fleet, target: DemoTarget, port: Int, jobs: Int,
        timeout: Duration, keep: Bool
    ) {
        self.configuration = configuration
        self.stack = stack
        self.fleet = fleet
        self.target = target
        self.port = port
        self.jobs = jobs
        self.timeout = timeout
        self.keep = keep
    }

    func perform(_ stages: StageTimes) async throws -> Bool {
        let amqp = try configuration.amqp("gaia demo")
        let logger = configuration.logger
        let subsystem = RequestParameters.type.subsystem
        return try await configuration.withStore("gaia demo") { store in
            try await store.migrate()
            try await FleetBroker.awaitReady(
                amqp, FleetBroker.topology(subsystems: Catalogue.subsystems), limit: .seconds(30), logger: logger)
            Progress.shared.show("starting a dispatcher and two workers …")
            try fleet.start("dispatcher", name: "dispatcher")
            try fleet.start("worker", name: "worker-1")
            try fleet.start("worker", name: "worker-2")
            try await fleet.awaitReady(store, workers: 2, within: .seconds(60))
            stages.end("dispatcher, worker-1 and worker-2 started, target on port \(port)")
            Terminal.error(
                "          watch it in RabbitMQ's management UI: \(stack.broker.managementURL ?? "")\n          user \(PrivateBroker.user), password \(stack.broker.password)"
            )

            let queue = ReplyQueue(
                amqp, bindings: [(FleetBroker.resultsExchange, "\(RequestParameters.type).#")], logger: logger)
            let producer = JobProducer(amqp, logger: logger)
            return try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await producer.run() }
                group.addTask { try await queue.consumer.run() }
                group.addTask {
                    for await batch in queue.consumer.deliveries {
                        results.add(batch)
                        queue.consumer.acknowledge(batch.map(\.tag))
                    }
                }
                while queue.consumer.currentGeneration == 0 { try await Task.sleep(for: .milliseconds(5)) }
                try await publish(producer)
                stages.end("\(Terminal.grouped(jobs + jobs / 10)) messages published and confirmed")
                try await watch(store, subsystem, stages)
                let isCorrect = try await verify(store, subsystem)
                if keep { try await stay() }
                await producer.close()
                await queue.consumer.close()
                try await group.waitForAll()
                return isCorrect
            }
        }
    }

    private func key(_ number: Int) -> String { "demo-\(number)" }

    private func publish(_ producer: JobProducer) async throws {
        var messages: [Job] = []
        for number in 0..<jobs {
            let parameters = RequestParameters(
                url: "http://127.0.0.1:\(port)/effect", method: "POST", headers: ["Content-Type": "application/json"],
                body: "{\"order\":\(number)}")
            let job = try Job(parameters, key: key(number), subject: "order \(number)")
            messages.append(job)
            // Every tenth is published again, as a producer does that missed the broker's answer.
            if number % 10 == 9 { messages.append(job) }
        }
        for (job, outcome) in zip(messages, await producer.enqueue(messages)) where outcome != .queued {
            throw CommandFailure(.inside, "job \(job.key) could not be published: \(outcome)")
        }
    }

    /// Shows progress until each job has its result; half way kills a worker and starts another.
    private func watch(_ store: FleetStore, _ subsystem: String, _ stages: StageTimes) async throws {
        let deadline = ContinuousClock.now + timeout
        var killed = false
        while results.distinct < jobs {
            guard ContinuousClock.now < deadline else {
                throw CommandFailure(
                    .workFailed,
                    "only \(results.distinct) of \(jobs) results came within \(timeout); logs: \(fleet.logs)")
            }
            if let name = fleet.ended(except: killed ? ["worker-1"] : []) {
                throw CommandFailure(.workFailed, "\(name) ended by itself; its log: \(fleet.logFile(of: name))")
            }
            if !killed, results.distinct >= jobs / 2 {
                try fleet.kill("worker-1")
                try fleet.start("worker", name: "worker-3")
                killed = true
                Progress.shared.clear()
                stages.end("first half done; worker-1 killed with SIGKILL, worker-3 started")
            }
            let counts = try await store.counts(subsystem: subsystem)
            let waiting = counts[.retrying]?.jobs ?? 0
            let running = counts[.running]?.jobs ?? 0
            Progress.shared.show(
                "  \(Progress.bar(results.distinct, of: jobs)) \(results.distinct) of \(jobs) results, \(running) running, \(waiting) waiting for their next try"
            )
            try await Task.sleep(for: .milliseconds(100))
        }
        Progress.shared.clear()
        stages.end("second half done")
    }

    /// Counts at three places that know nothing of each other.
    private func verify(_ store: FleetStore, _ subsystem: String) async throws -> Bool {
        let expected = Set((0..<jobs).map { key($0) })
        let ledger = try await store.counts(subsystem: subsystem)
        let effects = try await targetCounts()
        let keys = effects.keys ?? [:]
        let total = ledger.values.reduce(0) { $0 + $1.jobs }
        let succeeded = ledger[.succeeded]?.jobs ?? 0
        let checks: [(String, Int, Int)] = [
            ("effects applied at the target, by its own count", effects.effects, jobs),
            ("keys with an effect that were never asked for", Set(keys.keys).subtracting(expected).count, 0),
            ("keys without an effect", expected.subtracting(keys.keys).count, 0),
            ("jobs in the ledger", total, jobs),
            ("of these succeeded", succeeded, jobs),
            ("jobs with a result", results.distinct, jobs),
            ("results of jobs that were never published", results.strangers(to: expected), 0),
            ("jobs with two different results", results.contradictions, 0),
        ]
        Terminal.error("")
        Terminal.print(
            Terminal.table(
                ["count", "found", "expected", ""],
                checks.map { [$0.0, Terminal.grouped($0.1), Terminal.grouped($0.2), $0.1 == $0.2 ? "ok" : "WRONG"] }))
        let retries = ledger.values.reduce(0) { $0 + $1.retries }
        Terminal.print(
            """

            On the way: \(effects.requests) requests reached the target, which answered \(effects.failures500) times 500 and \(effects.throttled429) times 429
            and saw \(effects.repeats) keys again whose effect it had applied; \(retries) attempts were made beyond the first;
            \(results.repeats) results came more than once, under the same id.
            """)
        if let example = try await example(store, subsystem) {
            Terminal.print("\nOne that needed more than one attempt, as 'gaia job show' prints it:\n\n\(example)")
        }
        let isCorrect = checks.allSatisfy { $0.1 == $0.2 }
        if !keep {
            Terminal.print(
                "\nTo look around in RabbitMQ's management UI, 'gaia status' and 'gaia job show': gaia demo --keep")
        }
        Terminal.print(
            isCorrect
                ? "\nEvery job took effect once: none lost, none twice."
                : "\nA count is off. The logs are in \(fleet.logs); run with --keep to look around.")
        return isCorrect
    }

    private func targetCounts() async throws -> DemoCounts {
        let curl = CurlMulti(maxConnections: 1, maxConnectionsPerHost: 1, maxInFlight: 1)
        let response: Result<CurlResponse, CurlError>
        do throws(CurlError) {
            response = .success(
                try await curl.perform(
                    CurlRequest(url: "http://127.0.0.1:\(port)/counts?keys=1", maxResponseBytes: 256 << 20)))
        } catch {
            response = .failure(error)
        }
        await curl.close()
        return try JSONDecoder().decode(DemoCounts.self, from: Data(try response.get().body))
    }

    /// A job that took more than one attempt, as `gaia job show` prints it.
    private func example(_ store: FleetStore, _ subsystem: String) async throws -> String? {
        for number in 0..<min(jobs, 200) {
            if let record = try await store.job(key(number), subsystem: subsystem).first, record.attempt > 1 {
                return try JobView(record).text
            }
        }
        return nil
    }

    /// Says where to look and waits for Ctrl-C.
    private func stay() async throws {
        let exports = stack.environment.sorted { $0.key < $1.key }
            .map { "  export \($0.key)='\($0.value)'" }.joined(separator: "\n")
        Terminal.error(
            """

            Everything is still running. RabbitMQ's management UI:
              \(stack.broker.managementURL ?? "")  user \(PrivateBroker.user)  password \(stack.broker.password)
            In another terminal:
            \(exports)
              gaia status
              gaia job show demo-7
            The logs: \(fleet.logs)
            Ctrl-C ends it all.
            """)
        do {
            try await Task.sleep(for: .seconds(24 * 3_600))
        } catch is CancellationError {
            // Ctrl-C: the end that was announced.
        }
    }
}

/// Results as they arrive: which jobs have one, and whether all of a job's results agree.
final class ArrivedResults: Sendable {
    private struct State {
        var idByKey: [String: String] = [:]
        var repeats = 0
        var contradictions = 0
    }

    private let state = Mutex(State())

    func add(_ batch: [AMQPDelivery]) {
        state.withLock { state in
            for delivery in batch {
                guard let id = delivery.properties.messageID, let key = delivery.properties.correlationID else {
                    continue
                }
                if let known = state.idByKey.updateValue(id, forKey: key) {
                    state.repeats += 1
                    if known != id { state.contradictions += 1 }
                }
            }
        }
    }

    var distinct: Int { state.withLock { $0.idByKey.count } }
    var repeats: Int { state.withLock { $0.repeats } }
    var contradictions: Int { state.withLock { $0.contradictions } }
    func strangers(to keys: Set<String>) -> Int { state.withLock { Set($0.idByKey.keys).subtracting(keys).count } }
}
