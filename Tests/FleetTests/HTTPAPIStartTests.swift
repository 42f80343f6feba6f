import FleetTestKit
import Foundation
import TestPatience
import Testing

@Suite("HTTP API: its settings", .timeLimit(.minutes(5)))
struct HTTPAPIStartTests {
    /// Exit statuses, as `gaia --help` lists them.
    private static let (unavailable, configuration): (Int32, Int32) = (69, 78)

    private static let secret = "not-to-be-shown-anywhere"

    @Test(
        "A setting that is missing or wrong ends the dispatcher at once, named and without the token",
        arguments: [
            (["GAIA_HTTP_LISTEN": "127.0.0.1:0"], "http.token (GAIA_HTTP_TOKEN)"),
            (["GAIA_HTTP_LISTEN": "127.0.0.1:0", "GAIA_HTTP_TOKEN": "fifteen-letters"], "at least 16"),
            (["GAIA_HTTP_LISTEN": "127.0.0.1:0", "GAIA_HTTP_TOKEN": "\(secret) and blanks"], "no blank"),
            (["GAIA_HTTP_LISTEN": "127.0.0.1:0", "GAIA_HTTP_TOKEN": "\(secret)ü"], "visible ASCII"),
            (["GAIA_HTTP_LISTEN": "127.0.0.1:0", "GAIA_HTTP_TOKEN_FILE": "/nowhere/token"], "/nowhere/token"),
            (
                [
                    "GAIA_HTTP_LISTEN": "127.0.0.1:0", "GAIA_HTTP_TOKEN": secret,
                    "GAIA_HTTP_TOKEN_FILE": "/nowhere/token",
                ],
                "leave one out"
            ),
            (["GAIA_HTTP_LISTEN": "8080", "GAIA_HTTP_TOKEN": secret], "'8080' is no address"),
            (["GAIA_HTTP_LISTEN": "127.0.0.1:99999", "GAIA_HTTP_TOKEN": secret], "'127.0.0.1:99999' is no address"),
            (["GAIA_HTTP_LISTEN": "::1:80", "GAIA_HTTP_TOKEN": secret], "'::1:80' is no address"),
            (["GAIA_HTTP_LISTEN": ":80", "GAIA_HTTP_TOKEN": secret], "':80' is no address"),
            (["GAIA_HTTP_WAITS": "0"], "http.waits is '0'"),
        ])
    func wrong(settings: [String: String], named: String) async throws {
        let urls = [
            "GAIA_AMQP_URL": "amqp://gaia:x@127.0.0.1:1/", "GAIA_DATABASE_URL": "postgres://gaia:x@127.0.0.1:1/gaia",
            "GAIA_START_WAIT_MS": "0",
        ]
        let run = try await Program.run(
            try Program.gaia, ["dispatcher"], environment: urls.merging(settings) { $1 })
        #expect(run.status == .exited(Self.configuration), "\(run.output)")
        #expect(run.output.contains(named), "\(run.output)")
        #expect(!run.output.contains(Self.secret))
    }

    @Test("An address that is taken, or is not this machine's, is named; the dispatcher drains and ends")
    func taken() async throws {
        try await HTTPFleet.use(workers: 0) { fleet in
            let cases = [
                ("127.0.0.1:\(fleet.port)", Self.unavailable, "is taken by another process"),
                ("192.0.2.1:8080", Self.configuration, "nothing can listen on 192.0.2.1:8080"),
            ]
            for (address, status, words) in cases {
                let run = try await Program.run(
                    try Program.gaia, ["dispatcher"],
                    environment: fleet.fleet.place.environment.merging(
                        ["GAIA_HTTP_LISTEN": address, "GAIA_HTTP_TOKEN": Self.secret]) { $1 })
                #expect(run.status == .exited(status), "\(run.output)")
                #expect(run.output.contains(address) && run.output.contains(words), "\(run.output)")
                #expect(run.output.contains("GAIA_HTTP_LISTEN") && !run.output.contains(Self.secret))
            }
            #expect(try await fleet.get("/healthz").status == 200)
        }
    }

    @Test("The token may stand in a file, and a worker needs none")
    func file() async throws {
        let path = temporaryDirectory("token")
        try Data("\(HTTPFleet.token)\n".utf8).write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await TestFleet.use(workers: 0) { fleet in
            try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                let settings = ["GAIA_HTTP_TOKEN": "", "GAIA_HTTP_TOKEN_FILE": path]
                let dispatcher = try await HTTPFleet.serve(programs, "from-file", settings)
                try await HTTPClient.use { http in
                    #expect(try await http.send("GET", dispatcher.url + "/v1/schedules").status == 200)
                    let wrong = try await http.send(
                        "GET", dispatcher.url + "/v1/schedules", authorization: "Bearer \(path)")
                    #expect(wrong.isProblem(401))
                }
                let worker = try await programs.serve("worker", "worker", ["GAIA_HTTP_LISTEN": "127.0.0.1:0"])
                #expect(!worker.capturedOutput.contains("http listens"))
            }
        }
    }

    @Test("gaia up serves it too")
    func up() async throws {
        try await Isolated.use { place in
            let child = try Program.start(
                try Program.gaia, ["up"], environment: place.environment.merging(HTTPFleet.listening) { $1 })
            let didListen = try await child.awaitOutput(
                containing: "http listens on 127.0.0.1:", within: patienceOfTests)
            #expect(didListen, "\(child.capturedOutput)")
            #expect(try await child.stop(grace: .seconds(60)) == .exited(0), "\(child.capturedOutput)")
        }
    }
}
