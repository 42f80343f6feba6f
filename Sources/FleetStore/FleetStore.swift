import FleetModel
import PostgresClient

/// # FleetStore
///
/// The ledger in PostgreSQL: who owns which job, what became of it, what is owed to the broker and when. Each verb is
/// one SQL file under `SQL/`, and each write of a lease or a claim names its epoch, token or term.
///
/// ```
///  arrivals ──claim──▶ claimed             run ──complete──▶ settled, waiters
///               └────▶ finished │ parked │ conflict │ fenced      └──▶ agenda (retry)
///
///  agenda ──due──▶ publish ──staged──▶ queued          worker: register ▶ renew … ▶ release
///                                                      leader: lock ▶ term
///  locks:  enter ─▶ held │ waiting ──look──▶ held       leave ─▶ the next in line holds
///  limits: take ─▶ units of a rate │ share ─▶ places │ close ─▶ nobody
/// ```
///
/// Only the database's clock is ever compared.
public struct FleetStore: Sendable {
    let pool: PostgresPool

    public init(pool: PostgresPool) { self.pool = pool }

    /// For the connections of workers and dispatchers, whose statements all find rows by key or by an index made for them.
    ///
    /// Left to itself, the planner sees a batch of hundreds beside a table that was small when it last looked, joins the
    /// two by a sequential scan, and keeps that plan while the table grows: each batch then reads every job there ever
    /// was. These settings leave it the index, and let it plan once.
    public static func keyed(_ database: PostgresConfiguration) -> PostgresConfiguration {
        var keyed = database
        keyed.sessionSettings.merge(
            [
                "enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off",
                "plan_cache_mode": "force_generic_plan",
                // Where no index leads to a row, as in tables of one row, the planner reckons with a forbidding price, and
                // would have a statement of a millisecond compiled for a hundred.
                "jit": "off",
            ]
        ) { given, _ in given }
        return keyed
    }

    /// Advisory locks of workers' lives: class of the pair (class, worker id). The bytes spell "GAIA".
    public static let livenessLockClass: Int32 = 0x4741_4941
    /// The advisory lock of leadership: class of the pair (class, 1).
    public static let leaderLockClass: Int32 = 0x4741_4942
    /// The advisory lock that lets one migration run at a time.
    static let migrationLock: Int64 = 0x4741_4941_0000_0001
}

