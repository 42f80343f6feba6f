/// # FleetObservability
///
/// What a process can be asked about itself while it runs: the metrics of its parts, in Prometheus' text format.
///
/// ```
///  subsystems ── swift-metrics (Counter, Timer, …) ──▶ MetricsRegistry ──▶ text ──▶ GET /metrics
///  worker, process ── collectors, asked at each look ──────┘
/// ```
///
/// Parts say what happens through the API of swift-metrics and know nothing of this target; a service of a user's own may
/// give them another factory. Nothing here is kept over a restart: a counter that falls tells Prometheus that there was one.
enum FleetObservabilityOverview {}
