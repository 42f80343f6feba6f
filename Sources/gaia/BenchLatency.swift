import AMQPClient
import ArgumentParser
import FleetBroker
import FleetConfiguration
import FleetModel
import FleetStack
import FleetStore
import Synchronization

extension BenchCommand {
    /// `gaia bench latency`
    struct Latency: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "From the publishing of a no-op job to its result.",
            discussion: """
                Starts private servers, a dispatcher and workers as processes of their own. First single jobs, each
                published when the result of the last has been read. Then jobs at a steady rate, whatever becomes of those
                before: a job's time begins when it was due to be published, so that a pause is felt by all that fall into it.
                """)

        @Option(name: .long, help: "Jobs a second.")
        var rate = 1_000
        @Option(name: .long, help: "For how many seconds.")
        var seconds = 30
        @Option(name: .long, help: "How many single jobs before.")
        var singles = 500
        @Option(name: .long, help: "How many worker processes.")
        var workers = 2
        @OptionGroup var output: BenchOutput

        func validate() throws {
            if rate < 1 || seconds < 1 || singles < 1 || workers < 1 {
                throw ValidationError("counts must be positive")
            }
        }

        func run() async throws {
            try await output.report(title: "from publish to result") {
                try await withBenchStack { loaded, fleet, stack in
                    let figures = try await loaded.withStore("gaia bench") { store in
                        try await store.migrate()
                        try fleet.start("dispatcher", name: "dispatcher")
                        for number in 1...workers { try fleet.start("worker", name: "worker-\(number)") }
                        try await fleet.awaitReady(store, workers: workers, within: .seconds(60))
                        let figures = try await measure(loaded)
                        try await fleet.stop()
                        return figures
                    }
                    return (try await Machine.here(stack, loaded), figures)
                }
            }
        }

        private func measure(_ loaded: FleetConfiguration) async throws -> LatencyFigures {
            let answers = Answers()
            return try await withRoundTrip(loaded, answers) { producer in
                // The first ones find statements unprepared and caches cold.
                for number in 0..<50 { _ = try await answers.time(of: "warm-\(number)", producer) }
                var alone: [Duration] = []
                for number in 0..<singles {
                    Progress.shared.show("\(Progress.bar(number, of: singles)) single job \(number) of \(singles)")
                    alone.append(try await answers.time(of: "single-\(number)", producer))
                }
                let steady = try await offer(producer, answers)
                return LatencyFigures(
                    workers: workers, rate: rate, seconds: seconds, alone: Spread(alone), steady: Spread(steady),
                    aloneMilliseconds: alone.map { $0.inSeconds * 1_000 }.sorted(),
                    steadyMilliseconds: steady.map { $0.inSeconds * 1_000 }.sorted())
            }
        }

        /// Publishes each job when it is due, however long the broker takes over those before.
        private func offer(_ producer: JobProducer, _ answers: Answers) async throws -> [Duration] {
            let count = rate * seconds
            let begin = ContinuousClock.now + .milliseconds(100)
            func due(_ number: Int) -> ContinuousClock.Instant { begin + .seconds(1) * number / rate }
            answers.expect((0..<count).map { ("steady-\($0)", due($0)) })
            try await withThrowingTaskGroup(of: Void.self) { group in
                var next = 0
                while next < count {
                    try await Task.sleep(until: due(next), tolerance: .zero, clock: .continuous)
                    let now = ContinuousClock.now
                    let first = next
                    while next < count, due(next) <= now { next += 1 }
                    let jobs = (first..<next).map { noop("steady-\($0)") }
                    group.addTask { try check(await producer.enqueue(jobs)) }
                    if first / rate != next / rate {
                        Progress.shared.show(
                            "\(Progress.bar(next, of: count)) \(Terminal.grouped(next)) of \(Terminal.grouped(count)) jobs"
                        )
                    }
                }
                for try await _ in group {}
            }
            return try await answers.all(within: .seconds(30))
        }
    }
}

