import CoreMetrics
import FleetObservability
import Testing
import Tracing

@testable import FleetTracing

private func queue(limit: Int = 100, _ metrics: MetricsRegistry = MetricsRegistry()) -> SpanQueue {
    SpanQueue(
        limit: limit, batch: 1_000, dropped: Counter(label: "dropped", dimensions: [], factory: metrics))
}

private struct Broken: Error {}

@Suite("Tracer")
struct TracerTests {
    @Test("A child has its parent's trace, and what is sent names the child")
    func child() throws {
        let queue = queue()
        let tracer = FleetTracer(ratio: 1, queue: queue)
        let parent = tracer.startSpan("a", context: .topLevel, ofKind: .consumer)
        let child = tracer.startSpan("b", context: parent.context)
        let text = try #require(tracer.traceparent(of: child.context))
        child.end()
        parent.end()
        let spans = queue.take()
        #expect(spans.map(\.name) == ["b", "a"])
        #expect(spans[0].parent == spans[1].own.span)
        #expect(spans[0].own.trace == spans[1].own.trace)
        #expect(spans[1].parent == nil)
        #expect(spans[1].kind == .consumer)
        #expect(text == spans[0].own.text)
        #expect(TraceContext(parsing: text) == spans[0].own)
    }

    @Test("Whether a trace is recorded is decided where it begins, and holds for whatever follows")
    func sampling() throws {
        let queue = queue()
        let never = FleetTracer(ratio: 0, queue: queue)
        let sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        let unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
        let begun = never.startSpan("begun", context: .topLevel)
        #expect(!begun.isRecording)
        #expect(never.traceparent(of: begun.context)?.hasSuffix("-00") == true)
        begun.end()
        let followed = never.startSpan("followed", context: never.context(from: sampled))
        #expect(followed.isRecording)
        followed.end()
        let always = FleetTracer(ratio: 1, queue: queue)
        always.startSpan("not", context: always.context(from: unsampled)).end()
        let spans = queue.take()
        #expect(spans.map(\.name) == ["followed"])
        #expect(spans.first?.own.traceText == "4bf92f3577b34da6a3ce929d0e0e4736")
        #expect(spans.first?.parent == 0x00f0_67aa_0ba9_02b7)
    }

    @Test("Of traces that begin here as many are recorded as the ratio says")
    func ratio() {
        let tracer = FleetTracer(ratio: 0.25, queue: queue())
        let recorded = (0..<20_000).count { _ in tracer.startSpan("s", context: .topLevel).isRecording }
        // Five standard deviations.
        #expect(abs(recorded - 5_000) < 310)
    }

    @Test("After its end a span takes nothing, and is not told twice")
    func ended() {
        let queue = queue()
        let span = FleetTracer(ratio: 1, queue: queue).startSpan("s", context: .topLevel)
        span.set(["a": 1])
        span.fail("broken")
        span.set(["b": 2])
        span.end()
        let spans = queue.take()
        #expect(spans.count == 1)
        #expect(spans[0].attributes["a"]?.toSpanAttribute() == 1)
        #expect(spans[0].attributes["b"] == nil)
        #expect(spans[0].status == SpanStatus(code: .error, message: "broken"))
    }

    @Test("An error is told by its type alone")
    func error() {
        let queue = queue()
        let span = FleetTracer(ratio: 1, queue: queue).startSpan("s", context: .topLevel)
        span.recordError(Broken())
        for _ in 0..<200 { span.addEvent("again") }
        span.end()
        let events = queue.take()[0].events
        #expect(events.count == FleetSpan.partsMax)
        #expect(events[0].attributes["exception.type"]?.toSpanAttribute() == "Broken")
        #expect(events[0].attributes["exception.message"] == nil)
    }

    @Test("A queue that is full drops what comes, and counts it")
    func full() {
        let metrics = MetricsRegistry()
        let queue = queue(limit: 3, metrics)
        let tracer = FleetTracer(ratio: 1, queue: queue)
        for _ in 0..<5 { tracer.startSpan("s", context: .topLevel).end() }
        #expect(queue.take().count == 3)
        #expect(metrics.exposition().contains("dropped 2\n"))
    }
}
