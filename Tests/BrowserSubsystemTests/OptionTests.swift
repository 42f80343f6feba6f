import FleetModel
import Foundation
import Testing

@testable import BrowserSubsystem

extension BrowserTests {
    @Suite("Options of pages")
    struct OptionTests {
        private static func options(_ change: (inout PageOptions) -> Void) -> PageOptions {
            var options = PageOptions()
            change(&options)
            return options
        }

        /// What the page /headers shows: the headers as the server saw them.
        private static func headers(_ options: PageOptions, _ url: String) async throws -> Output {
            let output = try await Desk.shared.visit(
                VisitParameters(
                    url: url, evaluate: "JSON.parse(document.getElementById('headers').textContent)", page: options))
            return output.value
        }

        @Test("User agent and language reach the server, and the page's scripts")
        func agent() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let options = Self.options {
                $0.userAgent = "Example/1.0 (gaia)"
                $0.locale = "de-DE"
                $0.timezone = "America/St_Johns"
            }
            let headers = try await Self.headers(options, server.url("headers"))
            #expect(headers["user-agent"].string == "Example/1.0 (gaia)")
            #expect(headers["accept-language"].string?.hasPrefix("de-DE") == true)
            let output = try await desk.visit(
                VisitParameters(
                    url: server.url("small"),
                    evaluate: """
                        [navigator.userAgent, navigator.language, (1234.5).toLocaleString(),
                         Intl.DateTimeFormat().resolvedOptions().timeZone]
                        """, page: options))
            #expect(output.value.strings == ["Example/1.0 (gaia)", "de-DE", "1.234,5", "America/St_Johns"])
        }

        @Test("A language alone leaves the user agent as it is")
        func language() async throws {
            let server = try await PageServer.shared.value
            let plain = try await Self.headers(PageOptions(), server.url("headers"))
            let german = try await Self.headers(Self.options { $0.locale = "de" }, server.url("headers"))
            #expect(german["user-agent"].string == plain["user-agent"].string)
            #expect(plain["user-agent"].string?.contains("Chrome/") == true)
        }

        @Test("The viewport is as large as wanted, and a telephone's is one with touch")
        func viewport() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.visit(
                VisitParameters(
                    url: server.url("small"),
                    evaluate: "[innerWidth, innerHeight, devicePixelRatio, 'ontouchstart' in window]",
                    page: Self.options { $0.viewport = PageOptions.Viewport(width: 390, height: 844, scale: 3) }))
            #expect(output.json.hasSuffix(#""value":[390,844,3,false]}"#))
            let mobile = try await desk.visit(
                VisitParameters(
                    url: server.url("small"), evaluate: "['ontouchstart' in window, screen.width]",
                    page: Self.options {
                        $0.viewport = PageOptions.Viewport(width: 390, height: 844, mobile: true)
                    }))
            #expect(mobile.value[0].bool == true)
            #expect(mobile.value[1].int == 390)
        }

        @Test("Cookies are there at the first request, and gone with the job")
        func cookies() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let options = Self.options {
                $0.cookies = [
                    PageOptions.Cookie(name: "session", value: "abc", url: server.url("")),
                    PageOptions.Cookie(name: "theme", value: "dark", domain: "127.0.0.1", path: "/"),
                ]
            }
            let sent = try await Self.headers(options, server.url("headers"))["cookie"].string
            #expect(sent?.split(separator: "; ").sorted() == ["session=abc", "theme=dark"])
            let visits = "[document.getElementById('mine').textContent, localStorage.visits]"
            let first = try await desk.visit(
                VisitParameters(url: server.url("cookies"), evaluate: visits, page: options))
            #expect(first.value[0].string?.contains("theme=dark") == true)
            for _ in 0..<3 {
                let next = try await desk.visit(VisitParameters(url: server.url("cookies"), evaluate: visits))
                #expect(next.value.strings == ["", "1"])
            }
        }

        @Test("Headers go to the job's own origin, and to no other, not even by a redirect or for a picture")
        func headersOfTheJob() async throws {
            let server = try await PageServer.shared.value
            let options = Self.options { $0.headers = ["X-Secret": "s3cret", "Accept-Language": "fr"] }
            let own = try await Self.headers(options, server.url("headers?id=own-headers"))
            #expect(own["x-secret"].string == "s3cret")
            #expect(own["accept-language"].string == "fr")
            #expect(own["user-agent"].string?.contains("Chrome/") == true)
            // Another origin: the same server under another name.
            let other = "http://localhost:\(server.port)/headers?id=other-headers"
            let output = try await Desk.shared.visit(
                VisitParameters(
                    url: server.url("redirect?to=\(other)"),
                    evaluate: "JSON.parse(document.getElementById('headers').textContent)", page: options))
            #expect(output.final_url.string == other)
            #expect(output.value["x-secret"].isAbsent)
            #expect(output.value["user-agent"].string?.contains("Chrome/") == true)
        }

        @Test("An option that the browser does not know fails the job", arguments: ["timezone", "locale"])
        func unknown(_ name: String) async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let options = Self.options {
                if name == "timezone" { $0.timezone = "Mars/Olympus" } else { $0.locale = "zzzzzzzz-99999999" }
            }
            let failure = try await desk.failure(VisitParameters(url: server.url("small"), page: options))
            #expect(failure.code == "browser.bad-option")
            #expect(failure.kind == .permanent)
            #expect(failure.message.contains("page.\(name)"))
        }

        @Test(
            "Dialogs are answered as the job says, and told of",
            arguments: [
                (PageOptions.DialogAnswer?.none, "[false,null]"), (.dismiss, "[false,null]"),
                (.accept, #"[true,"nobody"]"#),
            ])
        func dialogs(_ answer: PageOptions.DialogAnswer?, _ answers: String) async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.visit(
                VisitParameters(
                    url: server.url("alerts"), evaluate: "document.getElementById('answers').textContent",
                    page: Self.options { $0.dialogs = answer }))
            #expect(output.value.string == answers)
            #expect(output.report.dialogs_total.int == 3)
            #expect(output.report.dialogs[0].type.string == "alert")
            #expect(output.report.dialogs[0].message.string == "first")
            #expect(output.report.dialogs[1].accepted.bool == (answer == .accept))
        }

        @Test("A storm of alerts ends by the job's time, and the error tells of it")
        func storm() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let failure = try await desk.failure(
                VisitParameters(url: server.url("alert-storm"), timeoutMilliseconds: 8_000))
            #expect(failure.code == "browser.timeout")
            #expect(failure.message.contains("dialogs"))
            #expect(try await desk.visit(VisitParameters(url: server.url("small"))).status.int == 200)
        }
    }
}
