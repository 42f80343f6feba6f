import FleetModel
import Foundation
import Testing

@testable import BrowserSubsystem

extension BrowserTests {
    @Suite("Visits")
    struct VisitTests {
        @Test("A page is told of: title, text, HTML, links, times, status, and what an expression yields")
        func results() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.visit(
                VisitParameters(
                    url: server.url("small"), want: [.text, .html, .links, .timings], evaluate: "answer"))
            #expect(output.title.string == "A small page with a script")
            #expect(output.status.int == 200)
            #expect(output.final_url.string == server.url("small"))
            let text = try #require(output.text.text.string)
            #expect(text.contains("grüne words"))
            #expect(!text.contains("Nobody sees this"))
            #expect(output.text.bytes.int == text.utf8.count)
            let html = try #require(output.html.text.string)
            #expect(html.hasPrefix("<!DOCTYPE html>\n<html lang=\"en\">"))
            #expect(html.contains("Nobody sees this"))
            #expect(output.links_total.int == 2)
            #expect(output.links[1].url.string == "https://example.org/elsewhere")
            #expect(output.links[1].text.string == "link elsewhere")
            #expect(try #require(output.timings.response_ms.double) > 0)
            let load = try #require(output.timings.load_ms.double)
            #expect(try #require(output.timings.dom_content_loaded_ms.double) <= load)
            #expect(output.json.hasSuffix(#""value":{"number":42,"list":[1,"two",null]}}"#))
            #expect(output.report.popups.int == 0)
            #expect(try #require(output.duration_ms.int) > 0)
        }

