import PostgresClient

/// How long finished jobs are kept. As long as a job is, its key is known and a repeat gets its result; afterwards the
/// same key is a job of its own.
public struct Retention: Sendable, Equatable {
    /// Jobs that succeeded or were called off.
    public var succeededHours: Int
    /// Jobs that were given up; an operator may want to look at them.
    public var discardedHours: Int

    public init(succeededHours: Int = 7 * 24, discardedHours: Int = 30 * 24) {
        self.succeededHours = succeededHours
        self.discardedHours = discardedHours
    }
}

extension FleetStore {
    /// Removes what is too old from a stretch of the job table. Jobs that are indeterminate stay until an operator has
    /// decided over them.
    ///
    /// - Returns: how many jobs went, and how many pages the table has.
    public func retain(
        pages: Range<Int64>, _ retention: Retention, term: Int64
    ) async throws -> (removed: Int, pages: Int64) {
        let row = try await pool.execute(
            SQL.retain,
            [
                .int64(pages.lowerBound), .int64(pages.upperBound), .int32(Int32(retention.succeededHours)),
                .int32(Int32(retention.discardedHours)), .int64(term),
            ]
        ).only()
        return (Int(try row.get(0, as: Int64.self)), try row.get(1))
    }

    /// Removes workers, waiters and callings-off that are long over.
    public func retainRest(_ retention: Retention, term: Int64) async throws -> Int {
        let hours = max(retention.succeededHours, 7 * 24)
        return Int(
            try await pool.execute(SQL.retainRest, [.int32(Int32(hours)), .int64(term)]).only().get(0, as: Int64.self))
    }
}
