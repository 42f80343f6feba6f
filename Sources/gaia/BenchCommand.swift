import AMQPClient
import ArgumentParser
import FleetBroker
import FleetConfiguration
import FleetModel
import FleetStore
import Foundation

/// `gaia bench`
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure the fleet on this machine.",
        subcommands: [Throughput.self, Ledger.self, Rescue.self, Failover.self, Relay.self, Urgent.self, Locks.self])

    struct Throughput: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "No-op jobs through the whole path, per second.",
            discussion: """
                Starts private servers, workers and a dispatcher as processes of their own, publishes jobs with confirms
                and counts results. Each job is claimed and completed in PostgreSQL with synchronous commit, on quorum
                queues, its result confirmed before its delivery is acknowledged. The time runs from the first publish to
                the last result; with --backlog, from the start of the worker processes, when all is published already.
                """)

        @Option(name: .long, help: "How many jobs.")
        var jobs = 200_000
        @Option(name: .long, help: "How many worker processes.")
        var workers = 2
        @Option(name: .long, help: "How many jobs a worker runs at once.")
        var slots = 1_000
        @Flag(name: .long, help: "Publish everything before the workers start, as after an outage.")
        var backlog = false
        @Option(
            name: .long, help: "How many finished jobs the ledger holds already; half of them are old enough to go.")
        var finished = 0
        @Flag(name: .long, help: "Run the broker with its management plugin, whose statistics cost it time.")
        var management = false
        @Flag(name: .long, help: "Print JSON.")
        var json = false

        func validate() throws {
            if jobs < 1 || workers < 1 || slots < 1 || finished < 0 { throw ValidationError("counts must be positive") }
        }

        func run() async throws {
            try await report {
                let figures = try await withBenchStack(
                    management: management, settings: ["GAIA_WORKER_SLOTS_GAIA": "\(slots)"]
                ) { loaded, fleet, _ in try await measure(loaded, fleet) }
                Terminal.print(json ? try Terminal.json(figures) : figures.text)
            }
        }

        private func measure(_ loaded: FleetConfiguration, _ fleet: Fleet) async throws -> Figures {
            let names = (1...workers).map { "worker-\($0)" }
            return try await loaded.withStore("gaia bench") { [jobs, backlog, finished] store in
                try await store.migrate()
                try await store.fill(finished: finished) {
                    Progress.shared.show("\(Progress.bar($0, of: finished)) \(Terminal.grouped($0)) finished jobs")
                }
                let before = try await store.ledgerSize()
                try fleet.start("dispatcher", name: "dispatcher")
                for name in names { try fleet.start("worker", name: name) }
                try await fleet.awaitReady(store, workers: names.count, within: .seconds(60))
                let idle = names.compactMap { fleet.residentBytes(of: $0) }.max() ?? 0
                let run = BenchRun(loaded, jobs: jobs) { names.compactMap { fleet.residentBytes(of: $0) }.max() ?? 0 }
                if backlog { try await fleet.stop(names) }
                let seconds = try await run.measure(
                    afterPublishing: !backlog
                        ? nil
                        : {
                            for name in names { try fleet.start("worker", name: name) }
                        })
                try await fleet.stop()
                let after = try await store.ledgerSize()
                let done = try await store.countJobs(keyPrefix: run.keyPrefix)
                guard done == jobs else {
                    throw CommandFailure(.workFailed, "the ledger counts \(done) of \(jobs) jobs as done")
                }
                return Figures(
                    jobs: jobs, workers: names.count, seconds: seconds.total,
                    jobsPerSecond: Double(jobs) / seconds.total,
                    publishedPerSecond: Double(jobs) / seconds.publishing, workerIdleBytes: idle,
                    workerPeakBytes: seconds.peakBytes, finished: finished, before: before, after: after)
            }
        }
    }

    struct Figures: Encodable, Sendable {
        let jobs, workers: Int
        let seconds, jobsPerSecond, publishedPerSecond: Double
        let workerIdleBytes, workerPeakBytes: Int
        /// Finished jobs that the ledger held from the start, and how large it was before and after.
        let finished: Int
        let before, after: LedgerSize

        var text: String {
            let sizes = LedgerSize.table([("before", before), ("after", after)])
            return Terminal.table(
                ["jobs", "workers", "seconds", "jobs/s", "published/s", "worker idle", "worker at load"],
                [
                    [
                        Terminal.grouped(jobs), "\(workers)", String(format: "%.1f", seconds),
                        Terminal.grouped(Int(jobsPerSecond)), Terminal.grouped(Int(publishedPerSecond)),
                        Terminal.megabytes(workerIdleBytes), Terminal.megabytes(workerPeakBytes),
                    ]
                ]) + (finished > 0 ? "\n\n\(sizes)" : "")
        }
    }
}

