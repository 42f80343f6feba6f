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
    private static let rules = root.appendingPathComponent("configs/prometheus/alerts.yml")

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
            contentsOf: Self.root.appendingPathComponent("configs/prometheus/alerts-test.yml"), encoding: .utf8)
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

    /// A query of a dashboard.
    private struct Query: Sendable {
        let place: String
        let expression: String

        /// As Grafana would ask, for all processes.
        var filled: String {
            expression.replacing("$instance", with: ".*").replacing("$__rate_interval", with: "30s")
        }
    }

    private static func dashboards() throws -> [(name: String, document: JSONValue)] {
        let directory = root.appendingPathComponent("configs/grafana/dashboards")
        return try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted().map {
            ($0, try JSONValue(Array(try Data(contentsOf: directory.appendingPathComponent($0)))))
        }
    }

    private static func panels(_ document: JSONValue) -> [JSONValue] {
        (document["panels"]?.array ?? []).filter { $0["type"] != .string("row") }
    }

    private static func queries() throws -> [Query] {
        try dashboards().flatMap { name, document in
            panels(document).flatMap { panel in
                (panel["targets"]?.array ?? []).compactMap { target in
                    target["expr"]?.string.map {
                        Query(place: "\(name): \(panel["title"]?.string ?? "")", expression: $0)
                    }
                }
            }
        }
    }

    @Test("The dashboards are as their tables say, and each panel has a place, a unit and queries of its own")
    func dashboards() async throws {
        let check = try await Program.run(
            Self.root.appendingPathComponent("configs/grafana/make-dashboards").path, ["--check"])
        #expect(check.status == .exited(0), "\(check.output)")
        let dashboards = try Self.dashboards()
        #expect(dashboards.count == 7)
        #expect(Set(dashboards.compactMap { $0.document["uid"]?.string }).count == 7)
        #expect(dashboards.map { Self.panels($0.document).count }.reduce(0, +) >= 95)
        for (name, document) in dashboards {
            let variables = document["templating"]?["list"]?.array?.compactMap { $0["name"]?.string }
            #expect(variables == ["datasource", "instance"], "\(name)")
            // Each of the others.
            #expect(document["links"]?.array?.count == 6, "\(name)")
            let all = document["panels"]?.array ?? []
            #expect(Set(all.compactMap { $0["id"]?.int }).count == all.count, "\(name)")
            var taken: Set<[Int]> = []
            for panel in all {
                let words = "\(name): \(panel["title"]?.string ?? "without a title")"
                let place = panel["gridPos"]
                let (x, y) = (try #require(place?["x"]?.int), try #require(place?["y"]?.int))
                let (width, height) = (try #require(place?["w"]?.int), try #require(place?["h"]?.int))
                #expect(x >= 0 && x + width <= 24, "\(words)")
                for column in x..<x + width {
                    for line in y..<y + height { #expect(taken.insert([column, line]).inserted, "\(words)") }
                }
                if panel["type"] == .string("row") { continue }
                #expect(panel["title"]?.string?.isEmpty == false, "\(words)")
                #expect(panel["fieldConfig"]?["defaults"]?["unit"]?.string?.isEmpty == false, "\(words)")
                let targets = panel["targets"]?.array ?? []
                #expect(!targets.isEmpty && targets.allSatisfy { $0["expr"]?.string?.isEmpty == false }, "\(words)")
                #expect(targets.allSatisfy { $0["datasource"]?["uid"] == .string("${datasource}") }, "\(words)")
            }
        }
    }

    @Test("The dashboards are what Grafana's published schema allows")
    func schema() async throws {
        let python = try #require(
            ProcessInfo.processInfo.environment["GAIA_TEST_PYTHON"],
            "no Python with grafana-foundation-sdk: ./gaia test makes one, or name one in GAIA_TEST_PYTHON that has it")
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Resources/grafana-schema.py").path
        let directory = Self.root.appendingPathComponent("configs/grafana/dashboards").path
        let files = try FileManager.default.contentsOfDirectory(atPath: directory).sorted().map { "\(directory)/\($0)" }
        #expect(files.count == 7)
        let run = try await Program.run(python, [script] + files)
        #expect(run.status == .exited(0), "\(run.output)")
        // It does find what is wrong: a member that there is not, a word that is none of several, a text for a number.
        let wrong = "/tmp/gaia-dashboard-\(UUID().uuidString).json"
        defer { try? FileManager.default.removeItem(atPath: wrong) }
        let text = try String(contentsOfFile: files[0], encoding: .utf8)
        for (right, other, word) in [
            ("\"graphTooltip\"", "\"tooltipGraph\"", "tooltipGraph"),
            ("\"dashed\"", "\"dotted\"", "thresholdsStyle.mode"),
            ("\"w\": 4", "\"w\": \"4\"", "gridPos.w"),
        ] {
            #expect(text.contains(right))
            try text.replacing(right, with: other).write(toFile: wrong, atomically: true, encoding: .utf8)
            let run = try await Program.run(python, [script, wrong])
            #expect(run.status == .exited(1) && run.output.contains(word), "\(run.output)")
        }
    }

    /// Of each subsystem.
    private static func jobs(_ address: String) throws -> [Job] {
        let port = try #require(address.split(separator: ":").last)
        return try [
            ("file.write.v1", #"{"path":"data:a","content":"words"}"#),
            ("file.read.v1", #"{"path":"data:a"}"#),
            ("api.request.v1", #"{"url":"http://\#(address)/livez"}"#),
            ("network.probe.v1", #"{"host":"127.0.0.1","port":\#(port)}"#),
            ("process.run.v1", #"{"executable":"/usr/bin/true"}"#),
            ("browser.visit.v1", #"{"url":"http://\#(address)/livez"}"#),
        ].enumerated().map { number, job in
            Job(type: try JobType(validating: job.0), key: "job-\(number)", payload: Array(job.1.utf8))
        }
    }

    /// What the alerts ask for: names, and the counters whose increase they wait for with their labels.
    private static func asked() throws -> (names: Set<String>, counters: Set<String>) {
        let text = try String(contentsOf: rules, encoding: .utf8).split(separator: "\n")
            .filter { !$0.contains("description:") && !$0.contains("summary:") }.joined(separator: "\n")
        let names = text.matches(of: /\b(gaia|process|rabbitmq)_[a-z_]+/).map { String($0.output.0) }
        let counters = text.matches(of: /(rate|increase)\(([a-z_]+(\{[^}]*\})?)\[/).map { String($0.output.2) }
        return (Set(names), Set(counters.filter { !$0.contains("_bucket") }))
    }

    @Test(
        "A Prometheus that scrapes a live fleet and its broker knows every metric that the alerts ask for, evaluates them all, and answers every panel"
    )
    func live() async throws {
        let directory = "/tmp/gaia-monitored-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let settings = [
            "GAIA_FILE_ROOTS": "data=\(directory)", "GAIA_API_ALLOW": "127.0.0.1", "GAIA_NETWORK_ALLOW": "127.0.0.1",
            "GAIA_PROCESS_EXECUTABLES": "/usr/bin/true", "GAIA_BROWSER_ALLOW": "127.0.0.1",
            "GAIA_BROWSER_INSTANCES": "1", "GAIA_BROWSER_WARM_TABS": "1",
        ].merging(AdminPage.listening) { $1 }
        let asked = try Self.asked()
        #expect(asked.names.count > 30 && asked.counters.count > 10)
        try await TestFleet.use(workers: 0) { fleet in
            try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                var targets: [String] = []
                for command in ["dispatcher", "worker"] {
                    let child = try await programs.serve(command, command, settings)
                    targets.append(String(try await AdminPage(of: child).address.dropFirst("http://".count)))
                }
                try await Self.withPrometheus(targets, broker: fleet.place.stack.brokerMetricsURL) { prometheus in
                    func result(_ query: String) async throws -> [JSONValue] {
                        let escaped = query.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
                        let answer = try await prometheus("query?query=\(escaped)")
                        #expect(answer["status"] == .string("success"), "\(query): \(answer)")
                        return answer["data"]?["result"]?.array ?? []
                    }
                    try await eventually("all targets to be scraped") {
                        let list = try await prometheus("targets")["data"]?["activeTargets"]?.array ?? []
                        return list.count == 3 && list.allSatisfy { $0["health"] == .string("up") }
                    }
                    try await eventually("a leader") { try await !result("gaia_dispatcher_leads == 1").isEmpty }
                    // Of a counter that comes into being with its first event, no increase would be seen then.
                    for counter in asked.counters {
                        #expect(try await !result(counter).isEmpty, "\(counter) is not told before it counts")
                    }
                    let jobs = try Self.jobs(targets[1]) + (0..<20).map { try Job(NoopParameters(), key: "k\($0)") }
                    try await fleet.enqueue(jobs)
                    try await fleet.mailbox.wait(for: "all results") { $0.results.count >= jobs.count }
                    try await eventually("all rules to be evaluated") {
                        let groups = try await prometheus("rules")["data"]?["groups"]?.array ?? []
                        let rules = groups.flatMap { $0["rules"]?.array ?? [] }
                        #expect(rules.allSatisfy { $0["health"] != .string("err") }, "\(rules)")
                        return rules.count >= 18 && rules.allSatisfy { $0["health"] == .string("ok") }
                    }
                    // A browser that runs is nothing amiss.
                    let health = try await AdminPage(address: "http://\(targets[1])").health("browser").document
                    #expect(health["status"] == .string("pass"), "\(health)")
                    // What is told per second needs two samples of each.
                    try await eventually("enough samples of what the jobs left") {
                        try await result("count_over_time(gaia_browser_job_seconds_count[30s]) > 3").count > 0
                    }
                    let known = Set(
                        try await prometheus("label/__name__/values")["data"]?.array?.compactMap(\.string) ?? [])
                    #expect(asked.names.subtracting(known).isEmpty, "\(asked.names.subtracting(known))")
                    for query in try Self.queries() {
                        #expect(try await !result(query.filled).isEmpty, "\(query.place): \(query.filled)")
                    }
                }
            }
        }
    }

    /// A Prometheus of the test's own, that scrapes each second.
    private static func withPrometheus(
        _ targets: [String], broker: String,
        _ body: (_ ask: (String) async throws -> JSONValue) async throws -> Void
    ) async throws {
        let metrics = try #require(URLComponents(string: broker))
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
                  - job_name: rabbitmq
                    metrics_path: \(metrics.path)/detailed
                    params: {family: [queue_coarse_metrics, queue_consumer_count]}
                    static_configs: [{targets: ["127.0.0.1:\(metrics.port ?? 0)"]}]

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
