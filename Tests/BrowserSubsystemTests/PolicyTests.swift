import FleetModel
import Foundation
import Testing

@testable import BrowserSubsystem

extension BrowserTests {
    /// The tests' server listens on 127.0.0.2 too, which jobs may not reach: what it was asked for there got through.
    @Suite("Where pages may not go")
    struct PolicyTests {
        @Test(
            "An address that is not allowed is refused, by a redirect too",
            arguments: [
                "http://127.0.0.2:PORT/small?refused=plain",
                "http://127.0.0.1:PORT/redirect?to=http://127.0.0.2:PORT/small?refused=redirect",
                "http://2130706434:PORT/small?refused=number", "http://[::ffff:127.0.0.2]:PORT/small?refused=mapped",
                "http://0x7f.2:PORT/small?refused=hex", "http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/",
                "http://[::1]:PORT/small?refused=six",
            ])
        func navigation(_ template: String) async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let url = template.replacingOccurrences(of: "PORT", with: "\(server.port)")
            let failure = try await desk.failure(VisitParameters(url: url))
            #expect(failure.code == "browser.refused-address", "\(failure)")
            #expect(failure.kind == .permanent)
            #expect(try await server.asked("refused").allSatisfy { $0.address != "127.0.0.2" })
        }

        @Test("Nothing in a page gets to an address that is not allowed")
        func everyRequest() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.visit(
                VisitParameters(
                    url: server.url("inside"), selector: "#tried", timeoutMilliseconds: 60_000,
                    evaluate: "JSON.parse(document.getElementById('done').textContent)"))
            for name in ["fetch", "redirect", "websocket", "events", "worker", "mapped", "number", "metadata"] {
                #expect(output.value[name].string == "refused", "\(name)")
            }
            #expect(try await server.asked("inside").allSatisfy { $0.address != "127.0.0.2" })
            // The redirect itself was asked for: the page could do what it may.
            #expect(try await server.asked("inside").contains { $0.address == "127.0.0.1" })
            #expect(output.report.refused_hosts.strings.contains("127.0.0.2"))
            #expect(output.report.refused_hosts.strings.contains("169.254.169.254"))
        }

        @Test("A step that leads inwards fails the script")
        func step() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let failure = try await desk.failure {
                try await desk.script(
                    server.url("small"),
                    .evaluate(expression: "location.href = '\(server.inside("small?refused=step"))'"), retry: .always)
            }
            #expect(failure.code == "browser.refused-address", "\(failure)")
            #expect(failure.kind == .permanent)
            #expect(try await server.asked("refused=step").allSatisfy { $0.address != "127.0.0.2" })
        }

        @Test("Files of the machine are not opened, whatever a page tries")
        func local() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.visit(
                VisitParameters(
                    url: server.url("local"), selector: "#tried", want: [.text, .html],
                    evaluate: "document.getElementById('done').textContent"))
            #expect(output.value.string?.hasPrefix("refused,refused,refused") == true)
            #expect(!output.json.contains("root:"))
            let clicked = try await desk.script(
                server.url("local"), .click(selector: "#file", count: 1),
                // By then the browser has done what was asked of it before.
                .evaluate(
                    expression: "fetch('/text').then(() => location.protocol + document.body.textContent)"))
            #expect(!clicked.json.contains("root:"))
            #expect(clicked.steps[2].value.string?.hasPrefix("http:") == true)
        }

        @Test("Only files beneath the roots are uploaded")
        func upload() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            try FileManager.default.createSymbolicLink(
                atPath: "\(desk.directory)/passwd", withDestinationPath: "/etc/passwd")
            for (file, code) in [
                ("data:passwd", "file.symlink"), ("other:a", "file.unknown-root"), ("data:none", "file.not-found"),
            ] {
                let failure = try await desk.failure {
                    try await desk.script(server.url("form"), .upload(selector: "#file", files: [file]))
                }
                #expect(failure.code == code, "\(failure)")
            }
        }
    }
}
