import AMQPClient
import ArgumentParser
import CFloor
import Dispatch
import FleetBroker
import FleetConfiguration
import FleetModel
import FleetStack
import FleetStore
import Glibc

extension BenchCommand {
    /// `gaia bench floor`
    struct Floor: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "What the broker and the database of this machine can give, beside what the workers take.",
            discussion: """
                Starts private servers and measures, in C and through the same client libraries as the workers: publishing
                with confirms, consuming, claiming and completing in batches, and all of it in one loop without handlers,
                leases or retries, by as many threads as there are workers. Then real workers, on the same servers. In each
                round everything is measured once, one after the other.

                The loop stands there twice: with the ledger's own statements, which shows what the workers' code costs, and
                on a table that has nothing but a key, a state and a token, which shows what the ledger costs as well.
                """)

        @Option(name: .long, help: "How many jobs in each measurement.")
        var jobs = 150_000
        @Option(name: .long, help: "How often each is measured.")
        var rounds = 3
        @Option(name: .long, help: "How many loops, and how many workers.")
        var workers = 2
        @Option(name: .long, help: "How many jobs a loop takes at once.")
        var batch = 250
        @OptionGroup var output: BenchOutput

        func validate() throws {
            if jobs < 1 || rounds < 1 || workers < 1 || batch < 1 { throw ValidationError("counts must be positive") }
            if batch > 2_000 {
                throw ValidationError("--batch is at most 2000, which is as much as a broker prefetches")
            }
        }

        func run() async throws {
            try await output.report(title: "no-op jobs beside the floor") {
                try await withBenchStack(settings: ["GAIA_WORKER_SLOTS_GAIA": "1000"]) { loaded, fleet, stack in
                    let floor = try await Ground(loaded, stack, jobs: jobs, workers: workers, batch: batch)
                    var rates: [String: [Double]] = [:]
                    for round in 1...rounds {
                        for measurement in Measurement.allCases {
                            Progress.shared.show("round \(round) of \(rounds): \(measurement.rawValue) …")
                            let rate = try await floor.measure(measurement, round, fleet)
                            rates[measurement.rawValue, default: []].append(rate)
                        }
                    }
                    return (
                        try await Machine.here(stack, loaded),
                        FloorFigures(jobs: jobs, workers: workers, batch: batch, rates: rates)
                    )
                }
            }
        }
    }
}

/// What is measured, in this order.
private enum Measurement: String, CaseIterable {
    case publish = "publish, confirmed"
    case consume = "consume, acknowledged"
    case bareTable = "claim and complete, bare table"
    case ledger = "claim and complete, ledger"
    case bareLoop = "whole loop in C, bare table"
    case ledgerLoop = "whole loop in C, ledger"
    case workers = "workers"

    func settings(_ figures: FloorFigures) -> String {
        switch self {
        case .publish: "1 connection, 300 bytes, at most 500 unconfirmed"
        case .consume: "1 connection, prefetch 500, acknowledged by \(figures.batch)"
        case .bareTable, .ledger: "1 connection, batches of \(figures.batch), synchronous commit"
        case .bareLoop, .ledgerLoop: "\(figures.workers) threads, batches of \(figures.batch), results of 300 bytes"
        case .workers: "\(figures.workers) processes, 1,000 slots each"
        }
    }
}

/// What all measurements stand on.
private struct Ground {
    private static let queue = "gaia.floor"
    private static let bytes: Int32 = 300

    private let loaded: FleetConfiguration
    private let amqp: AMQPConfiguration
    private let database: String
    private let jobs, workers, batch: Int

    init(_ loaded: FleetConfiguration, _ stack: Stack, jobs: Int, workers: Int, batch: Int) async throws {
        (self.loaded, self.jobs, self.workers, self.batch) = (loaded, jobs, workers, batch)
        amqp = try loaded.amqp("gaia bench")
        database = stack.environment["GAIA_DATABASE_URL"] ?? ""
        try await loaded.withStore("gaia bench") { store in
            try await store.migrate()
            try await store.makeBareTable()
        }
        var topology = FleetBroker.topology(subsystems: [NoopParameters.type.subsystem])
        topology.queues.append(AMQPQueue(name: Self.queue, arguments: ["x-queue-type": .string("quorum")]))
        try await AMQPSession.withConnection(amqp) { [topology] in try await $0.declare(topology) }
    }

    /// A worker of its own each time: the dispatcher of the last round has ended the epoch of one that nobody keeps alive.
    private func ledger() async throws -> FloorStatements {
        try await loaded.withStore("gaia bench") { try await $0.floorStatements() }
    }

    /// - Returns: jobs or messages per second.
    func measure(_ measurement: Measurement, _ round: Int, _ fleet: Fleet) async throws -> Double {
        // Keys that no other measurement has had.
        let prefix = "\(measurement)-\(round)-"
        let (jobs, batch) = (jobs, batch)
        switch measurement {
        case .publish:
            return try await rate { broker, _, seconds in
                gaia_floor_publish(&broker, Self.queue, prefix, jobs, Self.bytes, 500, &seconds)
            }
        case .consume:
            return try await rate { broker, _, seconds in
                gaia_floor_consume(&broker, Self.queue, jobs, 500, Int32(batch), &seconds)
            }
        case .bareTable:
            return try await rate(.bare) { _, ledger, seconds in
                gaia_floor_settle(&ledger, prefix, jobs, Int32(batch), &seconds)
            }
        case .ledger:
            return try await rate(try await ledger()) { _, ledger, seconds in
                gaia_floor_settle(&ledger, prefix, jobs, Int32(batch), &seconds)
            }
        case .bareLoop: return try await loop(.bare, prefix)
        case .ledgerLoop: return try await loop(try await ledger(), prefix)
        case .workers: return try await work(fleet, prefix, round)
        }
    }

