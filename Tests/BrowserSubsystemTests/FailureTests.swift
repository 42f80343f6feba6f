import DevTools
import FleetModel
import Foundation
import TestPatience
import TestSockets
import Testing

@testable import BrowserSubsystem

extension BrowserTests {
    @Suite("Failures")
    struct FailureTests {
        @Test(
            "A script that failed after a step with an effect is left to an operator, unless it may be repeated",
            arguments: [(ScriptParameters.Retry?.none, true), (.never, true), (.always, false)])
        func unsafe(_ retry: ScriptParameters.Retry?, _ isUnsafe: Bool) async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            var parameters = Desk.parameters(
                server.url("actions"), [.click(selector: "#moving", count: 1), .click(selector: "#nowhere", count: 1)],
                retry: retry)
            parameters.steps[2].timeoutMilliseconds = 1_000
            let failure = try await desk.failure(parameters)
            #expect(failure.kind == (isUnsafe ? .unsafe : .transient))
            #expect(failure.code == "browser.no-element")
            #expect(failure.message.contains("step 3 of 3"))
        }

        @Test("A failed step leaves a screenshot of the moment")
        func screenshot() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            var parameters = Desk.parameters(server.url("tall"), [.click(selector: "#nowhere", count: 1)])
            parameters.steps[1].timeoutMilliseconds = 500
            let failure = try await desk.failure { try await desk.script(parameters, key: "failed/step") }
            #expect(failure.message.contains("step 2 of 2: click #nowhere"), "\(failure)")
            let path = try #require(failure.message.split(separator: "screenshot: ").last.map(String.init))
            let pixels = try await Picture(path: try desk.file(path)).pixels([(600, 500)])
            #expect(pixels == [[255, 0, 0]], "\(failure)")
        }

        @Test("Without its claim a script does nothing that has an effect")
        func claim() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            await #expect(throws: JobFailure.self) {
                _ = try await desk.script(
                    Desk.parameters(server.url("form") + "?claim", [.press(key: "Enter", selector: "#name")]),
                    confirm: { throw ClaimLost("another has it") })
            }
            #expect(try await server.asked("claim").allSatisfy { $0.method != "POST" })
        }

        @Test("A page whose process dies fails its job alone")
        func crash() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            async let neighbour = desk.visit(VisitParameters(url: server.url("slow?ms=1500")))
            let use = TabUse(
                options: PageOptions(), urls: [], countsConsoleErrors: false, countsRequests: false,
                hearsRetryAfter: false, limit: .seconds(30))
            let context = JobContext(
                type: VisitParameters.type, key: "crash", attempt: 1, token: 1, subject: nil, traceparent: nil)
            let inside = try #require(desk.subsystem.desk)
            do {
                _ = try await inside.withPage(use, inside.place(context)) { page, _, deadline in
                    try await page.open(server.url("small"), until: .load, selector: nil, deadline)
                    page.session.post(Page.Crash())
                    return try await page.evaluate("new Promise(() => {})", in: page.top, deadline)
                }
                Issue.record("the page answered after its crash")
            } catch let failure as JobFailure {
                #expect(failure.code == "browser.crashed")
                #expect(failure.kind == .transient)
            }
            #expect(try await neighbour.title.string == "Slow")
        }

        @Test("An endless loop ends with its job's time, and its tab with it")
        func loop() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            var parameters = Desk.parameters(
                server.url("loop-later"), [.click(selector: "#loop", count: 1)], retry: .always)
            parameters.steps[1].timeoutMilliseconds = 3_000
            let begin = ContinuousClock.now
            let failure = try await desk.failure(parameters)
            #expect(failure.code == "browser.timeout", "\(failure)")
            #expect(ContinuousClock.now - begin < .seconds(60))
            #expect(try await desk.visit(VisitParameters(url: server.url("small"))).status.int == 200)
        }

        @Test("A job that is called off ends at once")
        func cancelled() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let url = server.url("silent?id=called-off")
            let job = Task { try await desk.visit(VisitParameters(url: url, timeoutMilliseconds: 200_000)) }
            try await eventually("the page is asked for", within: .seconds(500)) {
                try await !server.asked("called-off").isEmpty
            }
            let begin = ContinuousClock.now
            job.cancel()
            let result = await job.result
            #expect(ContinuousClock.now - begin < .seconds(100))
            #expect(throws: JobFailure(CancellationError())) { _ = try result.get() }
        }

        @Test(
            "What cannot be reached is told apart",
            arguments: [
                ("CLOSED", "browser.connection", JobFailure.Kind.transient),
                ("http://nowhere.invalid/", "browser.dns", .transient),
                ("ATTACHMENT", "browser.no-page", .permanent),
            ])
        func unreachable(_ url: String, _ code: String, _ kind: JobFailure.Kind) async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let port = try LoopbackSocket.bound()
            defer { withExtendedLifetime(port) {} }
            let real =
                switch url {
                case "CLOSED": "http://127.0.0.1:\(port.port)/"
                case "ATTACHMENT": server.url("attachment")
                default: url
                }
            let failure = try await desk.failure(VisitParameters(url: real, timeoutMilliseconds: 20_000))
            #expect(failure.code == code, "\(failure)")
            #expect(failure.kind == kind)
        }
    }
}
