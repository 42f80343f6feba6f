import PostgresClient
import Testing

@Suite("Types")
struct TypesTests {
    /// What comes back when `value` is sent as a parameter and selected.
    private func echo<T: PostgresDecodable>(_ pool: PostgresPool, _ value: PostgresValue, _ cast: String) async throws
        -> T
    {
        try await pool.execute(sql("select $1::\(cast) as v"), [value]).single().get("v")
    }

    @Test("Every scalar comes back as it went")
    func scalars() async throws {
        try await withPool(try sharedServerURL()) { pool in
            for value in [true, false] { #expect(try await echo(pool, .bool(value), "bool") == value) }
            for value in [Int16.min, -1, 0, .max] { #expect(try await echo(pool, .int16(value), "int2") == value) }
            for value in [Int32.min, -1, 0, .max] { #expect(try await echo(pool, .int32(value), "int4") == value) }
            for value in [Int64.min, -1, 0, .max] { #expect(try await echo(pool, .int64(value), "int8") == value) }
            for value in [0.0, -1.5, .infinity, .leastNonzeroMagnitude, .greatestFiniteMagnitude] {
                #expect(try await echo(pool, .double(value), "float8") == value)
            }
            let nan: Double = try await echo(pool, .double(.nan), "float8")
            #expect(nan.isNaN)
            for value in ["", "a", "Grüezi 世界 🐘\n\t\"'\\", String(repeating: "ß", count: 1 << 19)] {
                let back: String = try await echo(pool, .text(value), "text")
                #expect(back == value)
            }
            for value in [[], [0], [UInt8](0...255), [UInt8](repeating: 7, count: 1 << 20)] as [[UInt8]] {
                let back: [UInt8] = try await echo(pool, .bytes(value), "bytea")
                #expect(back == value)
            }
            let uuid = PostgresUUID(high: 0x0123_4567_89ab_cdef, low: 0xfedc_ba98_7654_3210)
            #expect(try await echo(pool, .uuid(uuid), "uuid") == uuid)
            #expect(try await echo(pool, .uuid(uuid), "text") == "01234567-89ab-cdef-fedc-ba9876543210")
            #expect(uuid.description == "01234567-89ab-cdef-fedc-ba9876543210")
        }
    }

    @Test("Null is nil, and needs an optional")
    func null() async throws {
        try await withPool(try sharedServerURL()) { pool in
            #expect(try await echo(pool, .null, "text") == String?.none)
            #expect(try await echo(pool, .null, "int8") == Int?.none)
            #expect(try await echo(pool, .null, "int4[]") == [Int32]?.none)
            #expect(try await echo(pool, .int64(5), "int8") == Int?.some(5))
            let error = try await failure { let _: String = try await echo(pool, .null, "text") }
            #expect(error.kind == .decoding)
            #expect(error.message.contains("'v' holds null"))
        }
    }

    @Test("Timestamps keep their microseconds, before 1970 and before 2000 too, and infinity")
    func timestamps() async throws {
        try await withPool(try sharedServerURL()) { pool in
            let cases: [(Int64, String)] = [
                (0, "1970-01-01T00:00:00.000000Z"), (-1, "1969-12-31T23:59:59.999999Z"),
                (951_826_496_000_789, "2000-02-29T12:14:56.000789Z"),
                (946_684_800_000_000, "2000-01-01T00:00:00.000000Z"),
                (-2_208_988_800_000_000, "1900-01-01T00:00:00.000000Z"),
                (4_102_444_799_123_456, "2099-12-31T23:59:59.123456Z"),
                (-62_135_596_800_000_000, "0001-01-01T00:00:00.000000Z"),
            ]
            for (microseconds, text) in cases {
                let value = PostgresTimestamp(microsecondsSinceUnixEpoch: microseconds)
                #expect(value.iso8601 == text)
                #expect(try await echo(pool, .timestamp(value), "timestamptz") == value)
                let formatted: String = try await pool.execute(
                    sql("select to_char($1 at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"),
                    [.timestamp(value)]
                ).single().get(0)
                #expect(formatted == text)
            }
            for value in [PostgresTimestamp.distantFuture, .distantPast] {
                #expect(try await echo(pool, .timestamp(value), "timestamptz") == value)
                #expect(try await echo(pool, .timestamp(value), "text") == value.iso8601)
            }
        }
    }

    @Test("Arrays come back as they went: empty, with nulls, with empty elements")
    func arrays() async throws {
        try await withPool(try sharedServerURL()) { pool in
            for value in [[], [nil], ["", "a", nil, "世界, \"{}\""]] as [[String?]] {
                #expect(try await echo(pool, .textArray(value), "text[]") == value)
            }
            for value in [[], [nil, .min, 0, .max]] as [[Int32?]] {
                #expect(try await echo(pool, .int32Array(value), "int4[]") == value)
            }
            for value in [[], [nil, .min, 0, .max]] as [[Int64?]] {
                #expect(try await echo(pool, .int64Array(value), "int8[]") == value)
            }
            for value in [[], [nil, true, false]] as [[Bool?]] {
                #expect(try await echo(pool, .boolArray(value), "bool[]") == value)
            }
            for value in [[], [nil, [], [0, 255]]] as [[[UInt8]?]] {
                #expect(try await echo(pool, .bytesArray(value), "bytea[]") == value)
            }
            for value in [[], [nil, 1.5, -.infinity]] as [[Double?]] {
                #expect(try await echo(pool, .doubleArray(value), "float8[]") == value)
            }
            let times: [PostgresTimestamp?] = [nil, PostgresTimestamp(microsecondsSinceUnixEpoch: -1), .distantFuture]
            #expect(try await echo(pool, .timestampArray(times), "timestamptz[]") == times)
            let uuids: [PostgresUUID?] = [nil, PostgresUUID(high: 1, low: 2)]
            #expect(try await echo(pool, .uuidArray(uuids), "uuid[]") == uuids)
            #expect(try await echo(pool, .int64Array([1, 2]), "int8[]") == [1, 2] as [Int])
            let error = try await failure { let _: [Int32] = try await echo(pool, .int32Array([1, nil]), "int4[]") }
            #expect(error.kind == .decoding)
            let length: Int = try await pool.execute(
                sql("select cardinality(array_agg(x)) from unnest($1::text[], $2::int4[]) as u(x, y)"),
                [.textArray(["a", nil, "c"]), .int32Array([1, 2, nil])]
            ).single().get(0)
            #expect(length == 3)
        }
    }

    @Test("JSON, numeric, enums, names and small numbers read as their neighbours")
    func relatives() async throws {
        try await withDatabase { pool, _ in
            try await pool.script("create type mood as enum ('glad', 'sad')")
            let row = try await pool.execute(
                sql(
                    """
                    select '{"a": 1}'::json, '{"a": 1}'::jsonb, 'glad'::mood, 'x'::name, 12.50::numeric, (-0.00012)::numeric,
                      100000000::numeric, 'NaN'::numeric, 1.5::float4, 7::oid, 0::numeric, 'ab '::char(3), 10000.0001::numeric
                    """)
            ).single()
            #expect(try row.get(0) == #"{"a": 1}"#)
            #expect(try row.get(1) == #"{"a": 1}"#)
            #expect(try row.get(1) == [UInt8](#"{"a": 1}"#.utf8))
            #expect(try row.get(2) == "glad")
            #expect(try row.get(3) == "x")
            #expect(try row.get(4) == "12.50")
            #expect(try row.get(4) == 12.5)
            #expect(try row.get(5) == "-0.00012")
            #expect(try row.get(6) == "100000000")
            #expect(try row.get(7, as: Double.self).isNaN)
            #expect(try row.get(8) == 1.5)
            #expect(try row.get(9) == 7)
            #expect(try row.get(10) == "0")
            #expect(try row.get(11) == "ab ")
            #expect(try row.get(12) == "10000.0001")
            let json: String = try await pool.execute(sql("select $1::jsonb"), [.text(#"{"b":2}"#)]).single().get(0)
            #expect(json == #"{"b": 2}"#)
        }
    }

    @Test("What does not fit is a typed error that names the column and the statement")
    func mismatches() async throws {
        try await withPool(try sharedServerURL()) { pool in
            let row = try await pool.execute(
                PostgresStatement(
                    name: "mixed", sql: "select 'a' as word, 70000::int4 as big, 1::int8 as one, '{1}'::int4[] as list")
            ).single()
            func problem<T: PostgresDecodable>(_ column: String, _: T.Type) -> PostgresError? {
                do throws(PostgresError) {
                    _ = try row.get(column, as: T.self)
                    return nil
                } catch { return error }
            }
            for error in [
                problem("word", Int.self), problem("big", Int16.self), problem("one", String.self),
                problem("one", Bool.self),
                problem("list", Int.self), problem("word", [String].self), problem("list", [String].self),
                problem("absent", Int.self),
                problem("one", Double.self), problem("one", PostgresTimestamp.self), problem("word", PostgresUUID.self),
            ] {
                #expect(error?.kind == .decoding)
                #expect(error?.statement == "mixed")
            }
            #expect(problem("big", Int16.self)?.message.contains("70000") == true)
            #expect(problem("word", Int.self)?.message.contains("'word'") == true)
            #expect(throws: PostgresError.self) { try row.get(4, as: Int.self) }
        }
    }

    @Test("Rows outlive everything they came from and can be read by other tasks")
    func lifetime() async throws {
        let rows = try await withPool(try sharedServerURL()) {
            try await $0.execute(sql("select g, repeat('x', g) from generate_series(1, 1000) g"))
        }
        let lengths = try await withThrowingTaskGroup(of: Int.self) { group in
            for row in rows {
                group.addTask { try row.get(1, as: String.self).utf8.count - (try row.get(0, as: Int.self)) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(lengths.count == 1000)
        #expect(lengths.allSatisfy { $0 == 0 })
        #expect(rows.affectedRows == 1000)
        #expect(rows.columnNames == ["g", "repeat"])
    }
}
