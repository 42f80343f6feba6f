import FleetModel
import FleetStack
import FleetTestKit
import Foundation
import TestPatience
import Testing

/// The OpenAPI document against the service itself.
@Suite("HTTP API: its description", .timeLimit(.minutes(10)))
struct HTTPAPIContractTests {
    /// A Python that has schemathesis.
    private static func python() async throws -> String {
        let named = ProcessInfo.processInfo.environment["GAIA_TEST_PYTHON"]
        for candidate in [named, "python3"].compactMap({ $0 }) {
            if try await Program.run(candidate, ["-c", "import schemathesis"]).status.isSuccess { return candidate }
        }
        throw NotInTime(
            "no Python with schemathesis: ./gaia test makes one, or name one in GAIA_TEST_PYTHON that has it")
    }

    @Test("Requests made from the document, good ones and bad ones, are answered as it says")
    func schemathesis() async throws {
        let python = try await Self.python()
        let directory = temporaryDirectory("schemathesis")
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        // Some of the jobs are no-ops, which the program's own worker does.
        try await HTTPFleet.use(workers: 0, settings: ["GAIA_HTTP_WAIT_MS": "20"]) { fleet in
            _ = try await fleet.programs.serve("worker", "worker")
            let run = try await Program.run(
                python,
                [
                    // It leaves files where it runs.
                    "-c",
                    "import os; os.chdir(os.environ['HOME']); from schemathesis.cli import schemathesis; schemathesis()",
                    "run",
                    "\(fleet.url)/openapi.json", "--header", "Authorization: Bearer \(HTTPFleet.token)",
                    "--checks", "all", "--max-examples", "20", "--seed", "1", "--generation-database", "none",
                    "--request-timeout", "60", "--no-color",
                ],
                // Whatever it writes, it writes there.
                environment: [
                    "HOME": directory, "HYPOTHESIS_STORAGE_DIRECTORY": directory,
                    "SCHEMATHESIS_HOOKS": "\(Program.root)/Tests/FleetTests/Resources/schemathesis_hooks.py",
                    "PYTHONDONTWRITEBYTECODE": "1",
                ], within: .seconds(300))
            #expect(run.status.isSuccess, "\(run.output)")
            #expect(run.output.contains("Tested: 6"), "\(run.output)")
            let log = fleet.dispatchers[0].process.capturedOutput
            #expect(!log.contains(" error "), "\(log)")
        }
    }

    @Test("Every place is described, with every status that it can have")
    func complete() async throws {
        try await HTTPFleet.use(workers: 0) { fleet in
            let paths = try #require(try await fleet.get("/openapi.json").json["paths"])
            let common = ["400", "408", "413", "503"]
            let described: [(path: String, method: String, statuses: [String])] = [
                ("/v1/jobs", "post", ["200", "202", "207", "401", "409", "415", "422", "500"]),
                ("/v1/jobs/{subsystem}/{key}", "get", ["200", "401", "404", "500"]),
                ("/v1/jobs/{subsystem}/{key}", "delete", ["200", "202", "401", "409", "500"]),
                ("/v1/schedules", "get", ["200", "401", "500"]),
                ("/v1/schedules/{name}", "delete", ["200", "401", "404", "500"]),
                ("/healthz", "get", ["200"]), ("/openapi.json", "get", ["200"]),
            ]
            for (path, method, statuses) in described {
                guard case .object(let responses)? = paths[path]?[method]?["responses"] else {
                    Issue.record("\(method) \(path) is not described")
                    continue
                }
                #expect(Set(responses.keys) == Set(statuses + common), "\(method) \(path)")
            }
        }
    }
}
