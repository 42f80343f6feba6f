import FleetModel
import PostgresClient

/// A fleet worker's question for a lock. The request number is the worker's own and unique within its epoch: the same
/// question may be asked again when its answer was lost.
public struct LockQuestion: Sendable, Hashable {
    public let name: String
    public let request: Int64
    /// The job, for a person.
    public let holder: String
    /// How long the place in line is kept; zero to take the lock now or not at all.
    public let wait: Duration

    public init(name: String, request: Int64, holder: String, wait: Duration) {
        self.name = name
        self.request = request
        self.holder = holder
        self.wait = wait
    }
}

/// What a worker calls one of its acquisitions.
public struct LockRequest: Sendable, Hashable {
    public let name: String
    public let request: Int64

    public init(name: String, request: Int64) {
        self.name = name
        self.request = request
    }
}

/// How it stands with a request.
public enum LockAnswer: Sendable, Hashable {
    case held(token: Int64)
    /// In line.
    case waiting
    /// Another has it, and no wait was wanted.
    case refused
    /// As many wait for it as may.
    case crowded
    /// Another transaction keeps the name busy: ask again.
    case busy
    /// The epoch that asks has ended.
    case fenced
    /// Neither held nor in line: the wait is over, or it was taken away.
    case gone
}

/// What became of a request that was given up.
public enum LockLeaving: Sendable, Hashable {
    case left
    /// The lock went to another request of the same worker.
    case passed(request: Int64, token: Int64)
    /// Another transaction keeps the name busy: ask again.
    case busy
}

/// One lock as `gaia lock list` presents it.
public struct LockRecord: Sendable, Hashable {
    public let name: String
    public let token: Int64
    /// The job, or the service.
    public let holder: String
    /// Nil for a holder that is no fleet worker.
    public let worker: String?
    public let acquiredAt: String
    /// When the holder's own lease, or that of its worker, ends unless it is renewed.
    public let until: String?
    /// Whether the holder still is one.
    public let isLive: Bool
    public let waiters: Int
}

/// What an operator has taken away.
public struct TakenLock: Sendable, Hashable {
    public let token: Int64
    public let holder: String
    public let worker: String?
    public let acquiredAt: String
    /// Who has the lock now.
    public let heir: String?
    public let heirToken: Int64?
}

// MARK: Fleet workers

extension FleetStore {
    /// The channel on which a worker hears that a request of its own has its turn; the payload is the request's number.
    public static func lockChannel(of worker: Int64) -> String { "gaia_lock_\(worker)" }

    /// Asks for locks in one round trip.
    ///
    /// - Parameter questions: pairwise different requests; a name may occur in several.
    /// - Returns: an answer for each, in the same order.
    /// - Throws: `PostgresError`; with `.outcomeUnknown` the same call may simply be made again.
    public func enterLocks(_ questions: [LockQuestion], by owner: WorkerEpoch) async throws -> [LockAnswer] {
        if questions.isEmpty { return [] }
        let rows = try await pool.execute(
            SQL.lockEnter,
            [
                .int64(owner.worker), .int32(owner.epoch), .textArray(questions.map { $0.name }),
                .int64Array(questions.map { $0.request }), .textArray(questions.map { $0.holder }),
                .int64Array(questions.map { $0.wait.milliseconds }),
            ])
        let answers = try Self.answers(rows)
        return questions.map { answers[$0.request] ?? .busy }
    }

    /// Looks how it stands with requests, and passes on locks whose holders are gone.
    ///
    /// - Returns: held, waiting or gone for each, in the same order.
    public func lookAtLocks(_ requests: [LockRequest], by owner: WorkerEpoch) async throws -> [LockAnswer] {
        if requests.isEmpty { return [] }
        let answers = try Self.answers(try await pool.execute(SQL.lockLook, Self.arguments(requests, owner)))
        return requests.map { answers[$0.request] ?? .gone }
    }

    /// Gives up requests, whether they hold their lock or wait for it. The next in line has the lock by the same commit.
    ///
    /// - Returns: an answer for each, in the same order.
    public func leaveLocks(_ requests: [LockRequest], by owner: WorkerEpoch) async throws -> [LockLeaving] {
        if requests.isEmpty { return [] }
        var answers: [Int64: LockLeaving] = [:]
        for row in try await pool.execute(SQL.lockLeave, Self.arguments(requests, owner)) {
            let answer: LockLeaving
            if try row.get(1, as: String.self) == "busy" {
                answer = .busy
            } else if let heir = try row.get(2, as: Int64?.self) {
                answer = .passed(request: heir, token: try row.get(3))
            } else {
                answer = .left
            }
            answers[try row.get(0)] = answer
        }
        return requests.map { answers[$0.request] ?? .busy }
    }

    private static func arguments(_ requests: [LockRequest], _ owner: WorkerEpoch) -> [PostgresValue] {
        [
            .int64(owner.worker), .int32(owner.epoch), .textArray(requests.map { $0.name }),
            .int64Array(requests.map { $0.request }),
        ]
    }

