import CoreMetrics
import FleetObservability
import FleetTestKit
import Foundation
import Logging
import ServiceLifecycle
import TestPatience
import Testing
import Tracing

@testable import FleetTracing

private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// Runs an exporter while `body` makes spans, and then shuts it down.
private func exporting(
    to url: String, _ metrics: MetricsRegistry, configure: (inout TracingConfiguration) -> Void = { _ in },
    _ body: (FleetTracer) async throws -> Void
) async throws {
    var configuration = TracingConfiguration(url: url, resource: ["service.name": "gaia-test"])
    configure(&configuration)
    let exporter = SpanExporter(configuration, logger: quiet, metrics: metrics)
    let group = ServiceGroup(configuration: .init(services: [.init(service: exporter)], logger: quiet))
    let running = Task { try await group.run() }
    let result: Result<Void, any Error>
    do { result = .success(try await body(exporter.tracer)) } catch { result = .failure(error) }
    await group.triggerGracefulShutdown()
    try await running.value
    try result.get()
}

private func count(_ outcome: String, in metrics: MetricsRegistry) -> Int {
    let prefix = "gaia_trace_spans_total{outcome=\"\(outcome)\"} "
    let line = metrics.exposition().split(separator: "\n").first { $0.hasPrefix(prefix) }
    return line.flatMap { Int($0.dropFirst(prefix.count)) } ?? -1
}

@Suite("Export of spans", .timeLimit(.minutes(5)))
struct ExporterTests {
    @Test("A collector that reads with OpenTelemetry's own definitions understands every part of a span")
    func understood() async throws {
        try await Collector.use { collector in
            let metrics = MetricsRegistry()
            let begin = DefaultTracerClock.now.nanosecondsSinceEpoch
            try await exporting(to: collector.url, metrics, configure: { $0.token = "open sesame" }) { tracer in
                let other = tracer.startSpan("other", context: .topLevel)
                let parent = tracer.startSpan("process q", context: .topLevel, ofKind: .consumer)
                let span = tracer.startSpan("GET", context: parent.context, ofKind: .client)
                span.set([
                    "text": "äöü \" \\ \n", "whole": .int64(.max), "part": 0.25, "flag": true,
                    "infinite": .double(-.infinity), "list": .stringArray(["a", "b"]),
                    "numbers": .int64Array([1, 2]), "long": .string(String(repeating: "x", count: 5_000)),
                    "nothing": nil,
                ])
                span.addEvent("hello")
                span.addLink(SpanLink(context: other.context, attributes: [:]))
                span.fail("500")
                parent.end()
            }
            let entries = try collector.entries
            #expect(entries.map(\.error) == [""])
            #expect(entries.first?.path == "/v1/traces")
            #expect(entries.first?.headers["Authorization"] == "Bearer open sesame")
            let spans = try collector.spans
            try #require(spans.map(\.name) == ["GET", "process q"])
            let (span, parent) = (spans[0], spans[1])
            #expect(span.service == "gaia-test")
            #expect((span.kind, parent.kind) == (3, 5))
            #expect((span.parent, span.trace) == (parent.span, parent.trace))
            #expect(parent.parent.isEmpty)
            #expect((span.status, span.message) == (2, "500"))
            #expect(parent.status == 0)
            #expect(span.attributes["text"] == "äöü \" \\ \n")
            #expect(span.attributes["whole"] == "\(Int64.max)")
            #expect(span.attributes["part"] == "0.25")
            #expect(span.attributes["flag"] == "True")
            #expect(span.attributes["infinite"] == "-inf")
            #expect(span.attributes["error.type"] == "500")
            #expect(span.attributes["long"]?.count == 1_024)
            #expect(span.attributes["list"]?.contains("string_value: \"b\"") == true)
            #expect(span.attributes["nothing"] == nil)
            #expect(span.events == ["hello"])
            #expect(span.links.count == 1)
            #expect(span.start >= begin && span.end >= span.start && span.end <= parent.end)
            #expect(count("sent", in: metrics) == 2)
        }
    }

    @Test("A full batch goes out at once; what is left goes out at the end")
    func batches() async throws {
        try await Collector.use { collector in
            let metrics = MetricsRegistry()
            try await exporting(
                to: collector.url, metrics,
                configure: {
                    $0.batchMax = 3
                    $0.interval = .seconds(3_600)
                }
            ) { tracer in
                for _ in 0..<3 { tracer.startSpan("s", context: .topLevel).end() }
                try await eventually("a full batch") { try collector.spans.count == 3 }
                for _ in 0..<2 { tracer.startSpan("s", context: .topLevel).end() }
            }
            let counts = try collector.entries.map(\.spans.count)
            #expect(counts.first == 3 && counts.reduce(0, +) == 5, "\(counts)")
            #expect(count("sent", in: metrics) == 5)
        }
    }

    @Test("A collector that is busy gets the same spans again; what it refuses is given up and counted")
    func again() async throws {
        try await Collector.use(plan: [503, 503, 200, 400]) { collector in
            let metrics = MetricsRegistry()
            try await exporting(
                to: collector.url, metrics,
                configure: {
                    $0.batchMax = 1
                    // Or a busy machine would have it ask once more.
                    $0.patience = patienceOfTests
                }
            ) { tracer in
                tracer.startSpan("first", context: .topLevel).end()
                try await eventually("the first span") { try collector.spans.map(\.name) == ["first"] }
                tracer.startSpan("second", context: .topLevel).end()
                try await eventually("a refusal") { count("refused", in: metrics) == 1 }
                tracer.startSpan("third", context: .topLevel).end()
                try await eventually("the third span") { try collector.spans.map(\.name) == ["first", "third"] }
            }
            let statuses = try collector.entries.map(\.status)
            #expect(statuses == [503, 503, 200, 400, 200], "\(statuses)")
            #expect(count("sent", in: metrics) == 2)
            #expect(count("dropped", in: metrics) == 0)
        }
    }

    @Test("Without a collector spans are dropped, nobody waits, and the end is not held up for long")
    func away() async throws {
        let metrics = MetricsRegistry()
        let begin = ContinuousClock.now
        // Nothing listens at port 1.
        try await exporting(
            to: "http://127.0.0.1:1/v1/traces", metrics,
            configure: {
                $0.queueMax = 10
                $0.batchMax = 5
                $0.patience = .milliseconds(200)
            }
        ) { tracer in
            for _ in 0..<1_000 { tracer.startSpan("s", context: .topLevel).end() }
            try await eventually("dropped spans") { count("dropped", in: metrics) >= 980 }
        }
        #expect(.now - begin < patienceOfTests)
        #expect(count("sent", in: metrics) == 0)
        #expect(count("dropped", in: metrics) + count("refused", in: metrics) <= 1_000)
    }

    @Test("An answer that says that some were turned down is believed, in either spelling")
    func partial() {
        #expect(OTLP.rejected(in: Array(#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"x"}}"#.utf8)) == 3)
        #expect(OTLP.rejected(in: Array(#"{"partialSuccess":{"rejectedSpans":2}}"#.utf8)) == 2)
        #expect(OTLP.rejected(in: Array(#"{"partialSuccess":{}}"#.utf8)) == 0)
        #expect(OTLP.rejected(in: Array("{}".utf8)) == 0)
        #expect(OTLP.rejected(in: Array("<html>".utf8)) == 0)
    }
}
