import FleetBroker
import FleetTestKit
import Foundation
import TestPatience
import Testing

@testable import FleetDoctor

@Suite("A deployment as it should be", .timeLimit(.minutes(5)))
struct HealthyTests {
    /// What `gaia doctor` is told, with the least rights that it can do with.
    private func environment(_ ward: Ward, management: String?) throws -> [String: String] {
        var environment = [
            "GAIA_AMQP_URL": try ward.guarded.url(.monitor), "GAIA_DATABASE_URL": try ward.roles.url(.monitor),
        ]
        environment["GAIA_MANAGEMENT_URL"] = management
        return environment
    }

    private func run(_ arguments: [String], _ environment: [String: String]) async throws -> (
        status: Int32?, output: String
    ) {
        let run = try await Program.run(try Program.gaia, ["doctor"] + arguments, environment: environment)
        guard case .exited(let status) = run.status else { return (nil, run.output) }
        return (status, run.output)
    }

    /// Queues of jobs that the program has handlers for are none of this test's.
    private static let withoutTheProgramsOwn = ["--without", "queue-missing"]

    @Test("has no fault, also in the eyes of a monitor, who says what it may not see")
    func noFault() async throws {
        try await Ward.use { ward in
            try await ward.expect([])
            let monitor = try ManagementAddress(
                url: ward.place.stack.managementURL, fallback: try ward.guarded.amqp(.monitor))
            let asMonitor = try await ward.examine { $0.management = monitor }
            #expect(asMonitor.findings.isEmpty && asMonitor.unreachable.isEmpty, "\(asMonitor)")
            #expect(asMonitor.unseen.contains { $0.hasPrefix("users and their rights") })
            let withoutManagement = try await ward.examine { $0.management = nil }
            #expect(withoutManagement.findings.isEmpty && withoutManagement.unreachable.isEmpty, "\(withoutManagement)")
            #expect(withoutManagement.unseen.contains { $0.contains("GAIA_MANAGEMENT_URL") })
        }
    }

    @Test("The program ends with 0, and says what it looked at; in JSON too")
    func program() async throws {
        try await Ward.use { ward in
            // The plugin knows some of it only after a while.
            try await ward.expect([])
            let settings = try environment(ward, management: ward.place.stack.managementURL)
            let text = try await run(Self.withoutTheProgramsOwn, settings)
            #expect(text.status == 0, "\(text.output)")
            #expect(text.output.contains("no fault found") && text.output.contains("virtual host \(ward.place.name)"))
            let json = try await run(Self.withoutTheProgramsOwn + ["--json"], settings)
            let document = try JSONValue(Array(json.output.utf8))
            #expect(json.status == 0 && document["findings"] == .array([]), "\(json.output)")
            #expect(document["seen"]?.array?.count == 3)
        }
    }

    @Test("An error ends the program with 1, a warning with 0 unless it is strict, and each with its remedy")
    func statuses() async throws {
        try await Ward.use { ward in
            let settings = try environment(ward, management: ward.place.stack.managementURL)
            // The program's own queues are missing here.
            let missing = try await run(["--only", "queue-missing"], settings)
            #expect(missing.status == 1)
            #expect(missing.output.contains("queue gaia.jobs.api") && missing.output.contains("gaia topology apply"))
            #expect(missing.output.contains("Likewise: queue gaia.jobs."))
            #expect(missing.output.components(separatedBy: "queue-missing").count == 2, "\(missing.output)")
            try await ward.ask("DELETE", "/api/policies/\(ward.place.name)/gaia-set-aside")
            // Each asks the plugin anew, whose answers change over a while.
            try await eventually("the policy to be missed") {
                let run = try await run(["--only", "queue-unlimited"], settings)
                return run.status == 0 && run.output.contains("warning")
            }
            try await eventually("a warning to count as an error") {
                try await run(["--strict", "--only", "queue-unlimited"], settings).status == 1
            }
        }
    }

    @Test("A server that cannot be reached ends it with 69, and what the other shows is told all the same")
    func unreachable() async throws {
        try await Ward.use { ward in
            var settings = try environment(ward, management: nil)
            settings["GAIA_AMQP_URL"] = "amqp://127.0.0.1:1/"
            let noBroker = try await run([], settings)
            #expect(noBroker.status == 69)
            #expect(noBroker.output.contains("the broker:") && noBroker.output.contains("PostgreSQL"))
            var elsewhere = try #require(URLComponents(string: try ward.guarded.url(.monitor)))
            elsewhere.port = 1
            settings = try environment(ward, management: ward.place.stack.managementURL)
            settings["GAIA_AMQP_URL"] = elsewhere.string
            let noAMQP = try await run(["--only", "queue-missing"], settings)
            #expect(noAMQP.status == 69)
            #expect(noAMQP.output.contains("the broker:") && noAMQP.output.contains("queue gaia.jobs.api"))
            settings = try environment(ward, management: "http://127.0.0.1:1")
            settings["GAIA_DATABASE_URL"] = "postgres://127.0.0.1:1/none"
            let noDatabase = try await run([], settings)
            #expect(noDatabase.status == 69)
            #expect(noDatabase.output.contains("the database:") && noDatabase.output.contains("the management plugin:"))
            #expect(noDatabase.output.contains("virtual host"))
        }
    }

    @Test("It changes nothing: a broker and a database without anything in them stay so")
    func readOnly() async throws {
        try await Isolated.use(migrated: false) { place in
            let run = try await run(
                [], place.environment.merging(["GAIA_MANAGEMENT_URL": place.stack.managementURL]) { $1 })
            #expect(run.status == 1, "\(run.output)")
            #expect(run.output.contains("exchange-missing") && run.output.contains("schema-behind"))
            #expect(try await place.stack.ask("GET", "/api/queues/\(place.name)") == "[]")
            #expect(try await !place.stack.ask("GET", "/api/exchanges/\(place.name)").contains("gaia."))
            try await place.withPool { pool in
                let schemas = try await pool.execute(
                    .init(name: "schemas", sql: "select count(*) from pg_namespace where nspname = 'gaia'"))
                #expect(try schemas.single().get(0, as: Int64.self) == 0)
            }
        }
    }

    @Test(
        "A wrong address of the management plugin is a wrong setting",
        arguments: ["x", "ftp://h", "http://", "h:15672"])
    func wrongAddress(_ url: String) async throws {
        let run = try await run(
            [],
            [
                "GAIA_AMQP_URL": "amqp://h/", "GAIA_DATABASE_URL": "postgres://h/x", "GAIA_MANAGEMENT_URL": url,
            ])
        #expect(run.status == 78)
        #expect(run.output.contains("management.url"))
    }
}