    private static func answers(_ rows: PostgresRows) throws -> [Int64: LockAnswer] {
        var answers: [Int64: LockAnswer] = [:]
        for row in rows {
            let name: String = try row.get(1)
            let answer: LockAnswer
            switch name {
            case "held": answer = .held(token: try row.get(2))
            case "waiting": answer = .waiting
            case "refused": answer = .refused
            case "crowded": answer = .crowded
            case "busy": answer = .busy
            case "fenced": answer = .fenced
            case "gone": answer = .gone
            default: throw UnknownLockAnswer(name: name)
            }
            answers[try row.get(0)] = answer
        }
        return answers
    }
}

/// The database answers what this program does not know: its functions are newer.
public struct UnknownLockAnswer: Error, Sendable, CustomStringConvertible {
    public let name: String
    public var description: String {
        "the database gives the unknown answer '\(name)' about a lock; this program is older than the schema, upgrade it"
    }
}

// MARK: Any other holder

extension FleetStore {
    /// The SQLSTATE of a token that is stale.
    public static let staleTokenState = "LK001"

    /// Takes a lock if it is free, for a holder with a lease of its own: a process that is no fleet worker.
    ///
    /// - Parameter lease: 100 ms to a day.
    /// - Returns: its token; nil when another has it or waits for it.
    public func tryLock(_ name: String, holder: String, lease: Duration) async throws -> Int64? {
        try await pool.execute(SQL.lockTry, [.text(name), .text(holder), .int64(lease.milliseconds)]).only().get(0)
    }

    /// Gets in line for a lock.
    ///
    /// - Parameters:
    ///   - lease: how long it is held once it has its turn, 100 ms to a day.
    ///   - wait: how long the place is kept, 100 ms to a day.
    /// - Returns: the number drawn, to be asked about with ``hasTurn(_:number:)``; it becomes the token.
    public func queueForLock(_ name: String, holder: String, lease: Duration, wait: Duration) async throws -> Int64 {
        try await pool.execute(
            SQL.lockQueue,
            [.text(name), .text(holder), .int64(lease.milliseconds), .int64(wait.milliseconds)]
        ).only().get(0)
    }

    /// Whether the lock is held under a number drawn.
    ///
    /// - Throws: `PostgresError` with SQLSTATE `LK001` when the number is no longer in line.
    public func hasTurn(_ name: String, number: Int64) async throws -> Bool {
        try await pool.execute(SQL.lockTurn, [.text(name), .int64(number)]).only().get(0)
    }

    /// Holds on for another lease from now.
    ///
    /// - Returns: false when the lock is no longer held under this token.
    public func renewLock(_ name: String, token: Int64, lease: Duration) async throws -> Bool {
        try await pool.execute(SQL.lockRenew, [.text(name), .int64(token), .int64(lease.milliseconds)]).only().get(0)
    }

    /// Gives a lock, or a place in line, back.
    ///
    /// - Returns: false when there was nothing under this token.
    @discardableResult
    public func unlock(_ name: String, token: Int64) async throws -> Bool {
        try await pool.execute(SQL.lockRelease, [.text(name), .int64(token)]).only().get(0)
    }

    /// Guards the transaction of `session`: until it ends nobody else can get the lock.
    ///
    /// - Throws: `PostgresError` with SQLSTATE `LK001` when the lock is not held under this token.
    public static func checkLock(_ name: String, token: Int64, on session: PostgresSession) async throws {
        try await session.execute(SQL.lockCheck, [.text(name), .int64(token)])
    }
}

// MARK: Operators

extension FleetStore {
    /// The most locks that are listed.
    public static let locksListedMax = 10_000

    /// The locks that are held, by name; those of dead holders too, until they are taken over.
    public func locks(named name: String? = nil) async throws -> [LockRecord] {
        try await pool.execute(
            SQL.lockList, [name.map { .text($0) } ?? .null, .int64(Int64(Self.locksListedMax))]
        ).map { row in
            LockRecord(
                name: try row.get("name"), token: try row.get("token"), holder: try row.get("holder"),
                worker: try row.get("worker"),
                acquiredAt: try row.get("acquired_at", as: PostgresTimestamp.self).iso8601,
                until: try row.get("until", as: PostgresTimestamp?.self)?.iso8601, isLive: try row.get("live"),
                waiters: Int(try row.get("waiters", as: Int64.self)))
        }
    }

    /// Takes a lock away from whoever holds it. Waits for a guarded write that is under way.
    ///
    /// - Parameter token: only if it is held under this token; whatever is held when nil.
    /// - Returns: what was taken; nil when nothing was.
    public func forceLock(_ name: String, token: Int64? = nil) async throws -> TakenLock? {
        let rows = try await pool.execute(SQL.lockForce, [.text(name), token.map { .int64($0) } ?? .null])
        return try rows.first.map { row in
            TakenLock(
                token: try row.get("token"), holder: try row.get("holder"), worker: try row.get("worker"),
                acquiredAt: try row.get("acquired_at", as: PostgresTimestamp.self).iso8601,
                heir: try row.get("heir_holder"), heirToken: try row.get("heir_token"))
        }
    }
}
