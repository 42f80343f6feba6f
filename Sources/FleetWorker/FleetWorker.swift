/// # FleetWorker
///
/// Takes jobs from the broker, claims them in the ledger, runs them, and settles what they yield. One worker runs the
/// handlers of any number of subsystems; a subsystem brings parameters and handlers and knows neither queue nor table.
///
/// ```
///               AMQP thread                 one task                  one task per job
///  broker ──▶ deliveries ──▶ Intake ──▶ claim (one statement) ──▶ run ──▶ Outcome
///                              ▲ slots free again ◀─────────────────┘        │
///                              │                                             ▼
///  broker ◀── ack ◀── publish, confirmed ◀── complete (one statement) ◀── outcomes so far
/// ```
///
/// Nothing crosses a thread, a socket or a transaction once per job. Each stage takes all that has gathered while it was
/// busy with the last batch: on an idle fleet a batch is one job and leaves at once, under load it is hundreds.
///
/// What is in memory is bounded by demand from end to end. The broker sends no more than the prefetch limit; a job is
/// claimed only when a slot is free for it; an outcome keeps its delivery unacknowledged until its result is confirmed.
///
/// **Ack last.** Completion commits, then the result is confirmed, then the delivery is acknowledged. Until then the
/// unacknowledged delivery is the outbox: after a crash at any point it comes again and finds in the ledger how far its
/// job had come.
enum FleetWorkerOverview {}
