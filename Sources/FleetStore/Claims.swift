import FleetModel
import PostgresClient

/// A worker's hold on its work: who it is, and in which life.
public struct WorkerEpoch: Sendable, Hashable, CustomStringConvertible {
    public let worker: Int64
    public let epoch: Int32

    public init(worker: Int64, epoch: Int32) {
        self.worker = worker
        self.epoch = epoch
    }

    public var description: String { "worker \(worker) epoch \(epoch)" }
}

/// One delivered job, as it goes into a claim.
public struct ClaimRequest: Sendable {
    public let job: Job
    /// The payload in canonical form.
    public let payload: String
    /// What the job's row shall say when this is its first claim.
    public let attemptsMax: Int
    /// Whether another may run the job again when its worker is lost half way.
    public let isRepeatable: Bool

    public init(job: Job, payload: String, attemptsMax: Int, isRepeatable: Bool = true) {
        self.job = job
        self.payload = payload
        self.attemptsMax = attemptsMax
        self.isRepeatable = isRepeatable
    }
}

/// What the ledger answered to a claim.
public enum ClaimAnswer: Sendable {
    /// This attempt owns the job.
    case claimed(Ownership)
    /// It is done; this is what is to be answered.
    case finished(JobResult)
    /// It ended by this very claim and does not run: it was called off, or its worker was lost and it must not be
    /// repeated, or it has taken down too many workers.
    case ended(JobResult)
    /// Another attempt owns it, or it waits for its next try. Whom to answer has been written down, and the agenda will
    /// deliver it again if need be: the delivery in hand may be acknowledged.
    case parked
    /// The key belongs to another job.
    case conflict(type: String)
    /// It became free between two statements: ask again.
    case again
    /// The epoch that asks has ended.
    case fenced
}

/// The proof that an attempt owns a job.
public struct Ownership: Sendable, Equatable {
    public let token: Int64
    public let attempt: Int
    public let attemptsMax: Int
    /// What is left of the job's deadline, when it has one. May be negative.
    public let remaining: Duration?
    /// Since the job's first claim, or since the time for which it was scheduled.
    public let age: Duration
    /// How many workers were lost while they ran it.
    public let crashes: Int

    /// After so many losses of its worker a job runs with nothing beside it.
    public static let crashesBeforeAlone = 2

    /// Whether this claim must run alone, so that a further loss accuses no other.
    public var isSuspect: Bool { crashes >= Self.crashesBeforeAlone }

    package init(
        token: Int64, attempt: Int, attemptsMax: Int, remaining: Duration?, age: Duration = .zero, crashes: Int = 0
    ) {
        self.token = token
        self.attempt = attempt
        self.attemptsMax = attemptsMax
        self.remaining = remaining
        self.age = age
        self.crashes = crashes
    }
}

extension FleetStore {
    /// How long a parked job's delivery is owed before it is published again: the longest that a lease can outlast its
    /// worker. A worker's noticed death makes it due at once.
    public static let recheckAfter: Duration = .seconds(30)

    /// Claims a batch in one round trip; a second one only when something was not claimed.
    ///
    /// - Parameter requests: jobs of pairwise different identity.
    /// - Returns: an answer for each, in the same order.
    /// - Throws: `PostgresError`; with `.outcomeUnknown` the same call may simply be made again.
    public func claim(_ requests: [ClaimRequest], by owner: WorkerEpoch) async throws -> [ClaimAnswer] {
        if requests.isEmpty { return [] }
        let rows = try await pool.execute(
            SQL.claim, [.int64(owner.worker), .int32(owner.epoch)] + Self.columns(requests))
        var answers = [ClaimAnswer?](repeating: nil, count: requests.count)
        let positions = Self.positions(of: requests)
        for row in rows {
            let identity = try JobIdentity(subsystem: row.get(0), key: row.get(1))
            guard let position = positions[identity] else { continue }
            let state = try row.get(6, as: String.self)
            if state != JobState.running.rawValue {
                guard let final = JobState(rawValue: state), final.isFinal else { throw UnknownState(name: state) }
                answers[position] = .ended(
                    JobResult(
                        identity: identity, type: requests[position].job.type.name, state: final,
                        attempt: Int(try row.get(2, as: Int32.self)),
                        finishedAt: try row.get(9, as: PostgresTimestamp.self).iso8601, output: nil,
                        error: try row.get(10)))
                continue
            }
            let remaining = try row.get(5, as: Int64?.self)
            answers[position] = .claimed(
                Ownership(
                    token: try row.get(4), attempt: Int(try row.get(2, as: Int32.self)),
                    attemptsMax: Int(try row.get(3, as: Int32.self)),
                    remaining: remaining.map { .milliseconds($0) },
                    age: .milliseconds(try row.get(7, as: Int64.self)),
                    crashes: Int(try row.get(8, as: Int16.self))))
        }
        let open = answers.indices.filter { answers[$0] == nil }
        if !open.isEmpty {
            for (position, answer) in try await classify(open.map { requests[$0] }, by: owner).enumerated() {
                answers[open[position]] = answer
            }
        }
        return answers.map { $0 ?? .again }
    }