private func noop(_ key: String) -> Job { Job(type: NoopParameters.type, key: key, payload: Array("{}".utf8)) }

private func check(_ outcomes: [EnqueueOutcome]) throws {
    if let open = outcomes.first(where: { $0 != .queued }) {
        throw CommandFailure(.workFailed, "a job could not be published: \(open)")
    }
}

/// As ``withBenchLinks``, with results noted as they come.
private func withRoundTrip<Value: Sendable>(
    _ loaded: FleetConfiguration, _ answers: Answers, _ body: @escaping @Sendable (JobProducer) async throws -> Value
) async throws -> Value {
    try await withBenchLinks(loaded) { results, producer in
        let reading = Task {
            for await batch in results.deliveries {
                let now = ContinuousClock.now
                answers.arrived(batch.compactMap { ResultID($0)?.key }, now)
                results.acknowledge(batch.map(\.tag))
            }
        }
        defer { reading.cancel() }
        return try await body(producer)
    }
}

/// Which jobs are under way, since when, and how long those took that have been answered.
private final class Answers: Sendable {
    private struct State {
        var open: [String: ContinuousClock.Instant] = [:]
        var times: [Duration] = []
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    func expect(_ jobs: [(key: String, since: ContinuousClock.Instant)]) {
        state.withLock { state in
            state.times = []
            for (key, since) in jobs { state.open[key] = since }
        }
    }

    func arrived(_ keys: [String], _ now: ContinuousClock.Instant) {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            for key in keys {
                if let since = state.open.removeValue(forKey: key) { state.times.append(now - since) }
            }
            guard state.open.isEmpty else { return nil }
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    /// Publishes one job and waits for its result.
    func time(of key: String, _ producer: JobProducer) async throws -> Duration {
        expect([(key, .now)])
        try check(await producer.enqueue([noop(key)]))
        return try await all(within: .seconds(30))[0]
    }

    /// Waits until every expected job is answered.
    func all(within limit: Duration) async throws -> [Duration] {
        let deadline = Task {
            try await Task.sleep(for: limit)
            state.withLock { $0.waiter.take() }?.resume()
        }
        defer { deadline.cancel() }
        await withCheckedContinuation { continuation in
            let isDone = state.withLock { state in
                if state.open.isEmpty { return true }
                state.waiter = continuation
                return false
            }
            if isDone { continuation.resume() }
        }
        return try state.withLock { state in
            guard state.open.isEmpty else {
                throw CommandFailure(.workFailed, "\(state.open.count) jobs had no result within \(limit)")
            }
            return state.times
        }
    }
}

/// What `gaia bench latency` measured.
private struct LatencyFigures: BenchFigures {
    let workers, rate, seconds: Int
    /// A job at a time, and all at the rate.
    let alone, steady: Spread
    let aloneMilliseconds, steadyMilliseconds: [Double]

    private enum CodingKeys: CodingKey { case workers, rate, seconds, alone, steady }

    var text: String {
        Spread.table([
            ("one job at a time", alone), ("\(Terminal.grouped(rate)) jobs/s for \(seconds) s", steady),
        ])
            + "\nFrom the moment a job is due to be published to its result being read; \(workers) workers, all confirmed."
    }

    var axis: String { "percentile" }
    var panels: [Plot.Panel] {
        func curve(_ name: String, _ sorted: [Double]) -> Plot.Curve {
            // A thousand points tell as much as all.
            Plot.Curve(
                name: name,
                points: stride(from: 0, to: 1_000, by: 1).map { part in
                    (Double(part) / 10, sorted[min(sorted.count - 1, sorted.count * part / 1_000)])
                })
        }
        return [
            Plot.Panel(
                title: "milliseconds from publish to result",
                curves: [curve("one at a time", aloneMilliseconds), curve("\(rate)/s", steadyMilliseconds)])
        ]
    }
}
