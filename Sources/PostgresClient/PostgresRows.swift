import CPostgres
import Glibc

/// What one statement returned: rows, decoded only when asked for, and the number of rows it touched.
///
/// The values stay where libpq put them; nothing is copied until a `get`. Safe to hand to other tasks.
public struct PostgresRows: Sendable, RandomAccessCollection {
    let storage: ResultStorage
    /// Rows inserted, updated, deleted or selected.
    public let affectedRows: Int
    public let count: Int

    init(_ storage: ResultStorage) {
        self.storage = storage
        count = storage.rows
        affectedRows = storage.affectedRows
    }

    public var startIndex: Int { 0 }
    public var endIndex: Int { count }
    public subscript(index: Int) -> PostgresRow {
        precondition(index >= 0 && index < count, "row \(index) of \(count)")
        return PostgresRow(storage: storage, row: Int32(index))
    }

    public var columnNames: [String] { (0..<storage.columns).map { storage.columnName($0) } }

    /// The only row.
    /// - Throws: ``PostgresError/Kind/decoding`` unless there is exactly one.
    public func single() throws(PostgresError) -> PostgresRow {
        guard count == 1 else {
            throw PostgresError(
                kind: .decoding, message: "one row was expected and \(count) came", statement: storage.statement)
        }
        return self[0]
    }
}

/// One row of a ``PostgresRows``, which it keeps alive.
public struct PostgresRow: Sendable {
    let storage: ResultStorage
    let row: Int32

    /// The value of a column, counted from 0, as `T` or as what the context wants: `let id: Int64 = try row.get(0)`.
    ///
    /// Null needs an optional. Integers may be read as a wider type, and as a narrower one if the value fits.
    /// - Throws: ``PostgresError/Kind/decoding`` if the column is absent, null or of another type.
    public func get<T: PostgresDecodable>(_ column: Int, as type: T.Type = T.self) throws(PostgresError) -> T {
        guard column >= 0, column < storage.columns else {
            throw PostgresError(
                kind: .decoding, message: "column \(column) of \(storage.columns) was asked for",
                statement: storage.statement)
        }
        return try T.decode(storage.cell(row, Int32(column)))
    }

    /// The value of the first column of this name, exactly as the server spells it.
    public func get<T: PostgresDecodable>(_ name: String, as type: T.Type = T.self) throws(PostgresError) -> T {
        for column in 0..<storage.columns where storage.isNamed(column, name) { return try get(column) }
        throw PostgresError(kind: .decoding, message: "there is no column '\(name)'", statement: storage.statement)
    }
}

/// Owner of one `PGresult`.
///
/// `@unchecked`: libpq never changes a result once `PQgetResult` has returned it, this class only reads it, and clears
/// it when the last holder is gone.
final class ResultStorage: @unchecked Sendable {
    private let raw: OpaquePointer
    let rows: Int
    let columns: Int
    let affectedRows: Int
    let statement: String?

    init(owning raw: OpaquePointer, statement: String?) {
        self.raw = raw
        self.statement = statement
        rows = Int(PQntuples(raw))
        columns = Int(PQnfields(raw))
        affectedRows = PQcmdTuples(raw).map { Int(String(cString: $0)) ?? 0 } ?? 0
    }

    deinit { PQclear(raw) }

    /// The command's tag, such as `COMMIT`, or `ROLLBACK` for the commit of a failed transaction.
    var commandTag: String { PQcmdStatus(raw).map { String(cString: $0) } ?? "" }

    func columnName(_ column: Int) -> String { PQfname(raw, Int32(column)).map { String(cString: $0) } ?? "" }

    func isNamed(_ column: Int, _ name: String) -> Bool {
        guard let own = PQfname(raw, Int32(column)) else { return false }
        return name.withCString { strcmp(own, $0) == 0 }
    }

    func cell(_ row: Int32, _ column: Int32) -> PostgresCell {
        let type = PQftype(raw, column)
        guard PQgetisnull(raw, row, column) == 0, let value = PQgetvalue(raw, row, column) else {
            return PostgresCell(storage: self, type: type, column: column, bytes: nil)
        }
        let bytes = UnsafeRawBufferPointer(start: value, count: Int(PQgetlength(raw, row, column)))
        return PostgresCell(storage: self, type: type, column: column, bytes: bytes)
    }
}
