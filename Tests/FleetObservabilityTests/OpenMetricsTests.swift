import FleetObservability
import Metrics
import Testing

@Suite("OpenMetrics")
struct OpenMetricsTests {
    @Test("A counter's family has no ending, units are told, and the end is marked")
    func format() {
        let registry = MetricsRegistry()
        registry.describe("calls_total", "Calls, \"all\" of them.")
        Counter(label: "calls_total", factory: registry).increment(by: 3)
        Counter(label: "odd", factory: registry).increment()
        Timer(label: "took_seconds", factory: registry).recordSeconds(2)
        let lines = registry.exposition(.openMetrics).split(separator: "\n")
        #expect(lines.contains("# TYPE calls counter"))
        #expect(lines.contains("# HELP calls Calls, \\\"all\\\" of them."))
        #expect(lines.contains("calls_total 3"))
        #expect(lines.contains("# TYPE odd unknown"))
        #expect(lines.contains("# UNIT took_seconds seconds"))
        #expect(lines.contains("# TYPE took_seconds histogram"))
        #expect(lines.last == "# EOF")
    }

    @Test(
        "It is sent to whoever asks for it",
        arguments: [
            ([], ExpositionFormat.prometheus), (["*/*"], .prometheus), (["text/plain;version=0.0.4"], .prometheus),
            (["application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3"], .openMetrics),
            (["text/html", "application/openmetrics-text"], .openMetrics),
        ])
    func negotiated(accept: [String], format: ExpositionFormat) {
        #expect(ExpositionFormat(accepting: accept) == format)
    }
}
