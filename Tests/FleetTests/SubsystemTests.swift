import FleetModel
import FleetStack
import FleetTestKit
import Foundation
import TestPatience
import Testing

/// The subsystems' job types in the real program, from the command line through broker and ledger to a worker process.
@Suite("Subsystems in a fleet", .timeLimit(.minutes(5)))
struct SubsystemTests {
    /// The commands in a page's shell blocks, as one script each.
    private static func scripts(of page: String) throws -> [String] {
        let text = try String(contentsOfFile: "\(Program.root)/docs/jobs/\(page).md", encoding: .utf8)
        return text.components(separatedBy: "```sh\n").dropFirst().compactMap {
            $0.components(separatedBy: "\n```").first
        }.filter { $0.contains("gaia enqueue") }
    }

    /// The examples of the documentation run here as they stand, but for what they talk to.
    private static func script(_ text: String, webPort: UInt16) throws -> String {
        let here = "127.0.0.1:\(webPort)"
        return "set -euo pipefail\ngaia() { '\(try Program.gaia)' \"$@\"; }\n"
            + text.replacing("https://www.example.org/", with: "http://\(here)/")
            .replacing("https://example.org/", with: "http://\(here)/")
            .replacing("https://shop.example.org/", with: "http://\(here)/shop.html")
            .replacing(
                #""host": "www.example.org", "port": 443, "require": "verified""#,
                with: #""host": "127.0.0.1", "port": \#(webPort), "require": "connected""#)
    }

    @Test("Each type's example in the documentation runs, and there is one for each type")
    func examples() async throws {
        let (_, listing) = try await Program.run(try Program.gaia, ["types", "--json"])
        let types = try JSONDecoder().decode([String: JSONValue].self, from: Data(listing.utf8)).keys.sorted()
        var pages: [String: [String]] = [:]
        for type in types where type != NoopParameters.type.name {
            let page = String(type.prefix { $0 != "." })
            if pages[page] == nil { pages[page] = try Self.scripts(of: page) }
            let scripts = try #require(pages[page])
            #expect(
                scripts.contains { $0.contains("--type \(type) ") }, "docs/jobs/\(page).md has no example of \(type)")
        }
        try await run(pages)
    }

    /// What the example of a script finds at the shop.
    private static let shop = """
        <!doctype html><title>Shop</title>
        <input id="name"><select id="size"><option>M</option><option>L</option></select>
        <button id="send" onclick="document.getElementById('done').hidden = false">Send</button>
        <p id="done" hidden>Thank you, your order is <span id="number">17</span></p>
        """

    private func run(_ pages: [String: [String]]) async throws {
        try await PrivateWebServer.with { web in
            _ = try web.page("shop.html", Self.shop)
            let names = try await PrivateNameServer([
                "--local-ttl=60", "--address=/example.org/192.0.2.1", "--address=/example.org/2001:db8::1",
            ])
            let result: Result<Void, any Error>
            do {
                try await Isolated.use { place in
                    try await withRoot { root in
                        let settings = [
                            "GAIA_API_ALLOW": "127.0.0.1", "GAIA_NETWORK_ALLOW": "127.0.0.1",
                            "GAIA_NETWORK_NAMESERVERS": "127.0.0.1:\(names.port)", "GAIA_FILE_ROOTS": "data=\(root)",
                            "GAIA_PROCESS_EXECUTABLES": "/usr/bin/sort", "GAIA_BROWSER_ALLOW": "127.0.0.1",
                        ]
                        try await ProgramGroup.use(environment: place.environment) { programs in
                            _ = try await programs.serve("dispatcher", "dispatcher")
                            _ = try await programs.serve("worker", "worker", settings)
                            for (page, scripts) in pages.sorted(by: { $0.key < $1.key }) {
                                for script in scripts {
                                    let (status, output) = try await Program.run(
                                        "bash", ["-c", try Self.script(script, webPort: web.port)],
                                        environment: place.environment, within: .seconds(120))
                                    #expect(status.isSuccess, "docs/jobs/\(page).md: \(script)\n\(output)")
                                }
                            }
                        }
                    }
                }
                result = .success(())
            } catch {
                result = .failure(error)
            }
            try await names.stop()
            try result.get()
        }
    }

    private func withRoot(_ body: (String) async throws -> Void) async throws {
        let root = FileManager.default.temporaryDirectory.appending(path: "gaia-root-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
        let result: Result<Void, any Error>
        do { result = .success(try await body(root)) } catch { result = .failure(error) }
        try FileManager.default.removeItem(atPath: root)
        try result.get()
    }

    @Test("gaia status tells of a host that a worker leaves alone")
    func breaker() async throws {
        try await HTTPTarget.use { _ in
            500
        } _: { target in
            try await TestFleet.use(workers: 0) { fleet in
                let settings = [
                    "GAIA_API_ALLOW": "127.0.0.1", "GAIA_API_BREAKER_CALLS": "3",
                    "GAIA_API_BREAKER_COOL_DOWN_MS": "600000", "GAIA_WORKER_LEASE_MS": "3000",
                ]
                try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                    _ = try await programs.serve("worker", "caller", settings)
                    let payload = Array(#"{"url":"\#(target.url)"}"#.utf8)
                    try await fleet.enqueue(
                        (0..<5).map { Job(type: "api.request.v1", key: "k\($0)", payload: payload) })
                    try await target.wait(for: "the calls") { $0.count >= 3 }
                    try await eventually("the breaker in the status") {
                        let (status, output) = try await Program.run(
                            try Program.gaia, ["status"], environment: fleet.place.environment)
                        #expect(status.isSuccess, "\(output)")
                        return output.contains("caller, api: breaker of 127.0.0.1:") && output.contains(" is open: ")
                    }
                }
            }
        }
    }
}
