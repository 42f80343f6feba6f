import FleetTestKit
import Foundation
import Testing

/// The benchmarks at sizes that say nothing about speed: each does its whole work on servers of its own, and says what came
/// of it.
@Suite("Benchmarks", .serialized, .timeLimit(.minutes(5)))
struct BenchTests {
    /// A command and the figures of its JSON that must be positive.
    struct Row: Sendable, CustomTestStringConvertible {
        let arguments: [String]
        let figures: [String]
        var testDescription: String { arguments[0] }
    }

    @Test(
        "A benchmark measures what it says",
        arguments: [
            Row(
                arguments: ["throughput", "--jobs", "2000", "--workers", "1", "--backlog"],
                figures: [
                    "jobsPerSecond", "steadyPerSecond", "publishedPerSecond", "processorMicroseconds",
                    "workerIdleBytes",
                ]),
            Row(
                arguments: ["floor", "--jobs", "2000", "--rounds", "2", "--batch", "100"],
                figures: [
                    "rates/publish, confirmed/0", "rates/consume, acknowledged/0", "rates/whole loop in C, ledger/0",
                    "rates/whole loop in C, bare table/0", "rates/claim and complete, ledger/1", "rates/workers/1",
                ]),
            Row(
                arguments: ["latency", "--rate", "100", "--seconds", "2", "--singles", "20"],
                figures: ["alone/p50", "steady/p99"]),
            Row(
                arguments: ["idle", "--seconds", "2"],
                figures: ["processes/0/medianBytes", "processes/2/largestBytes", "processes/1/bytes/1"]),
            Row(
                arguments: ["enqueue", "--jobs", "2000", "--rounds", "1", "--batch", "100"],
                figures: [
                    "rates/client library, confirmed/0", "rates/requests to the dispatcher, AMQP/0",
                    "rates/requests to the dispatcher, HTTP/0", "rates/gaia.enqueue() in SQL, relayed/0",
                ]),
            Row(
                arguments: [
                    "scale", "--jobs", "500", "--workers", "1", "2", "--types", "20", "--ledger", "4000",
                ], figures: ["rows/0/jobsPerSecond", "rows/2/jobsPerSecond", "rows/2/types", "rows/3/ledger"]),
        ])
    func measures(_ row: Row) async throws {
        let (status, output) = try await Program.run(
            Program.gaia, ["bench"] + row.arguments + ["--json"], within: .seconds(150))
        #expect(status == .exited(0), "\(output)")
        // Progress is told before it.
        let json = try #require(output.range(of: "\n{\n").map { String(output[$0.lowerBound...]) }, "\(output)")
        let report = try #require(JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
        let versions = try #require((report["machine"] as? [String: Any])?["versions"] as? [String: String])
        #expect(Set(versions.keys) == ["gaia", "RabbitMQ", "PostgreSQL", "librabbitmq", "libpq"])
        for figure in row.figures {
            var value = report["figures"]
            for step in figure.split(separator: "/") {
                value =
                    Int(step).flatMap { index in
                        (value as? [Any]).flatMap { $0.indices.contains(index) ? $0[index] : nil }
                    } ?? (value as? [String: Any])?[String(step)]
            }
            let number = try #require(value as? Double, "\(figure) of \(report)")
            #expect(number > 0, "\(figure)")
        }
    }

    @Test(
        "What cannot be measured is said before anything is started",
        arguments: [
            ["throughput", "--jobs", "0"], ["floor", "--batch", "5000"], ["latency", "--rate", "0"],
            ["enqueue", "--batch", "2000"], ["scale", "--ledger", "20", "10"], ["scale", "--types", "1001"],
            ["peers", "--only", "resque"],
            ["peers", "--scripts", "/nowhere"], ["latency", "--plot", "/nowhere/picture.png"],
        ])
    func refuses(_ arguments: [String]) async throws {
        let (status, output) = try await Program.run(Program.gaia, ["bench"] + arguments, within: .seconds(20))
        #expect(status == .exited(64), "\(output)")
        #expect(
            output.contains(arguments[1]) || output.contains("positive") || output.contains("/nowhere"), "\(output)")
    }
}
