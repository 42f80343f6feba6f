import AMQPClient
import FleetBroker
import FleetModel
import FleetObservability
import FleetStore
import Synchronization
import Tracing

/// Makes the spans of a worker's jobs, named and described as OpenTelemetry's conventions for messaging want it
/// (https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/).
///
/// ```
///  producer's span
///   └ process gaia.jobs.api ───────────────────────────────────────────────── delivered … acknowledged
///      ├ claim        waits for a slot, and for the ledger's answer
///      ├ run          the handler; what it calls follows from here
///      ├ complete     the outcome into the ledger
///      └ send gaia.results   until the broker has confirmed; result and events follow from here
/// ```
///
/// Each attempt is a `process` of its own beside the others, since all follow from the same message.
struct WorkerTracing: Sendable {
    fileprivate let tracer: any Tracer

    /// - Returns: nil for a tracer that does nothing, so that nothing is done for it.
    init?(_ tracer: any Tracer) {
        if tracer is NoOpTracer { return nil }
        self.tracer = tracer
    }

    fileprivate func process(
        _ delivery: AMQPDelivery, traceparent: String?, since begin: ContinuousClock.Instant
    ) -> any Span {
        let span = tracer.startSpan(
            "process \(delivery.queue)", context: tracer.context(from: traceparent), ofKind: .consumer,
            at: begin.traced)
        span.setMessaging(
            "process", "\(FleetBroker.jobsExchange):\(delivery.routingKey):\(delivery.queue)",
            [
                "messaging.rabbitmq.destination.routing_key": .string(delivery.routingKey),
                "messaging.message.id": delivery.properties.messageID.map { .string($0) },
                "messaging.message.conversation_id": delivery.properties.correlationID.map { .string($0) },
            ])
        return span
    }

    fileprivate func process(_ arrival: Arrival) -> any Span {
        let span = process(arrival.delivery, traceparent: arrival.job.traceparent, since: arrival.delivered)
        span.set(["gaia.job.type": .string(arrival.job.type.name), "gaia.job.key": .string(arrival.job.key)])
        return span
    }

    /// A job that is about to run.
    func claimed(_ arrival: Arrival, _ ownership: Ownership, at moment: ContinuousClock.Instant) -> AttemptTrace {
        AttemptTrace(self, arrival, ownership, at: moment)
    }

    /// A delivery that ends without its job being run by it.
    ///
    /// - Parameter answer: the ledger's, such as `repeat`.
    func notRun(_ arrival: Arrival, _ answer: String) {
        let span = process(arrival)
        span.set(["gaia.claim": .string(answer)])
        span.end()
    }

    /// A delivery that is set aside.
    func refused(_ delivery: AMQPDelivery, _ rejection: Rejection) {
        process(delivery, traceparent: delivery.traceparent, since: .now).fail(rejection.reason.rawValue)
    }
}

/// The spans of one attempt, from its claim to the acknowledgement.
package final class AttemptTrace: Sendable {
    private struct State {
        /// That of the present stage.
        var stage: any Span
        var sending: String?
    }

    private let tracer: any Tracer
    private let process: any Span
    private let handler: ServiceContext
    private let state: Mutex<State>
    /// What the handler's calls follow from, as a `traceparent`.
    let running: String?

    fileprivate init(
        _ tracing: WorkerTracing, _ arrival: Arrival, _ ownership: Ownership, at moment: ContinuousClock.Instant
    ) {
        tracer = tracing.tracer
        process = tracing.process(arrival)
        process.set(["gaia.job.attempt": .int(Int64(ownership.attempt))])
        tracer.startSpan("claim", context: process.context, at: arrival.delivered.traced).end(at: moment.traced)
        let run = tracer.startSpan("run", context: process.context, at: moment.traced)
        handler = run.context
        running = tracer.traceparent(of: run.context)
        state = Mutex(State(stage: run))
    }

    /// What the result and the events follow from, once the outcome is in the ledger.
    var sending: String? { state.withLock { $0.sending } }

    /// Runs a handler so that log lines know its job, and spans that it makes follow from its own.
    static func within<Value>(
        _ trace: AttemptTrace?, _ context: JobContext, _ body: () async throws -> Value
    ) async throws -> Value {
        try await JobContext.$current.withValue(context) {
            guard let trace else { return try await body() }
            return try await ServiceContext.$current.withValue(trace.handler) { try await body() }
        }
    }

    /// The handler has ended, or was given up.
    func ran(_ settlement: Settlement, at moment: ContinuousClock.Instant) {
        process.set(["gaia.job.outcome": .string(JobMetrics.Outcome(settlement).rawValue)])
        let run = next(tracer.startSpan("complete", context: process.context, at: moment.traced))
        if let code = settlement.failure?.code {
            process.set(["error.type": .string(code)])
            process.setStatus(SpanStatus(code: .error, message: code))
            run.fail(code, at: moment)
        } else {
            run.end(at: moment.traced)
        }
    }

    /// The outcome is in the ledger.
    func completed(at moment: ContinuousClock.Instant) {
        let send = tracer.startSpan(
            "send \(FleetBroker.resultsExchange)", context: process.context, ofKind: .producer, at: moment.traced)
        send.setMessaging("send", FleetBroker.resultsExchange)
        let complete = state.withLock { state in
            state.sending = tracer.traceparent(of: send.context)
            defer { state.stage = send }
            return state.stage
        }
        complete.end(at: moment.traced)
    }

    /// The broker has confirmed everything, and the delivery is acknowledged.
    func settled(at moment: ContinuousClock.Instant) {
        state.withLock { $0.stage }.end(at: moment.traced)
        process.end(at: moment.traced)
    }

    /// The attempt's outcome is void, or could not be kept.
    func failed(_ code: String) {
        state.withLock { $0.stage }.fail(code)
        process.fail(code)
    }

    private func next(_ span: any Span) -> any Span {
        state.withLock { state in
            defer { state.stage = span }
            return state.stage
        }
    }
}

extension Settlement {
    /// Why the attempt did not succeed; nil when it did, or when nothing is wrong.
    fileprivate var failure: JobFailure? {
        switch self {
        case .retry(let failure, _, _), .discard(let failure), .cancel(let failure), .doubt(let failure): failure
        case .succeed, .snooze, .handBack: nil
        }
    }
}
