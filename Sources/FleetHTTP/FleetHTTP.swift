/// # FleetHTTP
///
/// Jobs over HTTP, for whoever has no AMQP client: enqueue, look, wait, call off, and schedules. It stands beside a dispatcher
/// in the same process and has connections of its own, so that a flood of requests takes none from the dispatcher's duties.
///
/// ```
///  client ──▶ HTTPService ─▶ Responder    target, token, method, query, body: each bounded, each flaw a Problem
///                              └─▶ JobAPI ─┬─ EnqueueDesk ──▶ gaia.jobs, or the ledger
///                                          ├─ FleetStore        look, call off, schedules
///                                          └─ Waits ◀── gaia.wait.… ◀── results of jobs that somebody waits for
/// ```
///
/// Waiting costs no polling. Before a job can end, the worker that ends it knows of this process's reply queue: by the
/// job's own `reply_to` when it was enqueued here, else by a row in `gaia.waiter` that is written under the job's row lock.
/// The message only wakes the waiting request, which then answers what the ledger says. A message that is lost with the
/// broker's link costs time and no truth: when the link is back everyone looks again, and at the end of its time each does.
///
/// What is served is described by `openapi.json`, beside this file; a test holds the two together.
enum FleetHTTPOverview {}
