import PostgresClient

/// How the fleet stands, as far as can be told without counting much.
public struct FleetGlance: Sendable, Equatable {
    public struct Leader: Sendable, Equatable {
        public let name: String
        public let term: Int64
        public let sinceSeconds: Double

        public init(name: String, term: Int64, sinceSeconds: Double) {
            (self.name, self.term, self.sinceSeconds) = (name, term, sinceSeconds)
        }
    }

    /// Counts go no further; one that is this is this or more.
    public static let countMax = 10_000

    /// Nil when nobody holds the leader's lock at this moment.
    public var leader: Leader?
    /// Rows of the agenda; of those the ones whose time has come, how long the oldest has been due, and those that are held
    /// while their type rests.
    public var agenda = 0
    public var overdue = 0
    public var overdueSeconds = 0.0
    public var held = 0
    /// Jobs that were given up and are still listed.
    public var dead = 0
    /// Workers that have not gone.
    public var workers = 0
    /// Sessions in this database, and as many as the whole server takes.
    public var sessions = 0
    public var sessionsMax = 0

    public init() {}
}

extension FleetStore {
    /// Costs the same whatever is in the ledger.
    public func glance() async throws -> FleetGlance {
        let row = try await pool.execute(
            SQL.glance, [.int32(Self.leaderLockClass), .int64(Int64(FleetGlance.countMax))]
        ).only()
        func number(_ column: String) throws -> Int { Int(try row.get(column, as: Int64.self)) }
        var glance = FleetGlance()
        if try row.get("leads", as: Bool.self), let name = try row.get("name", as: String?.self) {
            glance.leader = .init(
                name: name, term: try row.get("term"), sinceSeconds: try row.get("since_seconds"))
        }
        (glance.agenda, glance.overdue) = (try number("agenda"), try number("overdue"))
        (glance.overdueSeconds, glance.held) = (try row.get("overdue_seconds"), try number("held"))
        (glance.dead, glance.workers) = (try number("dead"), try number("workers"))
        (glance.sessions, glance.sessionsMax) = (try number("sessions"), try number("sessions_max"))
        return glance
    }

    /// Has every worker report what it has done within a second, instead of with its next heartbeat.
    public func askForReports() async throws {
        _ = try await pool.execute(SQL.askReports, [.text(Self.reportChannel)])
    }
}
