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
        subcommands: [
            Throughput.self, Mixed.self, API.self, Browser.self, File.self, Network.self, Process.self, Latency.self,
            Enqueue.self,
            Idle.self, Floor.self, Peers.self, Scale.self,
            Ledger.self,
            Rescue.self, Failover.self, Relay.self, Urgent.self, Locks.self, Limits.self, WorkerOfBench.self,
        ])

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
        @OptionGroup var output: BenchOutput

        func validate() throws {
            if jobs < 1 || workers < 1 || slots < 1 || finished < 0 { throw ValidationError("counts must be positive") }
        }

        func run() async throws {
            try await output.report(title: "no-op jobs, \(workers) workers") {
                try await withBenchStack(
                    management: management, settings: ["GAIA_WORKER_SLOTS_GAIA": "\(slots)"]
                ) { loaded, fleet, stack in (try await Machine.here(stack, loaded), try await measure(loaded, fleet)) }
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
                let startWorkers: @Sendable () throws -> Void = {
                    for name in names { try fleet.start("worker", name: name) }
                }
                let measured = try await run.measure(afterPublishing: backlog ? startWorkers : nil)
                let processor = names.compactMap { fleet.processorSeconds(of: $0) }.reduce(0, +)
                try await fleet.stop()
                let after = try await store.ledgerSize()
                let done = try await store.countJobs(keyPrefix: run.keyPrefix)
                guard done == jobs else {
                    throw CommandFailure(.workFailed, "the ledger counts \(done) of \(jobs) jobs as done")
                }
                return Figures(
                    jobs: jobs, workers: names.count, isBacklog: backlog, seconds: measured.total,
                    jobsPerSecond: measured.jobsPerSecond, steadyPerSecond: measured.steadyPerSecond,
                    publishedPerSecond: Double(jobs) / measured.publishing,
                    processorMicroseconds: processor * 1e6 / Double(jobs), workerIdleBytes: idle,
                    workerPeakBytes: measured.peakBytes, course: measured.course, finished: finished, before: before,
                    after: after)
            }
        }
    }

    struct Figures: BenchFigures {
        let jobs, workers: Int
        /// Whether all was published before the workers started.
        let isBacklog: Bool
        /// Jobs a second over all, and without the start of the processes.
        let seconds, jobsPerSecond, steadyPerSecond, publishedPerSecond: Double
        /// Of all workers together, in user and kernel mode, for a job.
        let processorMicroseconds: Double
        let workerIdleBytes, workerPeakBytes: Int
        let course: [Measured.Moment]
        /// Finished jobs that the ledger held from the start, and how large it was before and after.
        let finished: Int
        let before, after: LedgerSize

        var text: String {
            let sizes = LedgerSize.table([("before", before), ("after", after)])
            return Terminal.table(
                ["jobs", "workers", "seconds", "jobs/s", "steady jobs/s", "published/s", "cpu/job", "idle", "at load"],
                [
                    [
                        Terminal.grouped(jobs), "\(workers)", String(format: "%.1f", seconds),
                        Terminal.grouped(Int(jobsPerSecond)), Terminal.grouped(Int(steadyPerSecond)),
                        Terminal.grouped(Int(publishedPerSecond)), String(format: "%.1f µs", processorMicroseconds),
                        Terminal.megabytes(workerIdleBytes), Terminal.megabytes(workerPeakBytes),
                    ]
                ])
                + "\nEach job: claimed and completed in the ledger by synchronous commits, its result confirmed, its delivery"
                + " acknowledged; quorum queues.\ncpu/job: processor time of all workers together. idle, at load: memory of"
                + " the largest worker." + (finished > 0 ? "\n\n\(sizes)" : "")
        }

        var axis: String { "seconds" }
        var panels: [Plot.Panel] {
            [
                Plot.Panel(
                    title: "results a second", curves: [Plot.Curve(name: "\(workers) workers", points: course.rates)])
            ]
        }
    }
}

/// One measured run: publishes and counts results at the same time.
struct BenchRun: Sendable {
    let configuration: FleetConfiguration
    let jobs: Int
    /// What the keys of its jobs begin with.
    let keyPrefix: String
    /// Of how many types they are, in turns.
    let types: [JobType]
    /// What each is given.
    let payload: String
    let residentBytes: @Sendable () -> Int

    /// Jobs in one publish call, and how many of these are under way.
    private static let batch = 250
    private static let lanes = 4

    init(
        _ configuration: FleetConfiguration, jobs: Int, keyPrefix: String = "bench-",
        types: [JobType] = [NoopParameters.type], payload: String = "{}",
        residentBytes: @escaping @Sendable () -> Int = { 0 }
    ) {
        self.configuration = configuration
        self.jobs = jobs
        self.keyPrefix = keyPrefix
        self.types = types
        self.payload = payload
        self.residentBytes = residentBytes
    }

