/// # FleetTracing
///
/// Where the spans of this process go: to a collector, as OTLP over HTTP, if one is named.
///
/// ```
///  worker, handlers, HTTP ──swift-distributed-tracing──▶ FleetTracer ──ended spans──▶ SpanQueue ──batches──▶ SpanExporter
///                                                                                       │ full: dropped, counted   │
///                                                                                       ▼                          ▼
///                                                                            gaia_trace_spans_total      POST …/v1/traces
/// ```
///
/// Whoever makes spans knows the API alone; a service of a user's own may bootstrap another tracer. A collector that is
/// slow or away costs spans and nothing else: the queue is bounded, and nobody waits for it.
enum FleetTracingOverview {}
