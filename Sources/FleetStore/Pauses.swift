import FleetModel
import PostgresClient

/// What rests at the moment: types, subsystems, or the whole fleet.
public struct Pauses: Sendable, Equatable {
    /// The name of the fleet as a whole.
    public static let fleet = "*"

    private let scopes: Set<String>

    public init(_ scopes: some Sequence<String> = []) { self.scopes = Set(scopes) }

    /// Whether nothing of a subsystem's queues is to be taken.
    public func rests(subsystem: String) -> Bool { scopes.contains(Self.fleet) || scopes.contains(subsystem) }

    /// Whether jobs of this type are to be held, which come through a queue that is consumed.
    public func rests(type: JobType) -> Bool { scopes.contains(type.name) }
}

/// One pause, as `gaia pause` lists it.
public struct PauseRecord: Sendable {
    public let scope: String
    public let reason: String
    public let since: String

    public init(scope: String, reason: String, since: String) {
        (self.scope, self.reason, self.since) = (scope, reason, since)
    }
}

extension FleetStore {
    /// Lets a type, a subsystem or the fleet rest until it is resumed, whatever is restarted meanwhile. What runs goes on
    /// to its end.
    ///
    /// - Returns: false when it rested already.
    public func pause(_ scope: String, reason: String) async throws -> Bool {
        try await pool.execute(SQL.pause, [.text(scope), .text(reason)]).only().get(0, as: Int64.self) > 0
    }

    /// - Returns: false when it did not rest.
    public func resume(_ scope: String) async throws -> Bool {
        try await pool.execute(SQL.resume, [.text(scope)]).only().get(0, as: Int64.self) > 0
    }

    public func pauses() async throws -> [PauseRecord] {
        try await pool.execute(SQL.pauseList).map { row in
            PauseRecord(
                scope: try row.get(0), reason: try row.get(1),
                since: try row.get(2, as: PostgresTimestamp.self).iso8601)
        }
    }

    /// Writes down jobs that have arrived and are not to run now, so that their deliveries may be acknowledged.
    ///
    /// - Parameter requests: jobs of pairwise different identity.
    /// - Returns: those that are held. Of the others one runs, is finished, or is another job under the same key.
    public func hold(_ requests: [ClaimRequest]) async throws -> Set<JobIdentity> {
        if requests.isEmpty { return [] }
        let rows = try await pool.execute(SQL.hold, Self.columns(requests))
        return Set(try rows.map { JobIdentity(subsystem: try $0.get(0), key: try $0.get(1)) })
    }

    /// Makes due what was held and need not be any more.
    ///
    /// - Returns: how many.
    public func releaseHeld(term: Int64, atMost limit: Int) async throws -> Int {
        try await pool.execute(SQL.releaseHeld, [.int64(term), .int32(Int32(limit))]).count
    }
}
