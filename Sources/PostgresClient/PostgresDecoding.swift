/// What a column can be read as.
public protocol PostgresDecodable: Sendable {
    static func decode(_ cell: PostgresCell) throws(PostgresError) -> Self
    /// An array of `Self`; a type may have a form of its own for it, as `UInt8` has `bytea`.
    static func decodeArray(_ cell: PostgresCell) throws(PostgresError) -> [Self]
}

extension PostgresDecodable {
    public static func decodeArray(_ cell: PostgresCell) throws(PostgresError) -> [Self] {
        try cell.elements { (element) throws(PostgresError) in try Self.decode(element) }
    }
}

/// One value as it came: its type and its bytes, or null. It keeps the result it lies in alive.
public struct PostgresCell {
    let storage: ResultStorage
    /// The type's object identifier in `pg_type`.
    public let type: UInt32
    let column: Int32
    /// Lies inside `storage`.
    let bytes: UnsafeRawBufferPointer?

    public var isNull: Bool { bytes == nil }

    /// The bytes in PostgreSQL's binary form of ``type``, valid inside `body` only.
    public func withBytes<R>(_ body: (UnsafeRawBufferPointer?) throws(PostgresError) -> R) throws(PostgresError) -> R {
        defer { withExtendedLifetime(storage) {} }
        return try body(bytes)
    }

    public func mismatch(_ wanted: String) -> PostgresError {
        let name = storage.columnName(Int(column))
        let what = bytes == nil ? "null" : "type \(typeName) (oid \(type), \(bytes?.count ?? 0) bytes)"
        return PostgresError(
            kind: .decoding, message: "column '\(name)' holds \(what) and was read as \(wanted)",
            statement: storage.statement)
    }

    private var typeName: String {
        switch type {
        case TypeID.bool: "bool"
        case TypeID.bytea: "bytea"
        case TypeID.int2: "int2"
        case TypeID.int4: "int4"
        case TypeID.int8: "int8"
        case TypeID.text: "text"
        case TypeID.varchar: "varchar"
        case TypeID.float4: "float4"
        case TypeID.float8: "float8"
        case TypeID.numeric: "numeric"
        case TypeID.timestamp: "timestamp"
        case TypeID.timestamptz: "timestamptz"
        case TypeID.uuid: "uuid"
        case TypeID.json: "json"
        case TypeID.jsonb: "jsonb"
        default: "another"
        }
    }

    func number<Number: FixedWidthInteger>(_: Number.Type, at offset: Int = 0) -> Number? {
        guard let bytes, offset >= 0, bytes.count - offset >= MemoryLayout<Number>.size else { return nil }
        return Number(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Number.self))
    }

    /// A whole number of the column's own width.
    func integer<Number: FixedWidthInteger>(as _: Number.Type) throws(PostgresError) -> Number {
        let value: Int64?
        switch (type, bytes?.count) {
        case (TypeID.int8, 8): value = number(Int64.self)
        case (TypeID.int4, 4): value = number(Int32.self).map(Int64.init)
        case (TypeID.int2, 2): value = number(Int16.self).map(Int64.init)
        case (TypeID.oid, 4): value = number(UInt32.self).map(Int64.init)
        default: value = nil
        }
        guard let value else { throw mismatch("\(Number.self)") }
        guard let fitting = Number(exactly: value) else {
            throw PostgresError(
                kind: .decoding,
                message: "column '\(storage.columnName(Int(column)))' holds \(value), too large for \(Number.self)",
                statement: storage.statement)
        }
        return fitting
    }

    /// The bytes of what is text in binary form too.
    func textBytes() -> UnsafeRawBufferPointer? {
        guard let bytes else { return nil }
        switch type {
        case TypeID.text, TypeID.varchar, TypeID.bpchar, TypeID.name, TypeID.json, TypeID.xml, TypeID.unknown,
            TypeID.char:
            return bytes
        case TypeID.jsonb:
            // A version number comes first; 1 is the only one there is.
            guard bytes.first == 1 else { return nil }
            return UnsafeRawBufferPointer(rebasing: bytes.dropFirst())
        case TypeID.firstOfUsers...: return bytes
        default: return nil
        }
    }

    func elements<T>(_ decode: (PostgresCell) throws(PostgresError) -> T) throws(PostgresError) -> [T] {
        defer { withExtendedLifetime(storage) {} }
        guard let bytes, let dimensions = number(Int32.self), let elementType = number(UInt32.self, at: 8),
            dimensions <= 1, dimensions >= 0, type < TypeID.firstOfUsers ? Self.arrayTypes.contains(type) : true
        else { throw mismatch("an array of \(T.self)") }
        if dimensions == 0 { return [] }
        guard let count = number(Int32.self, at: 12), count >= 0, Int(count) <= bytes.count / 4 else {
            throw mismatch("an array of \(T.self)")
        }
        var array: [T] = []
        array.reserveCapacity(Int(count))
        var offset = 20
        for _ in 0..<count {
            guard let length = number(Int32.self, at: offset) else { throw mismatch("an array of \(T.self)") }
            offset += 4
            var element: UnsafeRawBufferPointer?
            if length >= 0 {
                guard offset + Int(length) <= bytes.count else { throw mismatch("an array of \(T.self)") }
                element = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + Int(length)])
                offset += Int(length)
            }
            array.append(try decode(PostgresCell(storage: storage, type: elementType, column: column, bytes: element)))
        }
        return array
    }

    /// Arrays of the built-in types that can be read.
    private static let arrayTypes: Set<UInt32> = [
        199, 1000, 1001, 1002, 1003, 1005, 1007, 1009, 1014, 1015, 1016, 1021, 1022, 1028, 1115, 1185, 1231, 2951, 3807,
    ]
}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
    public static func decode(_ cell: PostgresCell) throws(PostgresError) -> Self {
        cell.isNull ? nil : try Wrapped.decode(cell)
    }
}

