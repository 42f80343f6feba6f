/// A statement with a name under which each connection prepares it once.
///
/// The name is the caller's and is what errors and metrics speak of. The same name with another text is prepared anew.
public struct PostgresStatement: Sendable, Hashable {
    public let name: String
    /// One statement with `$1`, `$2`, … and no transaction control.
    public let sql: String

    public init(name: String, sql: String) {
        self.name = name
        self.sql = sql
    }
}

/// A `uuid` as two halves, most significant first.
public struct PostgresUUID: Sendable, Hashable, CustomStringConvertible {
    public var high: UInt64
    public var low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Lower case, with hyphens.
    public var description: String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(36)
        for index in 0..<16 {
            if index == 4 || index == 6 || index == 8 || index == 10 { text.append(UInt8(ascii: "-")) }
            let half = index < 8 ? high : low
            let byte = UInt8(truncatingIfNeeded: half >> UInt64((7 - index % 8) * 8))
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }
}

/// A parameter. It travels in binary under the type named here; SQL casts what should become another (`$1::jsonb`).
public enum PostgresValue: Sendable, Hashable {
    /// Null of whatever type the statement wants.
    case null
    case bool(Bool)
    case int16(Int16)
    case int32(Int32)
    case int64(Int64)
    case double(Double)
    /// `text`: must not contain U+0000, which PostgreSQL cannot store.
    case text(String)
    /// `bytea`.
    case bytes([UInt8])
    /// `timestamptz`.
    case timestamp(PostgresTimestamp)
    case uuid(PostgresUUID)
    case textArray([String?])
    case int32Array([Int32?])
    case int64Array([Int64?])
    case boolArray([Bool?])
    case bytesArray([[UInt8]?])
    case timestampArray([PostgresTimestamp?])
    case doubleArray([Double?])
    case uuidArray([PostgresUUID?])
}

/// Object identifiers of built-in types, from PostgreSQL's `pg_type.dat`.
enum TypeID {
    static let bool: UInt32 = 16
    static let bytea: UInt32 = 17
    static let char: UInt32 = 18
    static let name: UInt32 = 19
    static let int8: UInt32 = 20
    static let int2: UInt32 = 21
    static let int4: UInt32 = 23
    static let text: UInt32 = 25
    static let oid: UInt32 = 26
    static let json: UInt32 = 114
    static let xml: UInt32 = 142
    static let float4: UInt32 = 700
    static let float8: UInt32 = 701
    static let unknown: UInt32 = 705
    static let boolArray: UInt32 = 1000
    static let byteaArray: UInt32 = 1001
    static let int4Array: UInt32 = 1007
    static let textArray: UInt32 = 1009
    static let int8Array: UInt32 = 1016
    static let float8Array: UInt32 = 1022
    static let bpchar: UInt32 = 1042
    static let varchar: UInt32 = 1043
    static let timestamp: UInt32 = 1114
    static let timestamptz: UInt32 = 1184
    static let timestamptzArray: UInt32 = 1185
    static let numeric: UInt32 = 1700
    static let uuid: UInt32 = 2950
    static let uuidArray: UInt32 = 2951
    static let jsonb: UInt32 = 3802
    /// Types made by users start here: enums among them, whose binary form is their label.
    static let firstOfUsers: UInt32 = 16384
}
