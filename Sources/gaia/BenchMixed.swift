import AMQPClient
import ArgumentParser
import FleetBroker
import FleetConfiguration
import FleetDemoTarget
import FleetModel
import FleetStack
import FleetStore
import Foundation

extension BenchCommand {
    /// `gaia bench mixed`
    struct Mixed: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Jobs of all subsystems at once, for a minute.",
            discussion: """
                Starts private servers, a dispatcher, workers and an HTTP server on this machine, and keeps so many jobs of
                each kind under way: HTTP calls to a server that takes 20 ms, files written, read, hashed and parsed, programs,
                names asked of dnsmasq, probes and small downloads. A job's time runs from its publishing to its result.
                """)

        @Option(name: .long, help: "For how many seconds.")
        var seconds = 60
        @Option(name: .long, help: "How many jobs of each kind are under way.")
        var inFlight = 8
        @Option(name: .long, help: "How many worker processes.")
        var workers = 2
        @OptionGroup var output: BenchOutput

        func validate() throws {
            if seconds < 1 || inFlight < 1 || workers < 1 { throw ValidationError("counts must be positive") }
        }

        func run() async throws {
            try await output.report(title: "all subsystems at once") {
                let files = try MixedFiles()
                let result = await Result { try await measure(files) }
                try files.remove()
                return try result.get()
            }
        }

        private func measure(_ files: MixedFiles) async throws -> (Machine, MixedFigures) {
            let names = try await PrivateNameServer([
                "--local-ttl=60", "--address=/many.test/192.0.2.7", "--address=/many.test/2001:db8::7",
            ])
            let result = await Result { try await measure(files, namesPort: names.port) }
            try await names.stop()
            return try result.get()
        }

        private func measure(_ files: MixedFiles, namesPort: UInt16) async throws -> (Machine, MixedFigures) {
            try await withTarget { port in
                let kinds = MixedKind.all(port: port)
                let settings = MixedKind.settings(files, namesPort: namesPort)
                return try await withBenchStack(settings: settings) { loaded, fleet, stack in
                    let figures = try await loaded.withStore("gaia bench") { store in
                        try await store.migrate()
                        let names = (1...workers).map { "worker-\($0)" }
                        try fleet.start("dispatcher", name: "dispatcher")
                        for name in names { try fleet.start("worker", name: name) }
                        try await fleet.awaitReady(store, workers: workers, within: .seconds(60))
                        let figures = try await load(loaded, fleet, names, kinds)
                        try await fleet.stop()
                        return figures
                    }
                    return (try await Machine.here(stack, loaded), figures)
                }
            }
        }

        /// Runs `body` while an HTTP server of this process listens.
        private func withTarget<Value: Sendable>(
            _ body: @escaping @Sendable (Int) async throws -> Value
        ) async throws -> Value {
            var behaviour = DemoTarget.Behaviour.perfect
            behaviour.latencyMilliseconds = 20...20
            let target = DemoTarget(seed: 1, behaviour: behaviour)
            let (ports, port) = AsyncStream.makeStream(of: Int.self)
            return try await withThrowingTaskGroup(of: Value?.self) { group in
                group.addTask {
                    try await target.run { port.yield($0) }
                    return nil
                }
                group.addTask {
                    for await port in ports { return try await body(port) }
                    throw CancellationError()
                }
                defer { group.cancelAll() }
                while let part = try await group.next() { if let part { return part } }
                throw CommandFailure(.inside, "the HTTP server ended before the measurement")
            }
        }

        private func load(
            _ loaded: FleetConfiguration, _ fleet: Fleet, _ names: [String], _ kinds: [MixedKind]
        ) async throws -> MixedFigures {
            let subsystems = Set(kinds.map(\.type.subsystem)).sorted()
            let (seconds, inFlight) = (seconds, inFlight)
            return try await withBenchLinks(loaded, subsystems: subsystems) { results, producer in
                var course = MixedCourse(kinds: kinds, begin: .now)
                let end = course.begin + .seconds(seconds)
                let processorsBefore = ProcessorTimes.now()
                var processorsAfter = processorsBefore
                var workerBytes = 0
                try await publish(
                    kinds.indices.flatMap { kind in (0..<inFlight).map { _ in course.next(kind) } }, producer)
                var looked = course.begin
                let life = Bell()
                async let _: Void = endStalled(results, life)
                for await batch in results.deliveries {
                    life.ring()
                    let now = ContinuousClock.now
                    let ended = batch.compactMap { course.ended($0, now) }
                    results.acknowledge(batch.map(\.tag))
                    if now < end {
                        try await publish(ended.map { course.next($0) }, producer)
                        processorsAfter = .now()
                    } else if course.open.isEmpty {
                        return course.figures(
                            seconds: seconds, inFlight: inFlight, workers: names.count,
                            busy: processorsBefore.busy(until: processorsAfter), workerBytes: workerBytes)
                    }
                    if now - looked >= .milliseconds(500) {
                        looked = now
                        workerBytes = max(workerBytes, names.compactMap { fleet.residentBytes(of: $0) }.max() ?? 0)
                        let past = min(seconds, Int((now - course.begin).inSeconds))
                        Progress.shared.show(
                            "\(Progress.bar(past, of: seconds)) \(Terminal.grouped(course.done)) jobs, \(course.failed) failed"
                        )
                    }
                    if let name = fleet.ended() {
                        throw CommandFailure(.inside, "\(name) ended; its log: \(fleet.logFile(of: name))")
                    }
                }
                throw CommandFailure(.inside, "the link to the broker ended before the measurement")
            }
        }

        private func publish(_ jobs: [Job], _ producer: JobProducer) async throws {
            if jobs.isEmpty { return }
            let outcomes = await producer.enqueue(jobs)
            if let open = outcomes.first(where: { $0 != .queued }) {
                throw CommandFailure(.workFailed, "a job could not be published: \(open)")
            }
        }
    }
}

