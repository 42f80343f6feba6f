import FleetModel
import FoundationEssentials
import PostgresClient

/// How a worker introduces itself.
public struct WorkerCard: Sendable {
    public let name: String
    public let host: String
    public let processID: Int32
    public let subsystems: [String]
    public let slots: Int

    public init(name: String, host: String, processID: Int32, subsystems: [String], slots: Int) {
        self.name = name
        self.host = host
        self.processID = processID
        self.subsystems = subsystems
        self.slots = slots
    }
}

/// What a worker does at the moment.
public struct WorkerLoad: Sendable {
    public struct Subsystem: Sendable, Equatable {
        public let name: String
        /// Jobs that have a slot, the slots that the subsystem has now, and jobs that were delivered and wait for one.
        public let busy, slots, waiting: Int
        /// What is amiss with what it holds, in words; so many are kept, and so many characters of each.
        public let notices: [String]
        /// What it holds, in as many characters; nil when there is nothing to say.
        public let holdings: String?
        /// What it has done so far; nil of a worker whose release does not tell.
        public let tally: WorkerTally?

        static let noticesMax = 10
        static let noticeCharactersMax = 200

        public init(
            name: String, busy: Int, slots: Int, waiting: Int, notices: [String] = [], holdings: String? = nil,
            tally: WorkerTally? = nil
        ) {
            (self.name, self.busy, self.slots, self.waiting) = (name, busy, slots, waiting)
            self.notices = notices.prefix(Self.noticesMax).map { String($0.prefix(Self.noticeCharactersMax)) }
            self.holdings = holdings.map { String($0.prefix(Self.noticeCharactersMax)) }
            self.tally = tally
        }
    }

    /// Jobs that it owns.
    public let busy: Int
    public let subsystems: [Subsystem]

    public init(busy: Int, subsystems: [Subsystem] = []) { (self.busy, self.subsystems) = (busy, subsystems) }

    /// A subsystem as it stands in the ledger. Workers of several releases run together: what one does not tell is absent.
    private struct Reported: Codable {
        var busy: Int?
        var slots: Int?
        var waiting: Int?
        var notices: [String]?
        var holdings: String?
        var tally: WorkerTally?
    }

    /// `{"api": {"busy": 3, "slots": 20, "waiting": 0, "notices": [], "tally": {…}}}`
    var document: String {
        get throws {
            let reported = Dictionary(
                subsystems.map {
                    (
                        $0.name,
                        Reported(
                            busy: $0.busy, slots: $0.slots, waiting: $0.waiting, notices: $0.notices,
                            holdings: $0.holdings, tally: $0.tally)
                    )
                }, uniquingKeysWith: { $1 })
            return String(decoding: try JSONEncoder().encode(reported), as: UTF8.self)
        }
    }

    /// Reads a ``document``.
    static func subsystems(_ document: String) throws -> [Subsystem] {
        try JSONDecoder().decode([String: Reported].self, from: Data(document.utf8)).sorted { $0.key < $1.key }.map {
            Subsystem(
                name: $0.key, busy: $0.value.busy ?? 0, slots: $0.value.slots ?? 0, waiting: $0.value.waiting ?? 0,
                notices: $0.value.notices ?? [], holdings: $0.value.holdings, tally: $0.value.tally)
        }
    }
}

/// A worker that should be alive and seems not to be.
public struct MissingWorker: Sendable, Hashable {
    public let owner: WorkerEpoch
    public let name: String
    /// Its lease has run out, so there is nothing left to wait for.
    public let expired: Bool
}

extension FleetStore {
    /// How long a lease lasts when it is not renewed.
    public static let leaseDefault: Duration = .seconds(30)

    public func register(_ card: WorkerCard, lease: Duration) async throws -> WorkerEpoch {
        let rows = try await pool.execute(
            SQL.registerWorker,
            [
                .text(card.name), .text(card.host), .int32(card.processID), .text(FleetModel.version),
                .textArray(card.subsystems), .int32(Int32(card.slots)), .int64(lease.milliseconds),
            ])
        let row = try rows.only()
        return WorkerEpoch(worker: try row.get(0), epoch: try row.get(1))
    }

    /// - Returns: false when the epoch has ended; whatever was claimed under it is no longer owned.
    public func renew(_ owner: WorkerEpoch, lease: Duration, load: WorkerLoad, draining: Bool) async throws -> Bool {
        let rows = try await pool.execute(
            SQL.renewWorker,
            [
                .int64(owner.worker), .int32(owner.epoch), .int64(lease.milliseconds), .int32(Int32(load.busy)),
                .text(draining ? "draining" : "live"), .text(try load.document),
            ])
        return !rows.isEmpty
    }

