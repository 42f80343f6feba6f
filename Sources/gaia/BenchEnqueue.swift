import AMQPClient
import ArgumentParser
import CurlClient
import FleetBroker
import FleetConfiguration
import FleetModel
import FleetStack
import FleetStore
import Foundation

extension BenchCommand {
    /// `gaia bench enqueue`
    struct Enqueue: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Jobs enqueued per second, on each of the ways into the fleet.",
            discussion: """
                Starts private servers and a dispatcher, and no worker. Jobs are enqueued by the client library with
                confirms, by requests to the dispatcher over AMQP and over HTTP, and by gaia.enqueue() in SQL, which the
                dispatcher relays to the broker. The time ends when the last is confirmed or answered; for SQL, when all
                are in the queue.
                """)

        @Option(name: .long, help: "How many jobs on each way.")
        var jobs = 200_000
        @Option(name: .long, help: "How many jobs in a call, a request or a transaction.")
        var batch = 250
        @Option(name: .long, help: "How many of these are under way at once.")
        var lanes = 4
        @Option(name: .long, help: "How often each way is measured.")
        var rounds = 3
        @OptionGroup var output: BenchOutput

        func validate() throws {
            if jobs < 1 || batch < 1 || lanes < 1 || rounds < 1 { throw ValidationError("counts must be positive") }
            if batch > 1_000 { throw ValidationError("--batch is at most 1000, as many as a request may hold") }
        }

        func run() async throws {
            try await output.report(title: "jobs enqueued per second") {
                let token = (0..<4).map { _ in String(UInt64.random(in: 0 ... .max), radix: 36) }.joined()
                let http = ["GAIA_HTTP_LISTEN": "127.0.0.1:0", "GAIA_HTTP_TOKEN": token]
                return try await withBenchStack(settings: http) { loaded, fleet, stack in
                    let rates = try await loaded.withStore("gaia bench") { store in
                        try await store.migrate()
                        try fleet.start("dispatcher", name: "dispatcher")
                        try await fleet.awaitReady(store, workers: 0, within: .seconds(60))
                        let door = HTTPDoor(address: try await Self.address(fleet), token: token, lanes: lanes)
                        var rates: [String: [Double]] = [:]
                        for round in 1...rounds {
                            for way in Way.allCases {
                                Progress.shared.show("round \(round) of \(rounds): \(way.rawValue) …")
                                try await purge(loaded)
                                let keys = "\(way)-\(round)-"
                                let rate = try await measure(way, keys, loaded, door)
                                rates[way.rawValue, default: []].append(rate)
                            }
                        }
                        await door.curl.close()
                        try await fleet.stop()
                        return rates
                    }
                    return (
                        try await Machine.here(stack, loaded),
                        EnqueueFigures(jobs: jobs, batch: batch, lanes: lanes, rates: rates)
                    )
                }
            }
        }

        /// Where the dispatcher listens, by its log.
        private static func address(_ fleet: Fleet) async throws -> String {
            let said = "http listens on "
            try await fleet.awaitOutput(of: ["dispatcher"], containing: said)
            let log = try String(contentsOfFile: fleet.logFile(of: "dispatcher"), encoding: .utf8)
            guard
                let address = log.components(separatedBy: said).dropFirst().first?.split(whereSeparator: \.isWhitespace)
            else { throw CommandFailure(.inside, "the dispatcher's log says no address") }
            return String(address[0])
        }

        /// So that each begins with an empty queue.
        private func purge(_ loaded: FleetConfiguration) async throws {
            try await AMQPSession.withConnection(try loaded.amqp("gaia bench")) {
                try await $0.purge(FleetBroker.jobsQueue(NoopParameters.type.subsystem))
            }
        }

        /// - Returns: jobs per second.
        private func measure(
            _ way: Way, _ keys: String, _ loaded: FleetConfiguration, _ door: HTTPDoor
        ) async throws -> Double {
            switch way {
            case .client:
                let run = BenchRun(loaded, jobs: jobs, keyPrefix: keys)
                return Double(jobs) / (try await run.publishAll(batch: batch, lanes: lanes))
            case .request:
                return try await EnqueueSession.open(loaded, timeout: .seconds(60)).use { session in
                    try await rate { range in
                        let reports = try await session.request(
                            range.map { JobDocument(noop: "\(keys)\($0)") })
                        if let open = reports.first(where: { !$0.isSafe }) {
                            throw CommandFailure(.workFailed, "a job was not enqueued: \(open.message ?? open.status)")
                        }
                    }
                }
            case .http: return try await rate { try await door.enqueue(keys: keys, $0) }
            case .sql:
                return try await loaded.withStore("gaia bench", connections: lanes) { store in
                    let begin = ContinuousClock.now
                    try await batches { range in try await store.enqueueNoops(keys: keys, range) }
                    let queue = FleetBroker.jobsQueue(NoopParameters.type.subsystem)
                    try await AMQPSession.withConnection(try loaded.amqp("gaia bench")) { session in
                        // Nobody else tells when the relay is done.
                        while try await session.queueStatus(queue)?.messages ?? 0 < jobs {
                            guard ContinuousClock.now - begin < .seconds(600) else {
                                throw CommandFailure(
                                    .workFailed, "the dispatcher had not relayed all within 10 minutes")
                            }
                            try await Task.sleep(for: .milliseconds(20))
                        }
                    }
                    return Double(jobs) / (ContinuousClock.now - begin).inSeconds
                }
            }
        }

        private func rate(_ body: @escaping @Sendable (Range<Int>) async throws -> Void) async throws -> Double {
            let begin = ContinuousClock.now
            try await batches(body)
            return Double(jobs) / (ContinuousClock.now - begin).inSeconds
        }

        private func batches(_ body: @escaping @Sendable (Range<Int>) async throws -> Void) async throws {
            try await withThrowingTaskGroup(of: Void.self) { [jobs, batch, lanes] group in
                for lane in 0..<lanes {
                    group.addTask {
                        for start in stride(from: lane * batch, to: jobs, by: lanes * batch) {
                            try await body(start..<min(start + batch, jobs))
                        }
                    }
                }
                for try await _ in group {}
            }
        }
    }
}