    /// Several batches are under way at once, or the broker's answer to one would be waited for by all.
    ///
    /// - Returns: seconds to the last confirm.
    private func publish(_ producer: JobProducer, batch: Int = batch, lanes: Int = lanes) async throws -> Double {
        let payload = Array(payload.utf8)
        let begin = ContinuousClock.now
        try await withThrowingTaskGroup(of: Void.self) { group in
            for lane in 0..<lanes {
                group.addTask {
                    for start in stride(from: lane * batch, to: jobs, by: lanes * batch) {
                        let outcomes = await producer.enqueue(
                            (start..<min(start + batch, jobs)).map {
                                Job(type: types[$0 % types.count], key: "\(keyPrefix)\($0)", payload: payload)
                            })
                        if let open = outcomes.first(where: { $0 != .queued }) {
                            throw CommandFailure(.workFailed, "a job could not be published: \(open)")
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        return (ContinuousClock.now - begin).inSeconds
    }

    /// Publishes all of them, and nothing else.
    ///
    /// - Returns: seconds to the last confirm.
    func publishAll(batch: Int, lanes: Int) async throws -> Double {
        let producer = JobProducer(try configuration.amqp("gaia bench"), logger: configuration.logger)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await producer.run() }
            let result: Result<Double, any Error>
            do { result = .success(try await publish(producer, batch: batch, lanes: lanes)) } catch {
                result = .failure(error)
            }
            await producer.close()
            for try await _ in group {}
            return try result.get()
        }
    }

    /// - Parameter afterPublishing: starts the workers once all is published; nil when they run already and publishing and
    ///   working go on at the same time.
    func measure(afterPublishing: (@Sendable () throws -> Void)?) async throws -> Measured {
        try await withBenchLinks(configuration) { results, producer in
            if let afterPublishing {
                Progress.shared.show("publishing \(Terminal.grouped(jobs)) jobs …")
                let publishing = try await publish(producer)
                let begin = ContinuousClock.now
                try afterPublishing()
                var measured = try await read(results, since: begin)
                measured.publishing = publishing
                return measured
            }
            async let reading = read(results, since: .now)
            let publishing = try await publish(producer)
            var measured = try await reading
            measured.publishing = publishing
            return measured
        }
    }

    /// Reads the result of each job.
    private func read(_ results: AMQPConsumer, since begin: ContinuousClock.Instant) async throws -> Measured {
        let life = Bell()
        async let _: Void = endStalled(results, life)
        var seen = Set<String>(minimumCapacity: jobs)
        var read: [AMQPDeliveryTag] = []
        var peak = 0
        var looked = begin
        var course: [Measured.Moment] = []
        for await batch in results.deliveries {
            life.ring()
            for delivery in batch {
                // The loop in C gives a result the key of its job for an id. Others' may come as well, of jobs that were left
                // by what ran before.
                let key = ResultID(delivery)?.key ?? delivery.properties.messageID ?? ""
                if key.hasPrefix(keyPrefix) { seen.insert(key) }
                read.append(delivery.tag)
            }
            let isDone = seen.count == jobs
            if read.count >= Self.batch || isDone {
                results.acknowledge(read)
                read.removeAll(keepingCapacity: true)
            }
            // The measurement shares the machine with what it measures.
            let now = ContinuousClock.now
            if isDone || now - looked >= .milliseconds(250) {
                looked = now
                peak = max(peak, residentBytes())
                course.append(Measured.Moment(seconds: (now - begin).inSeconds, done: seen.count))
                let rate = Int(Double(seen.count) / (now - begin).inSeconds)
                Progress.shared.show(
                    "\(Progress.bar(seen.count, of: jobs)) \(Terminal.grouped(seen.count)) of \(Terminal.grouped(jobs)), \(Terminal.grouped(rate))/s"
                )
            }
            if isDone { return Measured(jobs: jobs, total: (now - begin).inSeconds, peakBytes: peak, course: course) }
        }
        throw CommandFailure(
            .workFailed,
            "after \(seen.count) of \(jobs) results no more came for \(benchStall): has a worker been killed?")
    }
}

/// What one run came to.
struct Measured: Sendable {
    struct Moment: Sendable, Encodable {
        let seconds: Double
        /// Results read by then.
        let done: Int
    }

    let jobs: Int
    /// Seconds from the first publish, or from the start of the workers when all was published before, to the last result.
    let total: Double
    /// Seconds in which all were published.
    var publishing = 0.0
    /// The most memory of a worker.
    let peakBytes: Int
    /// About four a second.
    let course: [Moment]

    var jobsPerSecond: Double { Double(jobs) / total }

    /// From the moment in which a twentieth is done to the end: without the time in which processes start.
    var steadyPerSecond: Double {
        guard let begin = course.first(where: { $0.done * 20 >= jobs }), begin.done < jobs else { return jobsPerSecond }
        return Double(jobs - begin.done) / (total - begin.seconds)
    }
}

extension [Measured.Moment] {
    /// Jobs a second between the moments.
    var rates: [(x: Double, y: Double)] {
        zip(self, dropFirst()).map { ($1.seconds, Double($1.done - $0.done) / ($1.seconds - $0.seconds)) }
    }
}
