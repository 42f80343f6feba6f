import FleetModel
import Foundation
import MetricsTestKit
import Testing

@testable import BrowserSubsystem

@Suite("Metrics of browser jobs", .timeLimit(.minutes(15)))
struct MetricsTests {
    @Test("Jobs, steps, times and bytes are counted, and none is named after a page")
    func counted() async throws {
        let server = try await PageServer.shared.value
        try await Desk.with { desk in
            let url = server.url("save")
            _ = try await desk.visit(VisitParameters(url: url, screenshot: ScreenshotWish()))
            _ = try await desk.failure(VisitParameters(url: url, evaluate: "nothing.at.all"))
            _ = try await desk.script(url, .click(selector: "#save", count: 1))
            var failing = Desk.parameters(url, [.click(selector: "#nowhere", count: 1)])
            failing.steps[1].timeoutMilliseconds = 300
            _ = try await desk.failure(failing)

            func total(_ name: String, _ dimensions: [(String, String)] = []) throws -> Int64 {
                try desk.metrics.expectCounter("gaia_browser_\(name)_total", dimensions).totalValue
            }
            #expect(try total("jobs", [("type", "visit"), ("outcome", "succeeded")]) == 1)
            #expect(try total("jobs", [("type", "visit"), ("outcome", "permanent")]) == 1)
            #expect(try total("jobs", [("type", "script"), ("outcome", "succeeded")]) == 1)
            #expect(try total("jobs", [("type", "script"), ("outcome", "transient")]) == 1)
            #expect(try total("steps", [("action", "goto"), ("outcome", "succeeded")]) == 2)
            #expect(try total("steps", [("action", "click"), ("outcome", "succeeded")]) == 1)
            #expect(try total("steps", [("action", "click"), ("outcome", "failed")]) == 1)
            #expect(try total("downloads_denied") == 1)
            // The screenshot that was asked for, and that of the step that failed.
            #expect(try total("file_bytes") > 2_000)
            let visits = try desk.metrics.expectTimer("gaia_browser_job_seconds", [("type", "visit")])
            #expect(visits.values.count == 2)
            #expect(
                try desk.metrics.expectTimer("gaia_browser_stage_seconds", [("stage", "navigate")]).values.count == 4)
            #expect(
                try desk.metrics.expectTimer("gaia_browser_stage_seconds", [("stage", "collect")]).values.count == 1)
            #expect(try desk.metrics.expectMeter("gaia_browser_active").values.last == 0)
            for counter in desk.metrics.counters {
                #expect(!counter.dimensions.contains { $0.1.contains("127.0.0.1") || $0.1.contains("/") })
            }
        }
    }
}
