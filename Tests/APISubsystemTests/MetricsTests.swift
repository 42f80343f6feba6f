import APISubsystem
import FleetModel
import Foundation
import Metrics
import MetricsTestKit
import TestSockets
import Testing

extension ServerTests {
    @Suite("Metrics of calls", .timeLimit(.minutes(1)))
    struct MetricsTests {
        @Test("Calls, errors, times, connections and bytes are counted, and none is named after a host")
        func counted() async throws {
            let url = try await WebService.shared.value.url
            let metrics = TestMetrics()
            let api = APISubsystem(try localSettings { $0.breaker.callsMin = 2 }, metrics: metrics)
            for path in ["echo", "echo", "status/404", "status/429?after=0", "bytes/5000"] {
                do { _ = try await api.call(RequestParameters(url: "\(url)/\(path)")) } catch is JobFailure {}
            }
            _ = try await api.failure(RequestParameters(url: "http://10.0.0.1/"))
            let port = try LoopbackSocket.bound()
            for _ in 0..<3 { _ = try await api.failure(RequestParameters(url: "http://127.0.0.1:\(port.port)/")) }
            await api.close()
            withExtendedLifetime(port) {}

            func total(_ label: String, _ dimensions: [(String, String)] = []) throws -> Int64 {
                try metrics.expectCounter("gaia_api_\(label)", dimensions).values.reduce(0, +)
            }
            #expect(try total("requests_total", [("outcome", "succeeded")]) == 2)
            #expect(try total("requests_total", [("outcome", "permanent")]) == 3)
            #expect(try total("requests_total", [("outcome", "transient")]) == 2)
            #expect(try total("requests_total", [("outcome", "throttled")]) == 2)
            for (name, count) in [
                ("4xx", 1), ("retry-after", 1), ("too-large", 1), ("refused", 1), ("connect", 2), ("circuit-open", 1),
            ] {
                #expect(try total("errors_total", [("class", name)]) == count, "\(name)")
            }
            #expect(try total("refused_addresses_total", [("kind", "private")]) == 1)
            #expect(try total("breakers_opened_total") == 1)
            #expect(try total("connections_opened_total") >= 1)
            #expect(try total("received_bytes_total") > 400)
            #expect(try total("sent_bytes_total") > 400)
            #expect(try metrics.expectTimer("gaia_api_request_seconds").values.count == 9)
            #expect(try metrics.expectMeter("gaia_api_breakers", [("state", "open")]).values.last == 1)
            for counter in metrics.counters {
                #expect(!counter.dimensions.contains { $0.1.contains("127.0.0.1") })
                #expect(counter.label.hasSuffix("_total"))
            }
        }
    }
}
