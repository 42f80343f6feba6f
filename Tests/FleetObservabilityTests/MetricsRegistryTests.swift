import FleetObservability
import Metrics
import Testing

@Suite("Metrics of a process")
struct MetricsRegistryTests {
    private let registry = MetricsRegistry(seriesMax: 4)

    private func lines(_ name: String) -> [String] {
        registry.exposition().split(separator: "\n").map(String.init).filter { $0.contains(name) }
    }

    @Test("A counter counts by its dimensions, whatever their order, however often it is asked for")
    func counter() {
        Counter(label: "calls_total", dimensions: [("b", "2"), ("a", "1")], factory: registry).increment()
        Counter(label: "calls_total", dimensions: [("a", "1"), ("b", "2")], factory: registry).increment(by: 2)
        registry.describe("calls_total", "Calls.\nAll of them.")
        #expect(
            lines("calls_total") == [
                "# HELP calls_total Calls.\\nAll of them.", "# TYPE calls_total counter",
                "calls_total{a=\"1\",b=\"2\"} 3",
            ])
    }

    @Test("A timer is a histogram in seconds whose buckets hold all below them")
    func timer() {
        let timer = Timer(label: "took_seconds", dimensions: [("op", "read")], factory: registry)
        timer.recordMilliseconds(4)
        timer.recordMilliseconds(400)
        timer.recordSeconds(1_000)
        let lines = lines("took_seconds")
        #expect(lines.contains("took_seconds_bucket{op=\"read\",le=\"0.0025\"} 0"))
        #expect(lines.contains("took_seconds_bucket{op=\"read\",le=\"0.005\"} 1"))
        #expect(lines.contains("took_seconds_bucket{op=\"read\",le=\"300\"} 2"))
        #expect(lines.contains("took_seconds_bucket{op=\"read\",le=\"+Inf\"} 3"))
        #expect(lines.contains("took_seconds_sum{op=\"read\"} 1000.404"))
        #expect(lines.contains("took_seconds_count{op=\"read\"} 3"))
    }

    @Test("A gauge goes up and down, and a recorder that does not aggregate is one")
    func gauge() {
        let meter = Meter(label: "active", factory: registry)
        meter.increment(by: 5)
        meter.decrement(by: 2)
        Gauge(label: "level", factory: registry).record(7.5)
        #expect(lines("active") == ["# TYPE active gauge", "active 3"])
        #expect(lines("level") == ["# TYPE level gauge", "level 7.5"])
    }

    @Test("What stands in a dimension cannot break the format, and a name is made fit")
    func escaping() {
        Counter(label: "odd.name-1", dimensions: [("k", "a\"b\\c\nd")], factory: registry).increment()
        #expect(lines("odd").last == #"odd_name_1{k="a\"b\\c\nd"} 1"#)
    }

    @Test("Series beyond the bound, and of two kinds under one name, are counted and not kept")
    func bounded() {
        for number in 0..<10 {
            Counter(label: "many_total", dimensions: [("n", "\(number)")], factory: registry).increment()
        }
        #expect(lines("many_total{").count == 4)
        #expect(lines("refused_total ").last == "gaia_metrics_refused_total 6")
        let other = MetricsRegistry()
        Counter(label: "x", factory: other).increment()
        Meter(label: "x", factory: other).set(9)
        #expect(other.exposition().contains("x 1\n"))
        #expect(other.exposition().contains("gaia_metrics_refused_total 1\n"))
    }

    @Test("What others count is read at each look")
    func collected() {
        registry.collect { [MetricSample("jobs", .gauge, help: "Jobs.", [("state", "busy")], value: 3)] }
        registry.collect { [MetricSample("jobs", .gauge, help: "Jobs.", [("state", "all")], value: 4)] }
        #expect(
            lines("jobs") == [
                "# HELP jobs Jobs.", "# TYPE jobs gauge", "jobs{state=\"all\"} 4", "jobs{state=\"busy\"} 3",
            ])
    }

    @Test("A process knows its own memory, processor time, threads and descriptors")
    func process() {
        registry.collect(ProcessMetrics.read)
        for name in ["cpu_seconds_total", "resident_memory_bytes", "threads", "open_fds"] {
            let value = lines("process_\(name) ").last?.split(separator: " ").last.flatMap { Double($0) }
            #expect(value ?? 0 > 0, "\(name)")
        }
    }
}
