/// # FleetDispatcher
///
/// What happens between one delivery and the next: enqueue requests, jobs for later, retries when they are due, and jobs
/// whose worker died. Any number may run. All of them take enqueue requests; one leads, and does what must be done once.
///
/// ```
///  gaia.enqueue ──▶ EnqueueService ──▶ EnqueueDesk ──now──▶ gaia.jobs
///       reply_to ◀──┘    (or HTTP) ──▶     └──later──▶ ledger + agenda
///
///  leader (advisory lock, term) ─┬─ StageDuty    agenda due ──▶ gaia.jobs, confirmed ──▶ struck out
///                                ├─ RescueDuty   worker gone, grace over ──▶ its epoch ends, its jobs are due
///                                ├─ CronDuty     a schedule's tick ──▶ a job on the agenda
///                                ├─ ReleaseDuty  held while its type rests ──▶ due, when it rests no more
///                                └─ RetainDuty   finished long ago ──▶ removed, a stretch of the table at a time
/// ```
///
/// A job published twice because a crash fell between two steps is harmless: the claim decides.
enum FleetDispatcherOverview {}
