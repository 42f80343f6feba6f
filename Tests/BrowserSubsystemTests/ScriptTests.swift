import FleetModel
import Foundation
import Synchronization
import Testing

@testable import BrowserSubsystem

extension BrowserTests {
    @Suite("Scripts")
    struct ScriptTests {
        @Test("A form is filled as by a person, sent, and its result read")
        func form() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let content = Data((0..<5_000).map { UInt8(truncatingIfNeeded: $0) })
            try FileManager.default.createDirectory(atPath: "\(desk.directory)/in", withIntermediateDirectories: true)
            try content.write(to: URL(fileURLWithPath: "\(desk.directory)/in/table.csv"))
            let output = try await desk.script(
                server.url("form"),
                .type(selector: "#name", text: "Ada Größe+1!", clear: true),
                .type(selector: "#words", text: "two\nlines", clear: false),
                .select(selector: "#colour", values: ["Green"]),
                .select(selector: "#many", values: ["one", "three"]),
                .click(selector: "label:has(#agree)", count: 1),
                .upload(selector: "#file", files: ["data:in/table.csv"]),
                .evaluate(expression: "[document.getElementById('keys').textContent, document.body.dataset.changes]"),
                .click(selector: "#send", count: 1),
                .wait(.text("Received")),
                .evaluate(
                    expression:
                        "Object.fromEntries([...document.querySelectorAll('dd')].map(d => [d.id, d.textContent]))"))
            let fields = output.steps[10].value
            #expect(fields.name.string == "Ada Größe+1!")
            #expect(fields.words.string == "two\r\nlines" || fields.words.string == "two\nlines")
            #expect(fields.colour.string == "g")
            #expect(fields.many.string == "three")
            #expect(fields.agree.string == "yes")
            #expect(fields.file.string?.hasPrefix("table.csv 5000 ") == true)
            #expect(output.title.string == "Received")
            #expect(output.steps[4].values.strings == ["one", "three"])
            // Keys as of a keyboard, and trusted by the page.
            let keys = try #require(output.steps[7].value[0].string)
            #expect(keys.contains("A/KeyA/true"))
            #expect(keys.contains(" / /true") || keys.contains(" /Space/true"))
            #expect(!keys.contains("false"))
            #expect(output.steps[7].value[1].string == "1")
            let posted = try await server.asked("form").filter { $0.method == "POST" }
            #expect(posted.last?.fields?["name"] == "Ada Größe+1!")
        }