        @Test("Only what is wanted is told")
        func minimal() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.visit(VisitParameters(url: server.url("small")))
            for name in ["text", "html", "links", "timings", "value", "screenshot", "pdf"] {
                #expect(output[name].isAbsent, "\(name)")
            }
        }

        @Test("A redirect is followed, and told by the final URL")
        func redirect() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let once = "redirect?status=307&to=/small?once"
            let output = try await desk.visit(VisitParameters(url: server.url("redirect?to=/\(once)")))
            #expect(output.final_url.string == server.url("small?once"))
        }

        @Test("A page that moves on by a script is told of where it ends")
        func movesOn() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.visit(
                VisitParameters(url: server.url("moves-on"), waitUntil: .networkIdle, want: [.text]))
            #expect(output.final_url.string == server.url("small?moved"))
        }

        @Test("A status of 400 or higher is a result, unless it was to fail", arguments: [404, 503])
        func status(_ status: Int) async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let url = server.url("status?status=\(status)")
            let output = try await desk.visit(VisitParameters(url: url, want: [.text]))
            #expect(output.status.int == status)
            #expect(output.text.text.string?.contains("It is \(status).") == true)
            let failure = try await desk.failure(VisitParameters(url: url, failOnStatus: true))
            #expect(failure.code == "browser.status-\(status)")
            #expect(failure.kind == (status == 404 ? .permanent : .transient))
        }

        @Test(
            "A page whose server asks to be left alone for a while fails the job for as long",
            arguments: [429, 503, 500])
        func retryAfter(_ status: Int) async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let failure = try await desk.failure(
                VisitParameters(url: server.url("status?status=\(status)&after=40"), failOnStatus: true))
            #expect(failure.code == "browser.status-\(status)")
            #expect(failure.kind == (status == 500 ? .transient : .throttled(retryAfter: .seconds(40))))
        }

        @Test("An element is waited for that comes late")
        func selector() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.visit(
                VisitParameters(
                    url: server.url("actions"), selector: "#late", evaluate: "document.getElementById('late').hidden"))
            #expect(output.value.bool == false)
        }

        @Test("A page counts as quiet when its requests have ended")
        func quiet() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.visit(
                VisitParameters(
                    url: server.url("quiet"), waitUntil: .networkIdle,
                    evaluate: "document.getElementById('count').textContent"))
            #expect(output.value.string == "2")
        }

        @Test(
            "What is waited for has an end: each moment that never comes fails by its time",
            arguments: [
                ("never", VisitParameters.Moment.load, nil), ("never", .domContentLoaded, nil),
                ("never-quiet", .networkIdle, nil), ("silent", .load, nil), ("small", .selector, "#nowhere"),
                ("loop", .load, nil),
            ] as [(String, VisitParameters.Moment, String?)])
        func timeout(_ page: String, _ moment: VisitParameters.Moment, _ selector: String?) async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let begin = ContinuousClock.now
            let failure = try await desk.failure(
                VisitParameters(
                    url: server.url(page), waitUntil: moment, selector: selector,
                    timeoutMilliseconds: selector == nil ? 1_500 : 10_000))
            #expect(failure.kind == .transient)
            #expect(failure.code == (selector == nil ? "browser.timeout" : "browser.no-element"))
            #expect(ContinuousClock.now - begin < .seconds(60))
        }

        @Test("Errors of scripts, uncaught exceptions and failed requests are told when asked for")
        func console() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.visit(
                VisitParameters(url: server.url("console"), waitUntil: .networkIdle, want: [.consoleErrors]))
            let errors = output.report.console_errors.strings
            #expect(errors.contains { $0.hasPrefix("it is broken") })
            #expect(errors.contains { $0.contains("missing is not defined") })
            #expect(errors.contains { $0.contains("rejected") })
            #expect(errors.contains { $0.contains("404") && $0.contains("nothing-here") })
            #expect(!errors.contains { $0.contains("no error") })
            #expect(output.report.console_errors_total.int == errors.count)
        }

        @Test(
            "An expression that throws, or yields too much, fails the job",
            arguments: [
                ("nothing.at.all", "browser.exception"), ("throw 'words'", "browser.exception"),
                ("Promise.reject(new Error('no'))", "browser.exception"), ("'x'.repeat(200000)", "browser.too-large"),
                ("(", "browser.exception"),
            ])
        func evaluation(_ expression: String, _ code: String) async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let failure = try await desk.failure(VisitParameters(url: server.url("small"), evaluate: expression))
            #expect(failure.code == code)
            #expect(failure.kind == .permanent)
        }

        @Test(
            "A value comes untouched; what JSON cannot write is null",
            arguments: [
                ("9007199254740993n.toString()", #""9007199254740993""#), ("1e21", "1e+21"), ("0.1", "0.1"),
                ("undefined", "null"), ("NaN", "null"), ("new Promise(r => setTimeout(r, 5, 'late'))", #""late""#),
            ])
        func values(_ expression: String, _ json: String) async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.visit(VisitParameters(url: server.url("small"), evaluate: expression))
            #expect(output.json.hasSuffix("\"value\":\(json)}"), "\(output.json)")
        }

        @Test("A page that lies to its own scripts does not lie to us")
        func hostile() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.visit(
                VisitParameters(url: server.url("hostile"), selector: "#target", want: [.text]))
            #expect(output.text.text.string?.contains("what is really there") == true)
            #expect(output.status.int == 200)
        }

        @Test("A page of 50 MB goes into a file, whole, and leaves the output small")
        func big() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.visit(
                VisitParameters(
                    url: server.url("big?mb=50"), waitUntil: .domContentLoaded, timeoutMilliseconds: 120_000,
                    want: [.html]))
            #expect(output.json.utf8.count < 5_000)
            let bytes = try #require(output.html.bytes.int)
            #expect(bytes > 49_000_000)
            let content = try desk.content(try #require(output.html.file.path.string))
            #expect(content.count == bytes)
            let text = String(decoding: content, as: UTF8.self)
            #expect(!text.contains("\u{FFFD}"))
            #expect(text.hasSuffix("</body></html>"))
        }

        @Test("Without a place for files, what needs one fails with a word on what to do")
        func noPlace() async throws {
            let server = try await PageServer.shared.value
            try await Desk.with(hasRoot: false) { desk in
                for parameters in [
                    VisitParameters(url: server.url("small"), screenshot: ScreenshotWish()),
                    VisitParameters(url: server.url("big?mb=1"), want: [.text]),
                ] {
                    let failure = try await desk.failure(parameters)
                    #expect(failure.code == "browser.no-file-root")
                    #expect(failure.kind == .permanent)
                    #expect(failure.message.contains("file.roots"))
                }
                #expect(try await desk.visit(VisitParameters(url: server.url("small"))).status.int == 200)
            }
        }
    }
}
