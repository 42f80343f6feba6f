import FleetModel
import FleetStack
import FleetTestKit
import Foundation
import TestPatience
import Testing

@Suite("Prometheus", .timeLimit(.minutes(5)))
struct PrometheusTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
    private static let rules = root.appendingPathComponent("configs/prometheus/alerts.yaml")

    @Test("The alerts are good rules, and each fires when it should and not before")
    func rules() async throws {
        for arguments in [
            ["check", "rules", Self.rules.path],
            ["test", "rules", Self.rules.path.replacing("alerts", with: "alerts-test")],
        ] {
            let run = try await Program.run("promtool", arguments)
            #expect(run.status == .exited(0), "\(run.output)")
        }
    }

    @Test("Each alert is tested, has a time, a severity and words, and a section in the docs")
    func documented() throws {
        let rules = try String(contentsOf: Self.rules, encoding: .utf8).split(separator: "      - alert: ").dropFirst()
        let docs = try String(contentsOf: Self.root.appendingPathComponent("docs/monitoring.md"), encoding: .utf8)
        let tests = try String(
            contentsOf: Self.root.appendingPathComponent("configs/prometheus/alerts-test.yaml"), encoding: .utf8)
        #expect(rules.count >= 18)
        for rule in rules {
            let name = String(rule.prefix { !$0.isNewline })
            for word in ["\n        for: ", "{severity: ", " summary: ", " description: "] {
                #expect(rule.contains(word), "\(name) has no \(word)")
            }
            #expect(rule.contains("runbook_url: docs/monitoring.md#\(name.lowercased())\n"), "\(name)")
            #expect(docs.contains("\n### \(name)\n"), "\(name)")
            #expect(tests.components(separatedBy: "alertname: \(name)\n").count == 3, "\(name)")
        }
    }

    /// Only there once something has happened, and what RabbitMQ's plugin tells.
    private static let absent: Set<String> = [
        "gaia_browser_waiting", "gaia_browser_crashes_total", "rabbitmq_detailed_queue_messages_ready",
        "rabbitmq_detailed_queue_consumers",
    ]

    @Test("A Prometheus that scrapes a live fleet knows every metric that the alerts ask for, and evaluates them all")
    func live() async throws {
        try await TestFleet.use(workers: 0) { fleet in
            try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                var targets: [String] = []
                for command in ["dispatcher", "worker"] {
                    let child = try await programs.serve(command, command, AdminPage.listening)
                    targets.append(String(try await AdminPage(of: child).address.dropFirst("http://".count)))
                }
                try await fleet.enqueue((0..<20).map { try Job(NoopParameters(), key: "k\($0)") })
                try await fleet.mailbox.wait(for: "all results") { $0.results.count >= 20 }
                try await Self.withPrometheus(targets) { prometheus in
                    try await eventually("all targets to be scraped") {
                        let list = try await prometheus("targets")["data"]?["activeTargets"]?.array ?? []
                        return list.count == 2 && list.allSatisfy { $0["health"] == .string("up") }
                    }
                    try await eventually("all rules to be evaluated") {
                        let groups = try await prometheus("rules")["data"]?["groups"]?.array ?? []
                        let rules = groups.flatMap { $0["rules"]?.array ?? [] }
                        #expect(rules.allSatisfy { $0["health"] != .string("err") }, "\(rules)")
                        return rules.count >= 18 && rules.allSatisfy { $0["health"] == .string("ok") }
                    }
                    let known = Set(
                        try await prometheus("label/__name__/values")["data"]?.array?.compactMap(\.string) ?? [])
                    let text = try String(contentsOf: Self.rules, encoding: .utf8)
                    let asked = Set(
                        text.split(separator: "\n").filter { !$0.contains("description:") && !$0.contains("summary:") }
                            .joined(separator: "\n").matches(of: /\b(gaia|process|rabbitmq)_[a-z_]+/).map {
                                String($0.output.0)
                            })
                    #expect(asked.count > 30)
                    #expect(asked.subtracting(known).subtracting(Self.absent).isEmpty, "\(asked.subtracting(known))")
                }
            }
        }
    }

    /// A Prometheus of the test's own, that scrapes each second.
    private static func withPrometheus(
        _ targets: [String], _ body: (_ ask: (String) async throws -> JSONValue) async throws -> Void
    ) async throws {
        let directory = "/tmp/gaia-prometheus-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let result: Result<Void, any Error>
        do {
            try Data(
                """
                global: {scrape_interval: 1s, evaluation_interval: 1s}
                rule_files: ["\(rules.path)"]
                scrape_configs:
                  - job_name: gaia
                    static_configs: [{targets: [\(targets.map { "\"\($0)\"" }.joined(separator: ", "))]}]

                """.utf8
            ).write(to: URL(fileURLWithPath: "\(directory)/prometheus.yaml"))
            var ports = try Ports(count: 1)
            let port = ports.numbers[0]
            ports.release()
            let server = try Program.start(
                "prometheus",
                [
                    "--config.file=\(directory)/prometheus.yaml", "--storage.tsdb.path=\(directory)/data",
                    "--web.listen-address=127.0.0.1:\(port)", "--log.level=warn",
                ])
            let page = AdminPage(address: "http://127.0.0.1:\(port)")
            do {
                try await eventually("Prometheus to be ready") {
                    #expect(server.isRunning, "\(server.capturedOutput)")
                    return (try? await page.get("/-/ready").status) == 200
                }
                result = .success(
                    try await body { try JSONValue(Array(try await page.get("/api/v1/\($0)").text.utf8)) })
            } catch { result = .failure(error) }
            _ = try await server.stop()
        }
        try FileManager.default.removeItem(atPath: directory)
        try result.get()
    }
}