/// One measured run: publishes and counts results at the same time.
struct BenchRun: Sendable {
    let configuration: FleetConfiguration
    let jobs: Int
    /// What the keys of its jobs begin with.
    let keyPrefix: String
    let residentBytes: @Sendable () -> Int

    /// Jobs in one publish call.
    private static let batch = 250
    private static let lanes = 4

    init(
        _ configuration: FleetConfiguration, jobs: Int, keyPrefix: String = "bench-",
        residentBytes: @escaping @Sendable () -> Int = { 0 }
    ) {
        self.configuration = configuration
        self.jobs = jobs
        self.keyPrefix = keyPrefix
        self.residentBytes = residentBytes
    }

    /// Several batches are under way at once, or the broker's answer to one would be waited for by all.
    private func publish(_ producer: JobProducer) async throws {
        let payload = Array("{}".utf8)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for lane in 0..<Self.lanes {
                group.addTask {
                    for start in stride(from: lane * Self.batch, to: jobs, by: Self.lanes * Self.batch) {
                        let outcomes = await producer.enqueue(
                            (start..<min(start + Self.batch, jobs)).map {
                                Job(type: NoopParameters.type, key: "\(keyPrefix)\($0)", payload: payload)
                            })
                        if let open = outcomes.first(where: { $0 != .queued }) {
                            throw CommandFailure(.workFailed, "a job could not be published: \(open)")
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    /// - Parameter afterPublishing: starts the workers once all is published; nil when they run already and publishing and
    ///   working go on at the same time.
    func measure(
        afterPublishing: (() throws -> Void)?
    ) async throws -> (total: Double, publishing: Double, peakBytes: Int) {
        let amqp = try configuration.amqp("gaia bench")
        let logger = configuration.logger
        let results = ReplyQueue(
            amqp, bindings: [(FleetBroker.resultsExchange, "\(NoopParameters.type).#")], prefetch: 2_000, logger: logger
        )
        let producer = JobProducer(amqp, logger: logger)
        return try await withThrowingTaskGroup(of: Double?.self) { group in
            group.addTask {
                try await results.consumer.run()
                return nil
            }
            group.addTask {
                try await producer.run()
                return nil
            }
            while results.consumer.currentGeneration == 0 { try await Task.sleep(for: .milliseconds(5)) }
            var begin = ContinuousClock.now
            var publishing: Double?
            if let afterPublishing {
                Progress.shared.show("publishing \(Terminal.grouped(jobs)) jobs …")
                try await publish(producer)
                publishing = (ContinuousClock.now - begin).inSeconds
                begin = .now
                try afterPublishing()
            } else {
                group.addTask { [begin] in
                    try await publish(producer)
                    return (ContinuousClock.now - begin).inSeconds
                }
            }
            var seen = Set<String>(minimumCapacity: jobs)
            var read: [AMQPDeliveryTag] = []
            var peak = 0
            var looked = begin
            for await batch in results.consumer.deliveries {
                for delivery in batch {
                    if let id = delivery.properties.messageID { seen.insert(id) }
                    read.append(delivery.tag)
                }
                let isDone = seen.count == jobs
                if read.count >= Self.batch || isDone {
                    results.consumer.acknowledge(read)
                    read.removeAll(keepingCapacity: true)
                }
                // The measurement shares the machine with what it measures.
                let now = ContinuousClock.now
                if isDone || now - looked >= .milliseconds(250) {
                    looked = now
                    peak = max(peak, residentBytes())
                    let rate = Int(Double(seen.count) / (now - begin).inSeconds)
                    Progress.shared.show(
                        "\(Progress.bar(seen.count, of: jobs)) \(Terminal.grouped(seen.count)) of \(Terminal.grouped(jobs)), \(Terminal.grouped(rate))/s"
                    )
                }
                if isDone { break }
            }
            let total = (ContinuousClock.now - begin).inSeconds
            await results.consumer.close()
            await producer.close()
            while let part = try await group.next() { publishing = part ?? publishing }
            return (total, publishing ?? total, peak)
        }
    }
}