    public func beginEpoch(worker: Int64, lease: Duration) async throws -> WorkerEpoch {
        let rows = try await pool.execute(SQL.beginEpoch, [.int64(worker), .int64(lease.milliseconds)])
        return WorkerEpoch(worker: worker, epoch: try rows.only().get(0))
    }

    /// Gives the lease back after a drain.
    public func release(_ owner: WorkerEpoch) async throws {
        _ = try await pool.execute(SQL.releaseWorker, [.int64(owner.worker), .int32(owner.epoch)])
    }

    /// Takes the lock that tells the world this process lives, on the process's own session.
    ///
    /// - Returns: false when another session still holds it; it belongs to a connection of ours that the server has not
    ///   yet given up.
    public static func holdLiveness(of worker: Int64, on session: PostgresSession) async throws -> Bool {
        let rows = try await session.execute(
            SQL.holdLiveness, [.int32(livenessLockClass), .int32(Int32(truncatingIfNeeded: worker))])
        return try rows.only().get(0)
    }

    public func missingWorkers() async throws -> [MissingWorker] {
        try await pool.execute(SQL.missingWorkers, [.int32(Self.livenessLockClass)]).map { row in
            MissingWorker(
                owner: WorkerEpoch(worker: try row.get(0), epoch: try row.get(1)), name: try row.get(2),
                expired: try row.get(3))
        }
    }

    /// Ends the epoch of a worker that is still missing. Everything it owned may be claimed from now on.
    ///
    /// - Returns: whether it was ended.
    public func endEpoch(of owner: WorkerEpoch, term: Int64) async throws -> Bool {
        let rows = try await pool.execute(
            SQL.endEpoch,
            [.int64(owner.worker), .int32(owner.epoch), .int32(Self.livenessLockClass), .int64(term)])
        return !rows.isEmpty
    }

    /// Makes due what was parked on claims whose epoch has ended, however it ended.
    ///
    /// - Returns: how many deliveries are due by it.
    public func releaseOrphans(term: Int64) async throws -> Int {
        try await pool.execute(SQL.orphaned, [.int64(term)]).count
    }

    /// Tries to take the leader's lock on a dispatcher's own session.
    public static func takeLeadership(on session: PostgresSession) async throws -> Bool {
        try await session.execute(SQL.takeLeadership, [.int32(leaderLockClass)]).only().get(0)
    }

    /// Begins a term, on the session that has taken the lock: one that comes late, its session lost, comes to nothing.
    public static func beginTerm(name: String, on session: PostgresSession) async throws -> Int64 {
        try await session.execute(SQL.beginTerm, [.text(name)]).only().get(0)
    }

    /// The same without the lock, for tests.
    package func beginTerm(name: String) async throws -> Int64 {
        try await pool.withConnection { try await Self.beginTerm(name: name, on: $0) }
    }

    /// - Returns: false when the term is over.
    public func renewTerm(_ term: Int64) async throws -> Bool {
        try await !pool.execute(SQL.renewTerm, [.int64(term)]).isEmpty
    }

    /// Who holds the leader's lock, for a follower to see whether that one still does anything.
    ///
    /// - Returns: nil when nobody does.
    public static func leaderSign(on session: PostgresSession) async throws -> LeaderSign? {
        try await session.execute(SQL.watchLeader, [.int32(leaderLockClass)]).first.map { row in
            LeaderSign(session: try row.get(0), term: try row.get(1) ?? 0, renewedAt: try row.get(2) ?? "")
        }
    }

    /// Ends the session of a leader that hangs.
    ///
    /// - Returns: whether it was still there to be ended.
    public static func depose(_ leader: LeaderSign, on session: PostgresSession) async throws -> Bool {
        try await !session.execute(
            SQL.depose, [.int32(leaderLockClass), .int32(leader.session), .int64(leader.term)]
        ).isEmpty
    }
}

/// What a leader shows of itself. Two that are equal, seen some time apart, say that it has done nothing in between.
public struct LeaderSign: Sendable, Equatable {
    /// The server's process that holds its lock.
    public let session: Int32
    /// 0 before the first term.
    public let term: Int64
    /// When the term was last renewed, by the database's clock.
    public let renewedAt: String
}

extension PostgresRows {
    /// The one row that the statement is bound to return.
    func only() throws -> PostgresRow {
        guard let row = first, count == 1 else { throw UnexpectedRowCount(count: count) }
        return row
    }
}

/// A statement that returns exactly one row did not: schema and program do not fit together.
public struct UnexpectedRowCount: Error, Sendable, CustomStringConvertible {
    public let count: Int
    public var description: String {
        "the ledger answered with \(count) rows where it must be one; check that the schema is current: gaia migrate"
    }
}