    /// Says why jobs are not to be claimed, and parks those that are in flight. For jobs that are known to run: it claims
    /// nothing.
    public func classify(_ requests: [ClaimRequest], by owner: WorkerEpoch) async throws -> [ClaimAnswer] {
        if requests.isEmpty { return [] }
        let rows = try await pool.execute(
            SQL.classify,
            [
                .int64(owner.worker), .int32(owner.epoch),
                .textArray(requests.map { $0.job.type.subsystem }), .textArray(requests.map { $0.job.key }),
                .textArray(requests.map { $0.job.type.name }), .textArray(requests.map { $0.payload }),
                .textArray(requests.map { $0.job.replyTo }), .textArray(requests.map { $0.job.correlationID }),
                .int64(Self.recheckAfter.milliseconds),
            ])
        let positions = Self.positions(of: requests)
        var answers = [ClaimAnswer](repeating: .again, count: requests.count)
        for row in rows {
            let identity = try JobIdentity(subsystem: row.get(0), key: row.get(1))
            guard let position = positions[identity] else { continue }
            switch try row.get(2, as: String.self) {
            case "conflict": answers[position] = .conflict(type: try row.get(3))
            case "finished":
                let state = try row.get(4, as: String.self)
                guard let final = JobState(rawValue: state), final.isFinal else { throw UnknownState(name: state) }
                answers[position] = .finished(
                    JobResult(
                        identity: identity, type: try row.get(3), state: final,
                        attempt: Int(try row.get(5, as: Int32.self)),
                        finishedAt: try row.get(6, as: PostgresTimestamp.self).iso8601, output: try row.get(7),
                        error: final == .succeeded ? nil : try row.get(8)))
            case "running", "waiting": answers[position] = .parked
            case "fenced": answers[position] = .fenced
            default: answers[position] = .again
            }
        }
        return answers
    }

    private static func positions(of requests: [ClaimRequest]) -> [JobIdentity: Int] {
        var positions: [JobIdentity: Int] = [:]
        positions.reserveCapacity(requests.count)
        for (index, request) in requests.enumerated() {
            let previous = positions.updateValue(index, forKey: request.job.identity)
            precondition(previous == nil, "a batch names a job once: \(request.job.identity)")
        }
        return positions
    }

    /// An array for each column of a job, as claim.sql and hold.sql take them.
    static func columns(_ requests: [ClaimRequest]) -> [PostgresValue] {
        [
            .textArray(requests.map { $0.job.type.subsystem }), .textArray(requests.map { $0.job.key }),
            .textArray(requests.map { $0.job.type.name }), .textArray(requests.map { $0.payload }),
            .textArray(requests.map { $0.job.replyTo }), .textArray(requests.map { $0.job.correlationID }),
            .textArray(requests.map { $0.job.subject }), .textArray(requests.map { $0.job.traceparent }),
            .textArray(requests.map { $0.job.producer }), .int32Array(requests.map { Int32($0.attemptsMax) }),
            .int64Array(requests.map { $0.job.deadline?.milliseconds }), .boolArray(requests.map { $0.isRepeatable }),
            .textArray(requests.map { $0.job.backoff?.description }), .boolArray(requests.map { $0.job.isUrgent }),
        ]
    }
}

/// The ledger holds a state that this program does not know: it was written by a newer one.
public struct UnknownState: Error, Sendable, CustomStringConvertible {
    public let name: String
    public var description: String {
        "the ledger holds the unknown job state '\(name)'; this program is older than the schema, upgrade it"
    }
}
