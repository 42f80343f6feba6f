import FleetModel
import PostgresClient

extension FleetStore {
    /// Writes down that a job's result is also to be sent to the waiter's queue, unless the job has ended already.
    ///
    /// - Returns: the state in which the job is; nil while the ledger does not know it. Unless that is final, the result
    ///   will be sent.
    public func wait(_ waiter: Waiter) async throws -> JobState? {
        if let state = try await note(waiter) { return state }
        // With no row to lock, the job could have been claimed and completed while that was written. Now that it stands
        // there, either the row is found, or the job's completion will find the waiter.
        return try await note(waiter)
    }

    /// Nobody waits there any more.
    public func unwait(_ waiter: Waiter) async throws {
        _ = try await pool.execute(SQL.unwait, Self.arguments(waiter))
    }

    private func note(_ waiter: Waiter) async throws -> JobState? {
        guard let row = try await pool.execute(SQL.wait, Self.arguments(waiter)).first else { return nil }
        let name: String = try row.get(0)
        guard let state = JobState(rawValue: name) else { throw UnknownState(name: name) }
        return state
    }

    private static func arguments(_ waiter: Waiter) -> [PostgresValue] {
        [
            .text(waiter.identity.subsystem), .text(waiter.identity.key),
            waiter.replyTo.map(PostgresValue.text) ?? .null,
            .text(waiter.correlationID),
        ]
    }
}