/// The statements, one file each. The name under which PostgreSQL prepares a statement is the file's.
enum SQL {
    static let registerWorker = statement("register-worker", PackageResources.register_worker_sql)
    static let renewWorker = statement("renew-worker", PackageResources.renew_worker_sql)
    static let beginEpoch = statement("begin-epoch", PackageResources.begin_epoch_sql)
    static let releaseWorker = statement("release-worker", PackageResources.release_worker_sql)
    static let holdLiveness = statement("hold-liveness", PackageResources.hold_liveness_sql)
    static let missingWorkers = statement("missing-workers", PackageResources.missing_workers_sql)
    static let endEpoch = statement("end-epoch", PackageResources.end_epoch_sql)
    static let orphaned = statement("orphaned", PackageResources.orphaned_sql)
    static let claim = statement("claim", PackageResources.claim_sql)
    static let classify = statement("classify", PackageResources.classify_sql)
    static let complete = statement("complete", PackageResources.complete_sql)
    static let readBack = statement("read-back", PackageResources.read_back_sql)
    static let waiters = statement("waiters", PackageResources.waiters_sql)
    static let answered = statement("answered", PackageResources.answered_sql)
    static let deadGroups = statement("dead-groups", PackageResources.dead_groups_sql)
    static let deadJobs = statement("dead-jobs", PackageResources.dead_jobs_sql)
    static let deadReplay = statement("dead-replay", PackageResources.dead_replay_sql)
    static let deadDrop = statement("dead-drop", PackageResources.dead_drop_sql)
    static let deadFingerprints = statement("dead-fingerprints", PackageResources.dead_fingerprints_sql)
    static let now = statement("now", PackageResources.now_sql)
    static let jobStates = statement("job-states", PackageResources.job_states_sql)
    static let pause = statement("pause", PackageResources.pause_sql)
    static let resume = statement("resume", PackageResources.resume_sql)
    static let pauseList = statement("pause-list", PackageResources.pause_list_sql)
    static let hold = statement("hold", PackageResources.hold_sql)
    static let releaseHeld = statement("release-held", PackageResources.release_held_sql)
    static let oweLost = statement("owe-lost", PackageResources.owe_lost_sql)
    static let explain = statement("explain", PackageResources.explain_sql)
    static let fill = statement("fill", PackageResources.fill_sql)
    static let ledgerSize = statement("ledger-size", PackageResources.ledger_size_sql)
    static let countDone = statement("count-done", PackageResources.count_done_sql)
    static let endsDone = statement("ends-done", PackageResources.ends_done_sql)
    static let wait = statement("wait", PackageResources.wait_sql)
    static let unwait = statement("unwait", PackageResources.unwait_sql)
    static let runAlone = statement("run-alone", PackageResources.run_alone_sql)
    static let progress = statement("progress", PackageResources.progress_sql)
    static let calledOff = statement("called-off", PackageResources.called_off_sql)
    static let cancel = statement("cancel", PackageResources.cancel_sql)
    static let resolve = statement("resolve", PackageResources.resolve_sql)
    static let enqueue = statement("enqueue", PackageResources.enqueue_sql)
    static let retain = statement("retain", PackageResources.retain_sql)
    static let retainRest = statement("retain-rest", PackageResources.retain_rest_sql)
    static let seal = statement("seal", PackageResources.seal_sql)
    static let cronDue = statement("cron-due", PackageResources.cron_due_sql)
    static let cronTick = statement("cron-tick", PackageResources.cron_tick_sql)
    static let cronPut = statement("cron-put", PackageResources.cron_put_sql)
    static let cronList = statement("cron-list", PackageResources.cron_list_sql)
    static let cronPage = statement("cron-page", PackageResources.cron_page_sql)
    static let cronRemove = statement("cron-remove", PackageResources.cron_remove_sql)
    static let cronPause = statement("cron-pause", PackageResources.cron_pause_sql)
    static let zoneNow = statement("zone-now", PackageResources.zone_now_sql)
    static let takeLeadership = statement("take-leadership", PackageResources.take_leadership_sql)
    static let beginTerm = statement("begin-term", PackageResources.begin_term_sql)
    static let renewTerm = statement("renew-term", PackageResources.renew_term_sql)
    static let watchLeader = statement("watch-leader", PackageResources.watch_leader_sql)
    static let depose = statement("depose", PackageResources.depose_sql)
    static let republish = statement("republish", PackageResources.republish_sql)
    static let due = statement("due", PackageResources.due_sql)
    static let nextDue = statement("next-due", PackageResources.next_due_sql)
    static let staged = statement("staged", PackageResources.staged_sql)
    static let schedule = statement("schedule", PackageResources.schedule_sql)
    static let compare = statement("compare", PackageResources.compare_sql)
    static let jobShow = statement("job-show", PackageResources.job_show_sql)
    static let statusJobs = statement("status-jobs", PackageResources.status_jobs_sql)
    static let statusWorkers = statement("status-workers", PackageResources.status_workers_sql)
    static let fleetState = statement("fleet-state", PackageResources.fleet_state_sql)
    static let glance = statement("glance", PackageResources.glance_sql)
    static let askReports = statement("ask-reports", PackageResources.ask_reports_sql)
    static let statusLeader = statement("status-leader", PackageResources.status_leader_sql)
    static let counts = statement("counts", PackageResources.counts_sql)
    static let lockEnter = statement("lock-enter", PackageResources.lock_enter_sql)
    static let lockLook = statement("lock-look", PackageResources.lock_look_sql)
    static let lockLeave = statement("lock-leave", PackageResources.lock_leave_sql)
    static let lockTry = statement("lock-try", PackageResources.lock_try_sql)
    static let lockQueue = statement("lock-queue", PackageResources.lock_queue_sql)
    static let lockTurn = statement("lock-turn", PackageResources.lock_turn_sql)
    static let lockRenew = statement("lock-renew", PackageResources.lock_renew_sql)
    static let lockRelease = statement("lock-release", PackageResources.lock_release_sql)
    static let lockCheck = statement("lock-check", PackageResources.lock_check_sql)
    static let lockForce = statement("lock-force", PackageResources.lock_force_sql)
    static let lockList = statement("lock-list", PackageResources.lock_list_sql)

    static let limitRules = statement("limit-rules", PackageResources.limit_rules_sql)
    static let limitTake = statement("limit-take", PackageResources.limit_take_sql)
    static let limitShare = statement("limit-share", PackageResources.limit_share_sql)
    static let limitSet = statement("limit-set", PackageResources.limit_set_sql)
    static let limitRemove = statement("limit-remove", PackageResources.limit_remove_sql)
    static let limitClose = statement("limit-close", PackageResources.limit_close_sql)
    static let limitOpen = statement("limit-open", PackageResources.limit_open_sql)
    static let limitList = statement("limit-list", PackageResources.limit_list_sql)
    static let confirmClaim = statement("confirm-claim", PackageResources.confirm_claim_sql)

    private static func statement(_ name: String, _ text: [UInt8]) -> PostgresStatement {
        PostgresStatement(name: "gaia-\(name)", sql: String(decoding: text, as: UTF8.self))
    }
}