    private typealias Call =
        @Sendable (inout gaia_floor_broker, inout gaia_floor_ledger, inout Double) -> UnsafeMutablePointer<CChar>?

    /// Calls into C on a thread of its own, with strings that last as long as the call.
    @discardableResult
    private func seconds(_ statements: FloorStatements, _ call: @escaping Call) async throws -> Double {
        let endpoint = amqp.endpoints[0]
        let texts = [
            endpoint.host, amqp.virtualHost, amqp.user, amqp.password, database, statements.claim, statements.complete,
        ]
        return try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async {
                let copies = texts.map { strdup($0) }
                defer { for copy in copies { free(copy) } }
                let lasting = copies.compactMap { UnsafePointer($0) }
                guard lasting.count == texts.count else { preconditionFailure("no memory for a few names") }
                var broker = gaia_floor_broker(
                    host: lasting[0], port: Int32(endpoint.port), virtual_host: lasting[1], user: lasting[2],
                    password: lasting[3])
                var ledger = gaia_floor_ledger(connection: lasting[4], claim: lasting[5], complete: lasting[6])
                var seconds = 0.0
                if let text = call(&broker, &ledger, &seconds) {
                    continuation.resume(throwing: CommandFailure(.workFailed, String(cString: text)))
                    free(text)
                } else {
                    continuation.resume(returning: seconds)
                }
            }
        }
    }

    private func rate(_ statements: FloorStatements = .bare, _ call: @escaping Call) async throws -> Double {
        Double(jobs) / (try await seconds(statements, call))
    }

    /// Loops work a backlog off; their results are counted as the workers' are.
    private func loop(_ statements: FloorStatements, _ prefix: String) async throws -> Double {
        let batch = Int32(batch)
        let run = BenchRun(loaded, jobs: jobs, keyPrefix: prefix)
        let signals = (1...workers).map { _ in AsyncStream.makeStream(of: Never.self) }
        return try await withThrowingTaskGroup(of: Double?.self) { group in
            for signal in signals {
                group.addTask {
                    for await _ in signal.stream {}
                    try await seconds(statements) { broker, ledger, seconds in
                        var count = 0
                        return gaia_floor_loop(
                            &broker, &ledger, FleetBroker.jobsQueue(NoopParameters.type.subsystem),
                            FleetBroker.resultsExchange, "\(NoopParameters.type).succeeded", Self.bytes, batch, 2,
                            &count,
                            &seconds)
                    }
                    return nil
                }
            }
            group.addTask {
                try await run.measure(afterPublishing: { for signal in signals { signal.continuation.finish() } })
                    .steadyPerSecond
            }
            var rate = 0.0
            for try await part in group { rate = part ?? rate }
            return rate
        }
    }

    private func work(_ fleet: Fleet, _ prefix: String, _ round: Int) async throws -> Double {
        let run = BenchRun(loaded, jobs: jobs, keyPrefix: prefix)
        let measured = try await run.measure(afterPublishing: {
            try fleet.start("dispatcher", name: "dispatcher-\(round)")
            for number in 1...workers { try fleet.start("worker", name: "worker-\(round)-\(number)") }
        })
        try await fleet.stop()
        return measured.steadyPerSecond
    }
}

/// What `gaia bench floor` measured.
private struct FloorFigures: BenchFigures {
    let jobs, workers, batch: Int
    /// Jobs or messages per second of each round.
    let rates: [String: [Double]]

    private func rates(_ measurement: Measurement) -> [Double] { rates[measurement.rawValue] ?? [] }

    /// What the workers reach of a loop, in each round.
    private func share(of measurement: Measurement) -> String {
        let shares = zip(rates(.workers), rates(measurement)).map { $0 / $1 }
        return shares.map { String(format: "%.2f", $0) }.joined(separator: ", ")
            + String(format: "; median %.2f", median(shares))
    }

    var text: String {
        Terminal.table(
            ["what", "slowest", "median/s", "fastest", "settings"],
            Measurement.allCases.map { measurement in
                [measurement.rawValue] + spanCells(rates(measurement)) + [measurement.settings(self)]
            })
            + "\n\nThe broker's queues are quorum queues, messages persistent; \(Terminal.grouped(jobs)) in each measurement."
            + "\nworkers beside the loop with the ledger, in each round: \(share(of: .ledgerLoop))"
            + "\nworkers beside the loop on a bare table: \(share(of: .bareLoop))"
    }

    var axis: String { "round" }
    var panels: [Plot.Panel] {
        func panel(_ title: String, _ measurements: [Measurement]) -> Plot.Panel {
            Plot.Panel(
                title: title,
                curves: measurements.map { measurement in
                    Plot.Curve(name: measurement.rawValue, rounds: rates(measurement))
                })
        }
        return [
            panel("broker, messages a second", [.publish, .consume]),
            panel("database, jobs a second", [.bareTable, .ledger]),
            panel("all of it, jobs a second", [.bareLoop, .ledgerLoop, .workers]),
        ]
    }
}
