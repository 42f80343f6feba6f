import CurlClient
import FleetModel
import FleetStack
import FleetTestKit
import Foundation
import TestPatience
import Testing

/// Where a process tells how it is.
struct AdminPage {
    static let listening = ["GAIA_ADMIN_LISTEN": "0"]

    /// As in `http://127.0.0.1:34567`.
    let address: String
    var token: String?

    init(address: String) { self.address = address }

    init(of child: ChildProcess, token: String? = nil) async throws {
        let words = "administration listens on "
        #expect(try await child.awaitOutput(containing: words, within: patienceOfTests))
        let line = child.capturedOutput.split(separator: "\n").first { $0.contains(words) } ?? ""
        address = "http://\(line.split(separator: " ").last ?? "")"
        self.token = token
    }

    func get(_ path: String, _ headers: [(String, String)] = []) async throws -> (
        status: Int, text: String, type: String
    ) {
        let curl = CurlMulti(maxConnections: 1, maxConnectionsPerHost: 1, maxInFlight: 1)
        var request = CurlRequest(url: address + path)
        request.headers = headers + (token.map { [("Authorization", "Bearer \($0)")] } ?? [])
        let response: Result<CurlResponse, any Error>
        do { response = .success(try await curl.perform(request)) } catch { response = .failure(error) }
        await curl.close()
        let answer = try response.get()
        return (answer.status, String(decoding: answer.body, as: UTF8.self), answer.header("Content-Type") ?? "")
    }

    func health(_ part: String = "") async throws -> (status: Int, document: JSONValue) {
        let answer = try await get("/health\(part.isEmpty ? "" : "/\(part)")")
        return (answer.status, try JSONValue(Array(answer.text.utf8)))
    }
}

