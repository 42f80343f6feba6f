import PostgresClient

/// How large the ledger is.
public struct LedgerSize: Sendable, Codable {
    public let jobs, tableBytes, indexBytes: Int
}

/// For `gaia bench`.
extension FleetStore {
    /// Puts finished jobs into the ledger, half of them a week old and more.
    ///
    /// - Parameter progress: told how many there are.
    package func fill(finished count: Int, progress: (Int) -> Void) async throws {
        let step = 100_000
        for start in stride(from: 1, through: count, by: step) {
            progress(start - 1)
            _ = try await pool.execute(SQL.fill, [.int64(Int64(start)), .int64(Int64(min(start + step - 1, count)))])
        }
        if count > 0 { try await pool.script("vacuum analyze gaia.job") }
    }

    package func ledgerSize() async throws -> LedgerSize {
        let row = try await pool.execute(SQL.ledgerSize).only()
        return LedgerSize(
            jobs: Int(try row.get("jobs", as: Int64.self)), tableBytes: Int(try row.get("table_bytes", as: Int64.self)),
            indexBytes: Int(try row.get("index_bytes", as: Int64.self)))
    }

    package func countJobs(keyPrefix: String) async throws -> Int {
        Int(try await pool.execute(SQL.countDone, [.text(keyPrefix)]).only().get(0, as: Int64.self))
    }
}
