import FleetModel
import FoundationEssentials
import PostgresClient

/// One job as `gaia job show` presents it.
public struct JobRecord: Sendable {
    public let identity: JobIdentity
    public let type: String
    public let state: String
    public let attempt: Int
    public let attemptsMax: Int
    public let token: Int64
    public let worker: String?
    public let payload: String
    public let replyTo: String?
    public let correlationID: String?
    public let subject: String?
    public let producer: String?
    public let createdAt: String
    public let notBefore: String?
    public let deadlineAt: String?
    public let claimedAt: String?
    public let finishedAt: String?
    public let output: String?
    /// JSON text: an array of errors, oldest first.
    public let errors: String
    /// JSON text: how far its handler said it is, and when.
    public let progress: String?
    /// How many workers were lost while they ran it.
    public let crashes: Int
    /// The producer's own backoff.
    public let backoff: String?
    public let isUrgent: Bool
}

/// One worker as `gaia status` presents it.
public struct WorkerRecord: Sendable {
    public let id: Int64
    public let name: String
    public let host: String
    public let processID: Int32
    public let version: String
    public let state: String
    public let subsystems: [String]
    public let slots: Int
    public let busy: Int
    public let epoch: Int32
    /// What is left of its lease; negative when it has run out.
    public let leaseMilliseconds: Int64
    /// How long a lease of its lasts when it is not renewed.
    public let leaseWholeMilliseconds: Int64
    /// When its process started, when it last renewed its lease and reported, and when this was read: seconds since 1970 by
    /// the database's clock.
    public let started, reported, now: Double
    /// How long ago it was taken for dead, in seconds; nil of one that lives or has drained.
    public let lostSeconds: Double?
    /// By subsystem, sorted by name.
    public let load: [WorkerLoad.Subsystem]

    public init(
        id: Int64, name: String, host: String, processID: Int32, version: String, state: String, subsystems: [String],
        slots: Int, busy: Int, epoch: Int32, leaseMilliseconds: Int64, leaseWholeMilliseconds: Int64, started: Double,
        reported: Double, now: Double, lostSeconds: Double? = nil, load: [WorkerLoad.Subsystem]
    ) {
        (self.id, self.name, self.host, self.processID, self.version) = (id, name, host, processID, version)
        (self.state, self.subsystems, self.slots, self.busy, self.epoch) = (state, subsystems, slots, busy, epoch)
        (self.leaseMilliseconds, self.leaseWholeMilliseconds) = (leaseMilliseconds, leaseWholeMilliseconds)
        (self.started, self.reported, self.now) = (started, reported, now)
        (self.lostSeconds, self.load) = (lostSeconds, load)
    }
}

/// Who leads the dispatchers, and what the agenda holds.
public struct LeaderRecord: Sendable {
    public let term: Int64
    public let name: String
    public let since: String
    /// Whether the lock is held at this moment.
    public let leads: Bool
    public let agenda: Int
    public let overdue: Int
}

extension FleetStore {
    /// Jobs with this key; in one subsystem, or in all when none is named (a key may be used in several).
    public func job(_ key: String, subsystem: String?) async throws -> [JobRecord] {
        let rows = try await pool.execute(SQL.jobShow, [subsystem.map { .text($0) } ?? .null, .text(key)])
        func time(_ row: PostgresRow, _ column: String) throws -> String? {
            try row.get(column, as: PostgresTimestamp?.self)?.iso8601
        }
        return try rows.map { row in
            let worker = try row.get("worker", as: Int64?.self)
            let workerName = try row.get("worker_name", as: String?.self)
            return JobRecord(
                identity: JobIdentity(subsystem: try row.get("subsystem"), key: try row.get("key")),
                type: try row.get("type"), state: try row.get("state"),
                attempt: Int(try row.get("attempt", as: Int32.self)),
                attemptsMax: Int(try row.get("attempts_max", as: Int32.self)), token: try row.get("token"),
                worker: workerName ?? worker.map { "#\($0)" }, payload: try row.get("payload"),
                replyTo: try row.get("reply_to"), correlationID: try row.get("correlation_id"),
                subject: try row.get("subject"), producer: try row.get("producer"),
                createdAt: try row.get("created_at", as: PostgresTimestamp.self).iso8601,
                notBefore: try time(row, "not_before"), deadlineAt: try time(row, "deadline_at"),
                claimedAt: try time(row, "claimed_at"), finishedAt: try time(row, "finished_at"),
                output: try row.get("output"), errors: try row.get("errors"),
                progress: try row.get("progress"), crashes: Int(try row.get("crashes", as: Int16.self)),
                backoff: try row.get("backoff"), isUrgent: try row.get("urgent"))
        }
    }

    /// Jobs by subsystem and state.
    public func jobCounts() async throws -> [(subsystem: String, state: String, jobs: Int)] {
        try await pool.execute(SQL.statusJobs).map { row in
            (try row.get(0), try row.get(1), Int(try row.get(2, as: Int64.self)))
        }
    }

    /// Jobs of one subsystem by state, and how many attempts beyond the first they took.
    public func counts(subsystem: String) async throws -> [JobState: (jobs: Int, retries: Int)] {
        var counts: [JobState: (jobs: Int, retries: Int)] = [:]
        for row in try await pool.execute(SQL.counts, [.text(subsystem)]) {
            let name: String = try row.get(0)
            guard let state = JobState(rawValue: name) else { throw UnknownState(name: name) }
            counts[state] = (Int(try row.get(1, as: Int64.self)), Int(try row.get(2, as: Int64.self)))
        }
        return counts
    }

    /// How many workers ``workers()`` tells of.
    public static let workersMax = 1_000

    /// Those that hold a lease, then those that held one in the last hour; ``workersMax`` at most.
    public func workers() async throws -> [WorkerRecord] {
        return try await pool.execute(SQL.statusWorkers, [.int64(Int64(Self.workersMax))]).map { row in
            WorkerRecord(
                id: try row.get("id"), name: try row.get("name"), host: try row.get("host"),
                processID: try row.get("process_id"), version: try row.get("version"), state: try row.get("state"),
                subsystems: try row.get("subsystems"), slots: Int(try row.get("slots", as: Int32.self)),
                busy: Int(try row.get("busy", as: Int32.self)), epoch: try row.get("epoch"),
                leaseMilliseconds: try row.get("lease_ms"), leaseWholeMilliseconds: try row.get("lease_whole_ms"),
                started: try row.get("started"), reported: try row.get("reported"), now: try row.get("now"),
                lostSeconds: try row.get("lost_seconds"),
                load: try WorkerLoad.subsystems(row.get("load")))
        }
    }

    /// Nil when no dispatcher has ever led.
    public func leader() async throws -> LeaderRecord? {
        try await pool.execute(SQL.statusLeader, [.int32(Self.leaderLockClass)]).first.map { row in
            LeaderRecord(
                term: try row.get("term"), name: try row.get("name"),
                since: try row.get("since", as: PostgresTimestamp.self).iso8601, leads: try row.get("leads"),
                agenda: Int(try row.get("agenda", as: Int64.self)),
                overdue: Int(try row.get("overdue", as: Int64.self)))
        }
    }
}