@Suite("What processes tell of themselves", .timeLimit(.minutes(5)))
struct AdminTests {
    @Test("A worker tells its health, part by part, and its metrics as Prometheus' own tool wants them")
    func worker() async throws {
        try await TestFleet.use(workers: 0) { fleet in
            try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                let worker = try await programs.serve("worker", "telling", AdminPage.listening)
                let page = try await AdminPage(of: worker)
                try await fleet.enqueue([
                    Job(type: NoopParameters.type, key: "k", payload: Array("{}".utf8), replyTo: "reply")
                ])
                #expect(try await fleet.mailbox.reply("k").outcome == "succeeded")

                try await eventually("it to be ready") { try await page.get("/readyz").status == 200 }
                for path in ["/livez", "/liveness", "/readyz", "/readiness"] {
                    #expect(try await page.get(path).status == 200, "\(path)")
                    #expect(try await page.get(path).text == "ok\n", "\(path)")
                }
                let verbose = try await page.get("/readyz?verbose").text
                #expect(verbose.contains("[+]broker pass\n") && verbose.contains("[+]database pass\n"), "\(verbose)")
                #expect(verbose.hasSuffix("readyz check passed\n"))
                #expect(try await page.get("/livez?verbose").text.hasSuffix("livez check passed\n"))

                let whole = try await page.health()
                #expect(whole.status == 200)
                #expect(whole.document["status"] == .string("pass") && whole.document["process"] == .string("worker"))
                #expect(whole.document["name"] == .string("telling") && whole.document["stage"] == .string("serving"))
                let gaia = try await page.health("gaia")
                #expect(gaia.document["slots"] == .number(200) && gaia.document["needed"] == .bool(false))
                #expect(gaia.document["last_success_age_s"] != nil)
                #expect(try await page.get("/health/none").status == 404)
                #expect(try await page.get("/else").status == 404)

                let metrics = try await page.get("/metrics")
                #expect(metrics.type == "text/plain; version=0.0.4; charset=utf-8")
                let lines = Set(metrics.text.split(separator: "\n"))
                #expect(lines.contains(#"gaia_worker_jobs_total{what="succeeded"} 1"#))
                #expect(
                    lines.contains(
                        #"gaia_jobs_total{outcome="succeeded",subsystem="gaia",type="gaia.noop.v1"} 1"#))
                for stage in ["claim", "run", "settle"] {
                    #expect(
                        lines.contains {
                            $0.hasPrefix("gaia_job_stage_seconds_count{stage=\"\(stage)\"") && $0.hasSuffix(" 1")
                        }, "\(stage)")
                }
                #expect(lines.contains(#"gaia_broker_link_up{part="worker",role="consume"} 1"#))
                #expect(lines.contains(#"gaia_worker_lease_held 1"#))
                try await Self.check(metrics.text)
                let open = try await page.get("/metrics", [("Accept", "application/openmetrics-text; version=1.0.0")])
                #expect(open.type == "application/openmetrics-text; version=1.0.0; charset=utf-8")
                #expect(open.text.hasSuffix("# EOF\n"))
            }
        }
    }

    /// By `promtool check metrics`, which also knows Prometheus' conventions.
    private static func check(_ text: String) async throws {
        let path = "/tmp/gaia-metrics-\(UUID().uuidString)"
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        let run = try await Program.run("/bin/sh", ["-c", "promtool check metrics < \(path)"])
        try FileManager.default.removeItem(atPath: path)
        #expect(run.status == .exited(0), "\(run.output)")
    }

    @Test("A dispatcher tells whether it leads, how its duties do, and how the fleet stands")
    func dispatcher() async throws {
        try await Isolated.use { place in
            try await ProgramGroup.use(environment: place.environment) { programs in
                let dispatcher = try await programs.serve("dispatcher", "telling", AdminPage.listening)
                let page = try await AdminPage(of: dispatcher)
                try await eventually("it to lead") {
                    try await page.health("dispatcher").document["leads"] == .bool(true)
                }
                try await eventually("it to have measured") {
                    try await page.get("/metrics").text.contains("\ngaia_fleet_agenda_jobs 0\n")
                }
                let metrics = try await page.get("/metrics").text
                for duty in ["stage", "rescue", "cron", "release", "retain", "losses", "measure"] {
                    #expect(metrics.contains("gaia_dispatcher_duty_age_seconds{duty=\"\(duty)\"}"), "\(duty)")
                }
                #expect(metrics.contains("\ngaia_dispatcher_terms_total 1\n"))
                try await Self.check(metrics)
                try await eventually("it to be ready") { try await page.get("/readyz").status == 200 }
            }
        }
    }

    @Test("Sixty families and more are told, each described")
    func families() async throws {
        try await Isolated.use { place in
            try await ProgramGroup.use(environment: place.environment) { programs in
                var families: Set<Substring> = []
                for command in ["worker", "dispatcher"] {
                    let child = try await programs.serve(command, command, AdminPage.listening)
                    let lines = try await AdminPage(of: child).get("/metrics").text.split(separator: "\n")
                    let types = lines.filter { $0.hasPrefix("# TYPE ") }.map { $0.split(separator: " ")[2] }
                    let helps = lines.filter { $0.hasPrefix("# HELP ") }.map { $0.split(separator: " ")[2] }
                    #expect(Set(types).subtracting(helps).isEmpty)
                    families.formUnion(types)
                }
                #expect(families.count >= 60, "\(families.sorted())")
                #expect(families.count { $0.hasPrefix("gaia_") } >= 36)
            }
        }
    }

    @Test("With a token only the bare probes are open; without one nothing but this machine's own addresses is taken")
    func token() async throws {
        try await Isolated.use { place in
            let token = "a-token-of-some-length"
            try await ProgramGroup.use(environment: place.environment) { programs in
                let settings = ["GAIA_ADMIN_LISTEN": "0.0.0.0:0", "GAIA_ADMIN_TOKEN": token]
                let worker = try await programs.serve("worker", "guarded", settings)
                var page = try await AdminPage(of: worker)
                try await eventually("it to be ready") { try await page.get("/readyz").status == 200 }
                for path in ["/livez", "/readyz"] { #expect(try await page.get(path).status == 200) }
                for path in ["/metrics", "/health", "/health/broker", "/readyz?verbose"] {
                    #expect(try await page.get(path).status == 401, "\(path)")
                }
                page.token = "another-token-of-some-length"
                #expect(try await page.get("/metrics").status == 401)
                page.token = token
                for path in ["/metrics", "/health", "/health/broker", "/readyz?verbose"] {
                    #expect(try await page.get(path).status == 200, "\(path)")
                }
            }
            for (settings, words) in [
                (["GAIA_ADMIN_LISTEN": "0.0.0.0:0"], "no token is set"),
                (["GAIA_ADMIN_LISTEN": "everywhere"], "admin.listen (GAIA_ADMIN_LISTEN)"),
                (["GAIA_ADMIN_LISTEN": "0", "GAIA_ADMIN_TOKEN": "short"], "admin.token (GAIA_ADMIN_TOKEN)"),
            ] {
                let run = try await Program.run(
                    try Program.gaia, ["worker"], environment: place.environment.merging(settings) { $1 })
                #expect(run.output.contains(words), "\(run.output)")
                #expect(run.status == .exited(78))
            }
        }
    }
}