/// What is under way and what came of it.
private struct MixedCourse {
    let begin: ContinuousClock.Instant
    private let kinds: [MixedKind]
    private(set) var open: [String: (kind: Int, since: ContinuousClock.Instant)] = [:]
    private var times: [[Duration]]
    private var failures: [Int]
    private var firstFailure: String?
    private var number = 0

    init(kinds: [MixedKind], begin: ContinuousClock.Instant) {
        self.kinds = kinds
        self.begin = begin
        times = Array(repeating: [], count: kinds.count)
        failures = Array(repeating: 0, count: kinds.count)
    }

    var done: Int { times.reduce(0) { $0 + $1.count } }
    var failed: Int { failures.reduce(0, +) }

    mutating func next(_ kind: Int) -> Job {
        number += 1
        let key = "mixed-\(number)"
        open[key] = (kind, .now)
        return Job(type: kinds[kind].type, key: key, payload: Array(kinds[kind].payload(number).utf8))
    }

    /// - Returns: the kind of the job whose result this is; nil for a repeat.
    mutating func ended(_ delivery: AMQPDelivery, _ now: ContinuousClock.Instant) -> Int? {
        guard let result = ResultID(delivery), let (kind, since) = open.removeValue(forKey: result.key) else {
            return nil
        }
        times[kind].append(now - since)
        if !result.hasSucceeded {
            failures[kind] += 1
            if firstFailure == nil { firstFailure = String(decoding: delivery.body, as: UTF8.self) }
        }
        return kind
    }

    func figures(
        seconds: Int, inFlight: Int, workers: Int, busy: [Double], workerBytes: Int
    ) -> MixedFigures {
        MixedFigures(
            seconds: seconds, inFlight: inFlight, workers: workers, busyShares: busy, workerBytes: workerBytes,
            rows: zip(kinds, zip(times, failures)).map { kind, measured in
                MixedFigures.Row(
                    kind: kind.name, perSecond: Double(measured.0.count) / Double(seconds), failed: measured.1,
                    times: Spread(measured.0))
            }, firstFailure: firstFailure)
    }
}

/// How long each processor has been busy and idle since the machine started.
private struct ProcessorTimes {
    private let cores: [(busy: Double, all: Double)]

    static func now() -> ProcessorTimes {
        let text = (try? String(contentsOfFile: "/proc/stat", encoding: .utf8)) ?? ""
        let lines = text.split(separator: "\n").filter { $0.hasPrefix("cpu") && !$0.hasPrefix("cpu ") }
        return ProcessorTimes(
            cores: lines.map { line in
                let ticks = line.split(separator: " ").dropFirst().prefix(8).compactMap { Double($0) }
                let all = ticks.reduce(0, +)
                // The fourth and fifth are idle time, and idle time with a disk under way.
                return (all - ticks.dropFirst(3).prefix(2).reduce(0, +), all)
            })
    }

    /// The share of its time that each core was busy.
    func busy(until later: ProcessorTimes) -> [Double] {
        zip(cores, later.cores).map { ($1.busy - $0.busy) / max(1, $1.all - $0.all) }
    }
}

/// What `gaia bench mixed` measured.
private struct MixedFigures: BenchFigures {
    struct Row: Encodable, Sendable {
        let kind: String
        let perSecond: Double
        /// Jobs whose outcome was another than success.
        let failed: Int
        let times: Spread
    }

    let seconds, inFlight, workers: Int
    /// Of each core, from 0 to 1; everything that ran on the machine is in it.
    let busyShares: [Double]
    /// Of the largest worker, at any moment.
    let workerBytes: Int
    let rows: [Row]
    /// The result of the first job that failed.
    let firstFailure: String?

    var text: String {
        let total = rows.reduce(0) { $0 + $1.times.rounds }
        let failed = rows.reduce(0) { $0 + $1.failed }
        let cores = busyShares.map { String(format: "%.0f %%", $0 * 100) }.joined(separator: " and ")
        return Terminal.table(
            ["kind", "jobs/s", "failed", "p50", "p95", "p99"],
            rows.map { row in
                [row.kind, Terminal.grouped(Int(row.perSecond.rounded())), "\(row.failed)"]
                    + [row.times.p50, row.times.p95, row.times.p99].map {
                        String(format: $0 < 20 ? "%.1f ms" : "%.0f ms", $0)
                    }
            })
            + "\n\(Terminal.grouped(total)) jobs in \(seconds) s, \(failed) failed"
            + String(format: " (%.3f %%)", Double(failed) / Double(max(1, total)) * 100)
            + "; cores busy: \(cores); largest of \(workers) workers: \(Terminal.megabytes(workerBytes))."
            + "\n\(inFlight) jobs of each kind under way; from publish to result."
            + (firstFailure.map { "\nThe first failure: \($0)" } ?? "")
    }

    var axis: String { "kind" }
    var panels: [Plot.Panel] {
        [
            Plot.Panel(
                title: "jobs a second", curves: [Plot.Curve(name: "kinds in order", rounds: rows.map(\.perSecond))]),
            Plot.Panel(
                title: "milliseconds from publish to result",
                curves: [
                    Plot.Curve(name: "p50", rounds: rows.map(\.times.p50)),
                    Plot.Curve(name: "p99", rounds: rows.map(\.times.p99)),
                ]),
        ]
    }
}
