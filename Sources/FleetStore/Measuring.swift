import FleetModel
import PostgresClient

/// How large the ledger is.
public struct LedgerSize: Sendable, Codable {
    public let jobs, tableBytes, indexBytes: Int
}

/// For `gaia bench`.
extension FleetStore {
    /// Puts finished jobs into the ledger, half of them a week old and more.
    ///
    /// - Parameters:
    ///   - first: how many it was filled with before.
    ///   - progress: told how many there are.
    package func fill(finished count: Int, after first: Int = 0, progress: (Int) -> Void) async throws {
        let step = 100_000
        for start in stride(from: first + 1, through: first + count, by: step) {
            progress(start - 1)
            let end = min(start + step - 1, first + count)
            _ = try await pool.execute(SQL.fill, [.int64(Int64(start)), .int64(Int64(end))])
        }
        if count > 0 { try await pool.script("vacuum analyze gaia.job") }
    }

    /// Enqueues no-op jobs by SQL in one transaction, under numbered keys.
    package func enqueueNoops(keys: String, _ numbers: Range<Int>) async throws {
        _ = try await pool.execute(
            PostgresStatement(
                name: "gaia-enqueue-noops",
                sql: """
                    select count(gaia.enqueue('\(NoopParameters.type)', '{}', $1 || n)) from generate_series($2, $3) n
                    """), [.text(keys), .int64(Int64(numbers.lowerBound)), .int64(Int64(numbers.upperBound - 1))])
    }

    /// Of the server, such as `15.14 (Debian 15.14-0+deb12u1)`.
    package func serverVersion() async throws -> String {
        try await pool.execute(PostgresStatement(name: "gaia-version", sql: "show server_version")).only().get(0)
    }

    package func ledgerSize() async throws -> LedgerSize {
        let row = try await pool.execute(SQL.ledgerSize).only()
        return LedgerSize(
            jobs: Int(try row.get("jobs", as: Int64.self)), tableBytes: Int(try row.get("table_bytes", as: Int64.self)),
            indexBytes: Int(try row.get("index_bytes", as: Int64.self)))
    }

    /// When the jobs ended that have succeeded and whose keys begin so: seconds since 1970, in order.
    package func endsOfJobs(keyPrefix: String) async throws -> [Double] {
        try await pool.execute(SQL.endsDone, [.text(keyPrefix)]).map { try $0.get(0) }
    }

    /// How many jobs have succeeded whose keys begin so.
    package func countJobs(keyPrefix: String) async throws -> Int {
        Int(try await pool.execute(SQL.countDone, [.text(keyPrefix)]).only().get(0, as: Int64.self))
    }
}

/// The statements of a job for a loop that does nothing else: the ledger's own, of no-op jobs, and what the least table that
/// could do would take. Each first one takes keys ($1) and returns them with their tokens, each second one takes keys and
/// tokens.
package struct FloorStatements: Sendable {
    package let claim, complete: String

    /// On a table with a key, a state and a token, which ``FleetStore/makeBareTable()`` makes.
    package static let bare = FloorStatements(
        claim: """
            insert into floor as f (key, state, token) select key, 'running', 1 from unnest($1::text[]) key order by key
            on conflict (key) do update set state = 'running', token = f.token + 1 where f.state <> 'succeeded'
            returning key, token
            """,
        complete: """
            update floor f set state = 'succeeded', finished_at = now()
            from unnest($1::text[], $2::int8[]) as o (key, token) where f.key = o.key and f.token = o.token returning 1
            """)
}

extension FleetStore {
    package func makeBareTable() async throws {
        try await pool.script(
            """
            create table if not exists floor (
                key text primary key, state text not null, token bigint not null, finished_at timestamptz
            ) with (fillfactor = 45)
            """)
    }

    /// - Returns: the ledger's statements, with a worker in them that is made for them and has its lease for a day, if no
    ///   dispatcher finds it dead.
    package func floorStatements() async throws -> FloorStatements {
        let worker = try await pool.execute(
            PostgresStatement(
                name: "gaia-floor",
                sql: """
                    insert into gaia.worker (name, host, process_id, version, subsystems, slots, lease_until)
                    values ('floor', 'floor', 1, 'floor', '{gaia}', 1, now() + interval '1 day') returning id, epoch
                    """)
        ).only()
        let type = NoopParameters.type.name
        func repeated(_ value: String) -> String { "array_fill(\(value), array[cardinality($1::text[])])" }
        let nothing = repeated("null::text")
        let claim = Self.filled(
            SQL.claim.sql,
            [
                "\(try worker.get("id", as: Int64.self))", "\(try worker.get("epoch", as: Int32.self))",
                repeated("'gaia'::text"), "$1::text[]", repeated("'\(type)'::text"), repeated("'{}'::text"), nothing,
                nothing, nothing, nothing, nothing, repeated("10::int4"), repeated("null::int8"), repeated("true"),
                nothing,
                repeated("false"),
            ])
        let complete = Self.filled(
            SQL.complete.sql,
            [
                repeated("'gaia'::text"), "$1::text[]", "$2::int8[]", repeated("'succeeded'::text"),
                repeated("'null'::text"), nothing, repeated("null::int8"), repeated("true"),
            ])
        return FloorStatements(claim: claim, complete: complete)
    }

    /// A statement with expressions in the place of its parameters and their casts.
    private static func filled(_ sql: String, _ expressions: [String]) -> String {
        var text = ""
        var rest = sql[...]
        while let dollar = rest.firstIndex(of: "$") {
            text += rest[..<dollar]
            rest = rest[rest.index(after: dollar)...]
            let digits = rest.prefix { $0.isNumber }
            guard let number = Int(digits), expressions.indices.contains(number - 1) else {
                text += "$"
                continue
            }
            rest = rest[digits.endIndex...]
            if rest.hasPrefix("::") {
                rest = rest.dropFirst(2).drop { $0.isLetter || $0.isNumber || $0 == "[" || $0 == "]" }
            }
            text += expressions[number - 1]
        }
        return text + rest
    }
}
