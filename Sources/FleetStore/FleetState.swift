import PostgresClient

/// How the fleet stands in the ledger at one moment.
public struct FleetState: Sendable, Equatable {
    /// Rows of the agenda: jobs for later, retries, and jobs to be published again.
    public let agenda: Int
    /// Of those the ones whose time has come, how long the oldest has been due, and those that are held while their type
    /// rests.
    public let overdue: Int
    public let overdueSeconds: Double
    public let held: Int
    /// Jobs that an operator may want to look at: discarded and indeterminate ones.
    public let dead: Int
    /// Workers that have not gone, and those of them whose lease has run out.
    public let workers: Int
    public let workersLate: Int
    public let schedules: Int
    /// How long the latest schedule has been behind its time.
    public let scheduleLateSeconds: Double
    /// Sessions in this database, and as many as the whole server takes.
    public let sessions: Int
    public let sessionsMax: Int
    /// Age of the oldest transaction that this role may see.
    public let transactionSeconds: Double
    /// Transaction ids used since the oldest that must still be told apart; at two thousand million the server stops.
    public let transactionIDs: Int
    /// The table of jobs with its indexes.
    public let ledgerBytes: Int
}

extension FleetStore {
    public func fleetState() async throws -> FleetState {
        let row = try await pool.execute(SQL.fleetState).only()
        func number(_ column: String) throws -> Int { Int(try row.get(column, as: Int64.self)) }
        return FleetState(
            agenda: try number("agenda"), overdue: try number("overdue"),
            overdueSeconds: try row.get("overdue_seconds"), held: try number("held"), dead: try number("dead"),
            workers: try number("workers"), workersLate: try number("workers_late"),
            schedules: try number("schedules"), scheduleLateSeconds: try row.get("schedule_late_seconds"),
            sessions: try number("sessions"), sessionsMax: try number("sessions_max"),
            transactionSeconds: try row.get("transaction_seconds"), transactionIDs: try number("transaction_ids"),
            ledgerBytes: try number("ledger_bytes"))
    }
}
