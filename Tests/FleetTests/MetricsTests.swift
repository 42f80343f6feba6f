import CurlClient
import FleetModel
import FleetStack
import FleetTestKit
import TestPatience
import Testing

@Suite("Metrics of processes", .timeLimit(.minutes(5)))
struct MetricsTests {
    private static let listening = ["GAIA_METRICS_LISTEN": "127.0.0.1:0"]

    /// Where a process serves its metrics.
    private func page(of child: ChildProcess) async throws -> String {
        let words = "metrics listens on "
        #expect(try await child.awaitOutput(containing: words, within: patienceOfTests))
        let line = child.capturedOutput.split(separator: "\n").first { $0.contains(words) } ?? ""
        return "http://\(line.split(separator: " ").last ?? "")/metrics"
    }

    private func get(_ url: String) async throws -> CurlResponse {
        let curl = CurlMulti(maxConnections: 1, maxConnectionsPerHost: 1, maxInFlight: 1)
        let response: Result<CurlResponse, any Error>
        do { response = .success(try await curl.perform(CurlRequest(url: url))) } catch { response = .failure(error) }
        await curl.close()
        return try response.get()
    }

    @Test("A worker counts its jobs, its slots and its own memory, for Prometheus to read")
    func worker() async throws {
        try await TestFleet.use(workers: 0) { fleet in
            try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                let worker = try await programs.serve("worker", "counting", Self.listening)
                let url = try await page(of: worker)
                try await fleet.enqueue([
                    Job(type: NoopParameters.type, key: "k", payload: Array("{}".utf8), replyTo: "reply")
                ])
                #expect(try await fleet.mailbox.reply("k").outcome == "succeeded")
                let answer = try await get(url)
                #expect(answer.status == 200)
                #expect(answer.header("Content-Type") == "text/plain; version=0.0.4; charset=utf-8")
                let lines = Set(String(decoding: answer.body, as: UTF8.self).split(separator: "\n"))
                #expect(lines.contains(#"gaia_worker_jobs_total{what="succeeded"} 1"#))
                #expect(lines.contains("# TYPE gaia_worker_jobs_total counter"))
                #expect(lines.contains(#"gaia_worker_slots{subsystem="gaia"} 200"#))
                #expect(lines.contains { $0.hasPrefix("process_resident_memory_bytes ") })
                #expect(try await get(url.replacing("/metrics", with: "/else")).status == 404)
            }
        }
    }

    @Test("A dispatcher serves its own; a bad address ends the start and names the setting")
    func dispatcher() async throws {
        try await Isolated.use { place in
            try await ProgramGroup.use(environment: place.environment) { programs in
                let dispatcher = try programs.start("dispatcher", "counting", Self.listening)
                let answer = try await get(try await page(of: dispatcher))
                #expect(String(decoding: answer.body, as: UTF8.self).contains("process_cpu_seconds_total "))
            }
            let run = try await Program.run(
                try Program.gaia, ["worker"],
                environment: place.environment.merging(["GAIA_METRICS_LISTEN": "everywhere"]) { $1 })
            #expect(run.output.contains("metrics.listen (GAIA_METRICS_LISTEN)"))
            #expect(run.status == .exited(78))
        }
    }
}
