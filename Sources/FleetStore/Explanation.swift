import FleetModel
import PostgresClient

/// What the ledger knows that bears on where a job is, at one moment.
public struct JobCircumstances: Sendable {
    public struct Owner: Sendable {
        public let name: String
        /// Whether its claim still counts.
        public let isOwner: Bool
        /// Whether its process is connected to the database.
        public let isConnected: Bool
    }
    public struct Lock: Sendable {
        public let name: String
        /// Nil when it was freed this moment.
        public let holder: String?
        public let worker: String?
    }

    public let state: JobState
    public let type: String
    public let attempt, attemptsMax: Int
    public let claimedAt, finishedAt, notBefore: String?
    /// How long until it may run; nil when that is no question of time.
    public let wait: Duration?
    public let deadlineAt: String?
    public let isLate: Bool
    public let crashes: Int
    public let isUrgent: Bool
    public let owner: Owner?
    /// Why the dispatcher is to publish it: `scheduled`, `retry`, `recheck`, `answer` or `held`.
    public let owed: String?
    public let isDue: Bool
    public let calledOff: (reason: String, at: String)?
    public let pause: PauseRecord?
    public let awaitedLock: Lock?
    /// Names, separated by commas.
    public let heldLocks: String?
    public let progress: (fraction: String, note: String?)?
    /// Repeats that wait for its result.
    public let waiters: Int
}

extension FleetStore {
    /// Nil when the ledger does not know the job.
    public func circumstances(of identity: JobIdentity) async throws -> JobCircumstances? {
        let rows = try await pool.execute(
            SQL.explain, [.text(identity.subsystem), .text(identity.key), .int32(Self.livenessLockClass)])
        guard let row = rows.first else { return nil }
        func time(_ column: String) throws -> String? {
            try row.get(column, as: PostgresTimestamp?.self)?.iso8601
        }
        func text(_ column: String) throws -> String? { try row.get(column) }
        let name: String = try row.get("state")
        guard let state = JobState(rawValue: name) else { throw UnknownState(name: name) }
        var owner: JobCircumstances.Owner?
        if let name = try text("worker") {
            owner = JobCircumstances.Owner(
                name: name, isOwner: try row.get("is_owned"), isConnected: try row.get("is_connected"))
        }
        var pause: PauseRecord?
        if let scope = try text("pause"), let since = try time("paused_at") {
            pause = PauseRecord(scope: scope, reason: try text("pause_reason") ?? "", since: since)
        }
        var lock: JobCircumstances.Lock?
        if let name = try text("lock_awaited") {
            lock = JobCircumstances.Lock(name: name, holder: try text("lock_holder"), worker: try text("lock_worker"))
        }
        var calledOff: (reason: String, at: String)?
        if let reason = try text("called_off"), let at = try time("called_off_at") { calledOff = (reason, at) }
        return JobCircumstances(
            state: state, type: try row.get("type"), attempt: Int(try row.get("attempt", as: Int32.self)),
            attemptsMax: Int(try row.get("attempts_max", as: Int32.self)), claimedAt: try time("claimed_at"),
            finishedAt: try time("finished_at"), notBefore: try time("not_before"),
            wait: try row.get("wait_ms", as: Int64?.self).map { .milliseconds($0) },
            deadlineAt: try time("deadline_at"), isLate: try row.get("is_late", as: Bool?.self) ?? false,
            crashes: Int(try row.get("crashes", as: Int16.self)), isUrgent: try row.get("urgent"), owner: owner,
            owed: try text("owed_reason"), isDue: try row.get("is_due", as: Bool?.self) ?? false,
            calledOff: calledOff, pause: pause, awaitedLock: lock, heldLocks: try text("locks_held"),
            progress: try text("fraction").map { ($0, try text("note")) },
            waiters: Int(try row.get("waiters", as: Int64.self)))
    }
}