private enum Way: String, CaseIterable {
    case client = "client library, confirmed"
    case request = "requests to the dispatcher, AMQP"
    case http = "requests to the dispatcher, HTTP"
    case sql = "gaia.enqueue() in SQL, relayed"
}

/// Enqueues over HTTP, some hundred jobs to a request.
private struct HTTPDoor: Sendable {
    let address, token: String
    let curl: CurlMulti

    init(address: String, token: String, lanes: Int) {
        self.address = address
        self.token = token
        curl = CurlMulti(maxConnections: lanes, maxConnectionsPerHost: lanes, maxInFlight: lanes)
    }

    func enqueue(keys: String, _ range: Range<Int>) async throws {
        let jobs = range.map { #"{"type":"\#(NoopParameters.type)","key":"\#(keys)\#($0)","payload":{}}"# }
        let answer = try await curl.perform(
            CurlRequest(
                method: "POST", url: "http://\(address)/v1/jobs",
                headers: [("authorization", "Bearer \(token)"), ("content-type", "application/json")],
                body: Array(#"{"jobs":[\#(jobs.joined(separator: ","))]}"#.utf8)))
        guard answer.status == 202 else {
            throw CommandFailure(.workFailed, "jobs were not enqueued: \(String(decoding: answer.body, as: UTF8.self))")
        }
    }
}

extension JobDocument {
    fileprivate init(noop key: String) {
        self.init(job: Job(type: NoopParameters.type, key: key, payload: Array("{}".utf8)), payload: "{}", delay: nil)
    }
}

/// What `gaia bench enqueue` measured.
private struct EnqueueFigures: BenchFigures {
    let jobs, batch, lanes: Int
    /// Jobs per second of each round.
    let rates: [String: [Double]]

    private func rates(_ way: Way) -> [Double] { rates[way.rawValue] ?? [] }

    var text: String {
        Terminal.table(
            ["way", "slowest", "median jobs/s", "fastest"],
            Way.allCases.map { way in
                [way.rawValue] + spanCells(rates(way))
            })
            + "\n\(Terminal.grouped(jobs)) jobs each time, \(batch) at once, \(lanes) of these under way; quorum queue, "
            + "persistent messages, synchronous commit."
    }

    var axis: String { "round" }
    var panels: [Plot.Panel] {
        [
            Plot.Panel(
                title: "jobs enqueued a second",
                curves: Way.allCases.map { way in
                    Plot.Curve(name: way.rawValue, rounds: rates(way))
                })
        ]
    }
}