extension Array: PostgresDecodable where Element: PostgresDecodable {
    public static func decode(_ cell: PostgresCell) throws(PostgresError) -> Self { try Element.decodeArray(cell) }
}

extension Bool: PostgresDecodable {
    public static func decode(_ cell: PostgresCell) throws(PostgresError) -> Bool {
        guard cell.type == TypeID.bool, let byte = cell.number(UInt8.self) else { throw cell.mismatch("Bool") }
        return byte != 0
    }
}

extension Int: PostgresDecodable {
    public static func decode(_ cell: PostgresCell) throws(PostgresError) -> Int { try cell.integer(as: Int.self) }
}
extension Int16: PostgresDecodable {
    public static func decode(_ cell: PostgresCell) throws(PostgresError) -> Int16 { try cell.integer(as: Int16.self) }
}
extension Int32: PostgresDecodable {
    public static func decode(_ cell: PostgresCell) throws(PostgresError) -> Int32 { try cell.integer(as: Int32.self) }
}
extension Int64: PostgresDecodable {
    public static func decode(_ cell: PostgresCell) throws(PostgresError) -> Int64 { try cell.integer(as: Int64.self) }
}

extension UInt8: PostgresDecodable {
    public static func decode(_ cell: PostgresCell) throws(PostgresError) -> UInt8 { try cell.integer(as: UInt8.self) }

    /// `bytea`, and the UTF-8 bytes of text, `json` and `jsonb`, for those who parse bytes anyway.
    public static func decodeArray(_ cell: PostgresCell) throws(PostgresError) -> [UInt8] {
        defer { withExtendedLifetime(cell.storage) {} }
        if cell.type == TypeID.bytea, let bytes = cell.bytes { return Array(bytes) }
        guard let bytes = cell.textBytes() else { throw cell.mismatch("[UInt8]") }
        return Array(bytes)
    }
}

extension Double: PostgresDecodable {
    /// `float8`, `float4` and `numeric`, the last to the nearest double.
    public static func decode(_ cell: PostgresCell) throws(PostgresError) -> Double {
        switch cell.type {
        case TypeID.float8: if let bits = cell.number(UInt64.self) { return Double(bitPattern: bits) }
        case TypeID.float4: if let bits = cell.number(UInt32.self) { return Double(Float(bitPattern: bits)) }
        case TypeID.numeric: if let value = cell.numericText().flatMap(Double.init) { return value }
        default: break
        }
        throw cell.mismatch("Double")
    }
}

extension String: PostgresDecodable {
    /// Text of every kind, enums, `json`, `jsonb`, and the usual spelling of `numeric` and `uuid`.
    public static func decode(_ cell: PostgresCell) throws(PostgresError) -> String {
        defer { withExtendedLifetime(cell.storage) {} }
        if cell.type == TypeID.numeric, let text = cell.numericText() { return text }
        if cell.type == TypeID.uuid { return try PostgresUUID.decode(cell).description }
        guard let bytes = cell.textBytes(), let text = String(validating: bytes, as: UTF8.self) else {
            throw cell.mismatch("String")
        }
        return text
    }
}

extension PostgresTimestamp: PostgresDecodable {
    public static func decode(_ cell: PostgresCell) throws(PostgresError) -> PostgresTimestamp {
        guard cell.type == TypeID.timestamptz || cell.type == TypeID.timestamp, let value = cell.number(Int64.self)
        else {
            throw cell.mismatch("PostgresTimestamp")
        }
        return PostgresTimestamp(wireValue: value)
    }
}

extension PostgresUUID: PostgresDecodable {
    public static func decode(_ cell: PostgresCell) throws(PostgresError) -> PostgresUUID {
        guard cell.type == TypeID.uuid, let high = cell.number(UInt64.self), let low = cell.number(UInt64.self, at: 8)
        else {
            throw cell.mismatch("PostgresUUID")
        }
        return PostgresUUID(high: high, low: low)
    }
}

extension PostgresCell {
    /// `numeric` travels as digits of base 10,000 with a weight, a sign and the number of decimals to show.
    func numericText() -> String? {
        guard let count = number(Int16.self), let weight = number(Int16.self, at: 2),
            let sign = number(UInt16.self, at: 4),
            let scale = number(Int16.self, at: 6), count >= 0, scale >= 0
        else { return nil }
        switch sign {
        case 0xC000: return "nan"
        case 0xD000: return "inf"
        case 0xF000: return "-inf"
        default: break
        }
        func digits(_ index: Int) -> String? {
            guard index >= 0, index < Int(count) else { return "0000" }
            guard let digit = number(Int16.self, at: 8 + index * 2), digit >= 0, digit < 10_000 else { return nil }
            let text = String(digit)
            return String(repeating: "0", count: 4 - text.utf8.count) + text
        }
        var whole = ""
        if weight >= 0 {
            for index in 0...Int(weight) {
                guard let group = digits(index) else { return nil }
                whole += group
            }
        }
        let significant = whole.drop { $0 == "0" }
        var text = (sign == 0x4000 ? "-" : "") + (significant.isEmpty ? "0" : String(significant))
        if scale > 0 {
            var decimals = ""
            var index = Int(weight) + 1
            while decimals.utf8.count < Int(scale) {
                guard let group = digits(index) else { return nil }
                decimals += group
                index += 1
            }
            text += "." + decimals.prefix(Int(scale))
        }
        return text
    }
}
