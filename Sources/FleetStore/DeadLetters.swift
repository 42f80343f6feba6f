import FleetModel
import PostgresClient

/// Jobs that were given up for the same cause.
public struct DeadGroup: Sendable {
    /// Names the cause; made of the type, the error's code and its message without numbers and quoted text.
    public let fingerprint: String
    public let type: String
    /// The kind of the last error, such as "transient".
    public let kind: String
    public let code: String
    /// The latest message.
    public let message: String
    public let count: Int
    public let first: String
    public let last: String
}

/// A job that was given up, with its last error.
public struct DeadJob: Sendable {
    public let identity: JobIdentity
    public let type: String
    public let fingerprint: String
    public let kind: String
    public let code: String
    public let message: String
    public let attempt: Int
    public let worker: String
    public let at: String
    /// JSON text; with the members that were asked to be put in.
    public let payload: String
}

/// Which of the jobs that were given up.
public enum DeadSelection: Sendable {
    case group(String)
    /// In any subsystem when none is named.
    case job(key: String, subsystem: String?)

    fileprivate var arguments: [PostgresValue] {
        switch self {
        case .group(let fingerprint): [.text(fingerprint), .null, .null]
        case .job(let key, let subsystem): [.null, subsystem.map { .text($0) } ?? .null, .text(key)]
        }
    }
}

/// What became of a wish to have a discarded job run again.
public enum ReplayAnswer: Sendable, Equatable {
    case replayed
    /// It is not discarded, but in this state; it was left alone.
    case left(JobState)
    case unknown
}

extension FleetStore {
    /// Causes, the latest first.
    public func deadGroups(atMost limit: Int = 200) async throws -> [DeadGroup] {
        try await pool.execute(SQL.deadGroups, [.int32(Int32(limit))]).map { row in
            DeadGroup(
                fingerprint: try row.get("fingerprint"), type: try row.get("type"), kind: try row.get("kind"),
                code: try row.get("code"), message: try row.get("message"),
                count: Int(try row.get("jobs", as: Int64.self)),
                first: try row.get("first_at", as: PostgresTimestamp.self).iso8601,
                last: try row.get("last_at", as: PostgresTimestamp.self).iso8601)
        }
    }

    /// - Parameters:
    ///   - time: only those given up before it, so that a loop over them meets none twice.
    ///   - members: a JSON object whose members take the place of those of the payload.
    /// - Returns: oldest first.
    public func deadJobs(
        _ selection: DeadSelection, before time: PostgresTimestamp? = nil, settingMembers members: String? = nil,
        atMost limit: Int
    ) async throws -> [DeadJob] {
        try await pool.execute(
            SQL.deadJobs,
            selection.arguments + [
                time.map { .timestamp($0) } ?? .null, .int32(Int32(limit)), members.map { .text($0) } ?? .null,
            ]
        ).map { row in
            DeadJob(
                identity: JobIdentity(subsystem: try row.get("subsystem"), key: try row.get("key")),
                type: try row.get("type"), fingerprint: try row.get("fingerprint"), kind: try row.get("kind"),
                code: try row.get("code"), message: try row.get("message"),
                attempt: Int(try row.get("attempt", as: Int32.self)), worker: try row.get("worker"),
                at: try row.get("at", as: PostgresTimestamp.self).iso8601, payload: try row.get("payload"))
        }
    }

    /// Has discarded jobs run again, from their first attempt, under their own keys.
    ///
    /// - Parameter jobs: each with its new payload in canonical form, or nil for the one that it has.
    /// - Returns: an answer for each, in order.
    public func replay(_ jobs: [(identity: JobIdentity, payload: String?)]) async throws -> [ReplayAnswer] {
        if jobs.isEmpty { return [] }
        let rows = try await pool.execute(
            SQL.deadReplay,
            [
                .textArray(jobs.map { $0.identity.subsystem }), .textArray(jobs.map { $0.identity.key }),
                .textArray(jobs.map(\.payload)),
            ])
        var answers: [JobIdentity: ReplayAnswer] = [:]
        for row in rows {
            let word: String = try row.get(2)
            let answer: ReplayAnswer
            switch word {
            case "replayed": answer = .replayed
            case "unknown": answer = .unknown
            default:
                guard let state = JobState(rawValue: word) else { throw UnknownState(name: word) }
                answer = .left(state)
            }
            answers[JobIdentity(subsystem: try row.get(0), key: try row.get(1))] = answer
        }
        return jobs.map { answers[$0.identity] ?? .unknown }
    }

    /// Forgets that jobs were given up. They stay in the ledger, as discarded, until they age out.
    ///
    /// - Returns: how many.
    public func dropDead(_ selection: DeadSelection) async throws -> Int {
        try await pool.execute(SQL.deadDrop, selection.arguments).count
    }

    /// Names causes as those of jobs are named.
    public func fingerprints(_ causes: [(type: String, code: String, message: String)]) async throws -> [String] {
        if causes.isEmpty { return [] }
        return try await pool.execute(
            SQL.deadFingerprints,
            [
                .textArray(causes.map(\.type)), .textArray(causes.map(\.code)), .textArray(causes.map(\.message)),
            ]
        ).map { try $0.get(0, as: String.self) }
    }

    /// In which state jobs are; those that the ledger does not know are left out.
    public func states(of identities: [JobIdentity]) async throws -> [JobIdentity: JobState] {
        if identities.isEmpty { return [:] }
        var states: [JobIdentity: JobState] = [:]
        for row in try await pool.execute(
            SQL.jobStates, [.textArray(identities.map(\.subsystem)), .textArray(identities.map(\.key))])
        {
            let name: String = try row.get(2)
            guard let state = JobState(rawValue: name) else { throw UnknownState(name: name) }
            states[JobIdentity(subsystem: try row.get(0), key: try row.get(1))] = state
        }
        return states
    }

    /// The database's clock.
    public func now() async throws -> PostgresTimestamp { try await pool.execute(SQL.now).only().get(0) }
}
