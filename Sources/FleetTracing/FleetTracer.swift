import FleetObservability
import Synchronization
public import Tracing

/// Makes spans and hands those that have ended to a queue.
///
/// Whether a trace is recorded is decided where it begins, by its id and the ratio, and holds for all that follows in
/// whatever process: what comes with a `traceparent` is recorded if that says so.
public final class FleetTracer: Tracer {
    private let threshold: UInt64
    private let queue: SpanQueue

    /// - Parameter ratio: of the traces that begin here how many are recorded, from 0 to 1.
    init(ratio: Double, queue: SpanQueue) {
        // As the specification of OpenTelemetry's TraceIdRatioBased has it: the same trace is judged the same everywhere.
        threshold = UInt64(max(0, min(ratio, 1)) * 0x1p63)
        self.queue = queue
    }

    public func startSpan<Instant: TracerInstant>(
        _ operationName: String, context: @autoclosure () -> ServiceContext, ofKind kind: SpanKind,
        at instant: @autoclosure () -> Instant, function: String, file fileID: String, line: UInt
    ) -> FleetSpan {
        var context = context()
        let parent = context.trace
        let trace = parent?.trace ?? .random(in: 1 ... .max)
        let isSampled = parent?.isSampled ?? (UInt64(truncatingIfNeeded: trace) >> 1 < threshold)
        let own = TraceContext(trace: trace, span: .random(in: 1 ... .max), isSampled: isSampled)
        context.trace = own
        return FleetSpan(
            context, own, parent: parent?.span, name: operationName, kind: kind,
            start: isSampled ? instant().nanosecondsSinceEpoch : 0, queue: isSampled ? queue : nil)
    }

    /// Spans go out by themselves, and at the latest when the process shuts down.
    public func forceFlush() {}

    public func inject<Carrier, Inject: Injector>(
        _ context: ServiceContext, into carrier: inout Carrier, using injector: Inject
    ) where Inject.Carrier == Carrier {
        if let trace = context.trace { injector.inject(trace.text, forKey: "traceparent", into: &carrier) }
    }

    public func extract<Carrier, Extract: Extractor>(
        _ carrier: Carrier, into context: inout ServiceContext, using extractor: Extract
    ) where Extract.Carrier == Carrier {
        if let text = extractor.extract(key: "traceparent", from: carrier), let trace = TraceContext(parsing: text) {
            context.trace = trace
        }
    }
}

/// One operation of a trace. One that is not recorded carries its context on, and costs little else.
public final class FleetSpan: Tracing.Span {
    private struct State {
        var name: String
        var attributes: SpanAttributes = [:]
        var status: SpanStatus?
        var events: [SpanEvent] = []
        var links: [SpanLink] = []
        var isEnded = false
    }

    /// Of attributes, events and links each, as OpenTelemetry's limits are by default; what is beyond is left out.
    static let partsMax = 128

    public let context: ServiceContext
    private let own: TraceContext
    private let parent: UInt64?
    private let kind: SpanKind
    private let start: UInt64
    private let queue: SpanQueue?
    private let state: Mutex<State>

    fileprivate init(
        _ context: ServiceContext, _ own: TraceContext, parent: UInt64?, name: String, kind: SpanKind, start: UInt64,
        queue: SpanQueue?
    ) {
        self.context = context
        self.own = own
        self.parent = parent
        self.kind = kind
        self.start = start
        self.queue = queue
        state = Mutex(State(name: name))
    }

    public var isRecording: Bool { queue != nil }

    public var operationName: String {
        get { state.withLock { $0.name } }
        set { change { $0.name = newValue } }
    }

    public var attributes: SpanAttributes {
        get { state.withLock { $0.attributes } }
        set { change { $0.attributes = newValue } }
    }

    public func setStatus(_ status: SpanStatus) { change { $0.status = status } }

    public func addEvent(_ event: SpanEvent) {
        change { if $0.events.count < Self.partsMax { $0.events.append(event) } }
    }

    public func addLink(_ link: SpanLink) {
        change { if $0.links.count < Self.partsMax { $0.links.append(link) } }
    }

    /// Notes the error's type. What it says may quote payloads, and stays in the ledger.
    public func recordError<Instant: TracerInstant>(
        _ error: any Error, attributes: SpanAttributes, at instant: @autoclosure () -> Instant
    ) {
        guard isRecording else { return }
        var attributes = attributes
        attributes["exception.type"] = "\(type(of: error))"
        addEvent(SpanEvent(name: "exception", at: instant(), attributes: attributes))
    }

    /// What comes after the first end is ignored.
    public func end<Instant: TracerInstant>(at instant: @autoclosure () -> Instant) {
        guard let queue else { return }
        let end = max(instant().nanosecondsSinceEpoch, start)
        let ended = state.withLock { state -> EndedSpan? in
            if state.isEnded { return nil }
            state.isEnded = true
            return EndedSpan(
                own: own, parent: parent, name: state.name, kind: kind, start: start, end: end,
                attributes: state.attributes, status: state.status, events: state.events, links: state.links)
        }
        if let ended { queue.add(ended) }
    }

    private func change(_ change: (inout State) -> Void) {
        guard isRecording else { return }
        state.withLock { if !$0.isEnded { change(&$0) } }
    }
}

/// A span as it is sent.
struct EndedSpan: Sendable {
    let own: TraceContext
    let parent: UInt64?
    let name: String
    let kind: SpanKind
    /// Nanoseconds since 1970.
    let start, end: UInt64
    let attributes: SpanAttributes
    let status: SpanStatus?
    let events: [SpanEvent]
    let links: [SpanLink]
}