        @Test("Elements are waited for: one that comes late, moves, or lies far down")
        func actionable() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.script(
                server.url("actions"), .click(selector: "#moving", count: 1), .click(selector: "#late", count: 1),
                .click(selector: "#far", count: 1), .click(selector: "#twice", count: 2),
                .wait(.selector("#gone", .hidden)), .wait(.text("The text is here.")),
                .evaluate(expression: "document.getElementById('log').textContent.trim().split(' ')"))
            #expect(
                output.steps[7].value.strings == [
                    "click:moving:true", "click:late:true", "click:far:true", "click:twice:true", "click:twice:true",
                    "dblclick:twice:true",
                ])
        }

        @Test("A click that would arrive at something else, which the page has put in the way, is made again")
        func dodging() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.script(
                server.url("actions"), .click(selector: "#dodging", count: 1),
                .evaluate(expression: "document.getElementById('log').textContent.trim()"))
            #expect(output.steps[2].value.string == "click:dodging:true")
        }

        @Test("An element that is never where the mouse comes is not clicked, nor what lies beneath it")
        func shy() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let steps = [
                ScriptStep(.goto(url: server.url("actions") + "#shy", until: .load, selector: nil)),
                ScriptStep(.click(selector: "#shy", count: 1), timeoutMilliseconds: 2_000),
            ]
            let failure = try await desk.failure(ScriptParameters(steps))
            #expect(failure.message.contains("step 2 of 2: click #shy"), "\(failure)")
            #expect(failure.message.contains("does not come to rest"), "\(failure)")
        }

        @Test(
            "An element that cannot be acted on fails the step, with the reason",
            arguments: [
                ("#off", "disabled"), ("#covered", "covered by div#cover"), ("#never", "cannot be seen"),
                ("#nowhere", "no element"),
            ])
        func notReady(_ selector: String, _ reason: String) async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let failure = try await desk.failure(
                ScriptParameters(
                    [
                        ScriptStep(.goto(url: server.url("actions"), until: .load, selector: nil)),
                        ScriptStep(.click(selector: selector, count: 1), timeoutMilliseconds: 3_000),
                    ]))
            #expect(failure.message.contains(reason), "\(failure)")
            #expect(failure.message.contains("step 2 of 2: click \(selector)"))
            #expect(failure.code == (selector == "#nowhere" ? "browser.no-element" : "browser.not-ready"))
            // Nothing was clicked.
            #expect(failure.kind == .transient)
        }

        @Test("Keys are pressed where the focus is, or at an element")
        func press() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.script(
                server.url("form"), .press(key: "End", selector: "#name"), .press(key: "x", selector: nil),
                .evaluate(expression: "document.getElementById('name').value"),
                .press(key: "Control+A", selector: nil), .press(key: "Backspace", selector: nil),
                .evaluate(expression: "document.getElementById('name').value"),
                .press(key: "Enter", selector: "#name"),
                .evaluate(expression: "document.title"))
            #expect(output.steps[3].value.string == "oldx")
            #expect(output.steps[6].value.string == "")
            // Enter sends the form, and the page that it leads to is waited for.
            #expect(output.steps[8].value.string == "Received")
        }

        @Test("Steps work in frames, of the page's own origin and of another")
        func frames() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            for frame in ["#own", "#other"] {
                let output = try await desk.script(
                    ScriptParameters([
                        ScriptStep(.goto(url: server.url("frames"), until: .load, selector: nil)),
                        ScriptStep(.click(selector: "#press", count: 1), frame: frame),
                        ScriptStep(.type(selector: "#field", text: "in a frame", clear: false), frame: frame),
                        ScriptStep(
                            .evaluate(
                                expression: """
                                    [document.title, document.getElementById('press').textContent,
                                     document.getElementById('field').value]
                                    """), frame: frame),
                    ]))
                #expect(output.steps[3].value.strings == ["Inner", "pressed true", "in a frame"], "\(frame)")
            }
        }

        @Test("A page is scrolled by pixels, and to an element")
        func scroll() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.script(
                server.url("actions"), .scroll(.by(x: 0, y: 700)), .evaluate(expression: "scrollY"),
                .scroll(.to(selector: "#far")), .evaluate(expression: "scrollY"))
            #expect(output.steps[2].value.int == 700)
            #expect(try #require(output.steps[4].value.int) > 2_000)
        }

        @Test("Pop-ups are closed and counted, and the page stays")
        func popups() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.script(
                server.url("popups"), .click(selector: "#open", count: 1), .click(selector: "#blank", count: 1),
                .click(selector: "#noopener", count: 1),
                // By then the browser has done what was asked of it before.
                .evaluate(expression: "fetch('/text').then(() => document.title)"))
            #expect(output.report.popups.int == 5)
            #expect(output.steps[4].value.string == "Pop-ups")
        }

        @Test(
            "What leads to no other page is not waited for",
            arguments: [
                "#part", "#script", "#empty", "#mail", "#file", "#same", "#stays",
            ])
        func nowhere(_ selector: String) async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.script(
                server.url("nowhere"), .click(selector: selector, count: 1), .evaluate(expression: "document.title"))
            #expect(output.steps[2].value.string == "Nowhere")
        }

        @Test("A page that asks to stay is left, and told of")
        func beforeunload() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.script(
                server.url("beforeunload"), .type(selector: "#field", text: "changed", clear: false),
                .click(selector: "#leave", count: 1), .evaluate(expression: "document.title"))
            #expect(output.steps[3].value.string == "A small page with a script")
            #expect(output.report.dialogs[0].type.string == "beforeunload")
            #expect(output.report.dialogs[0].accepted.bool == true)
        }

        @Test("A file that a page wants saved is not, unless asked for; then it is a file of the job")
        func downloads() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            var parameters = Desk.parameters(
                server.url("save"), [.click(selector: "#save", count: 1), .click(selector: "#blob", count: 1)])
            let denied = try await desk.script(parameters)
            #expect(denied.report.downloads_denied.int == 2)
            #expect(denied.report.downloads.isAbsent)
            var options = PageOptions()
            options.downloads = .save
            parameters.page = options
            let saved = try await desk.script(parameters)
            #expect(saved.report.downloads.count == 2)
            #expect(saved.report.downloads_denied.int == 0)
            // As they began: the server of the other answers long after the last step.
            let made = try desk.content(try #require(saved.report.downloads[0].file.path.string))
            #expect(made == Data("made here".utf8))
            let table = try desk.content(try #require(saved.report.downloads[1].file.path.string))
            #expect(table == Data(String(repeating: "a,b\n1,2\n", count: 1_000).utf8))
            #expect(saved.report.downloads[1].name.string?.contains("/") == false)
        }

        @Test("Progress is told step by step, without what is typed")
        func progress() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let notes = Mutex<[JobProgress]>([])
            _ = try await desk.script(
                Desk.parameters(
                    server.url("form") + "?token=secret", [.type(selector: "#name", text: "secret", clear: true)]),
                report: { note in notes.withLock { $0.append(note) } })
            let told = notes.withLock { $0 }
            #expect(told.map(\.fraction) == [0, 0.5, 1])
            #expect(told[1].note == "step 2 of 2: type #name")
            #expect(!told.contains { $0.note?.contains("secret") == true })
        }
    }
}
