/// The parameters of one statement in PostgreSQL's binary form, in one buffer.
///
/// The caller's task encodes, so that the IO thread only copies. The size is counted first and the buffer allocated
/// once: a batch of 500 rows × 12 columns costs two allocations, not one per element.
struct EncodedParameters: Sendable {
    struct Slot: Sendable {
        var type: UInt32
        var offset: Int32
        /// Negative for null.
        var length: Int32
    }

    let bytes: [UInt8]
    let slots: [Slot]

    static let none = EncodedParameters(bytes: [], slots: [])

    private init(bytes: [UInt8], slots: [Slot]) {
        self.bytes = bytes
        self.slots = slots
    }

    /// - Throws: ``PostgresError/Kind/invalidConfiguration`` for more parameters or bytes than the protocol can carry.
    init(_ values: [PostgresValue]) throws(PostgresError) {
        // The protocol counts parameters in 16 bits and bytes in a signed 32.
        guard values.count <= 65_535 else {
            throw PostgresError(kind: .invalidConfiguration, message: "\(values.count) parameters; at most 65535 fit")
        }
        var total = 0
        for value in values { total += max(0, value.encodedBytes) }
        guard total < 1 << 30 else {
            throw PostgresError(
                kind: .invalidConfiguration, message: "\(total) bytes of parameters; send the batch in smaller parts")
        }
        var slots: [Slot] = []
        slots.reserveCapacity(values.count)
        // One byte more than needed, so that even an empty text has an address: libpq takes a null pointer for null.
        bytes = [UInt8](unsafeUninitializedCapacity: total + 1) { buffer, initialized in
            var writer = BinaryWriter(UnsafeMutableRawBufferPointer(buffer))
            for value in values {
                let start = writer.offset
                let size = value.encodedBytes
                if size >= 0 { value.encode(into: &writer) }
                assert(writer.offset - start == max(0, size), "the counted and the written size differ")
                slots.append(Slot(type: value.typeID, offset: Int32(start), length: Int32(size)))
            }
            writer.put(UInt8(0))
            initialized = writer.offset
        }
        self.slots = slots
    }
}

/// Appends big-endian numbers to memory whose size was counted beforehand.
struct BinaryWriter {
    private let base: UnsafeMutableRawBufferPointer
    private(set) var offset = 0

    init(_ base: UnsafeMutableRawBufferPointer) { self.base = base }

    mutating func put<Number: FixedWidthInteger>(_ number: Number) {
        base.storeBytes(of: number.bigEndian, toByteOffset: offset, as: Number.self)
        offset += MemoryLayout<Number>.size
    }

    mutating func put(_ text: String) {
        var text = text
        text.withUTF8 { put(UnsafeRawBufferPointer($0)) }
    }

    mutating func put(_ bytes: [UInt8]) { bytes.withUnsafeBytes { put($0) } }

    private mutating func put(_ bytes: UnsafeRawBufferPointer) {
        UnsafeMutableRawBufferPointer(rebasing: base[offset..<offset + bytes.count]).copyMemory(from: bytes)
        offset += bytes.count
    }
}

extension PostgresValue {
    var typeID: UInt32 {
        switch self {
        case .null: 0
        case .bool: TypeID.bool
        case .int16: TypeID.int2
        case .int32: TypeID.int4
        case .int64: TypeID.int8
        case .double: TypeID.float8
        case .text: TypeID.text
        case .bytes: TypeID.bytea
        case .timestamp: TypeID.timestamptz
        case .uuid: TypeID.uuid
        case .textArray: TypeID.textArray
        case .int32Array: TypeID.int4Array
        case .int64Array: TypeID.int8Array
        case .boolArray: TypeID.boolArray
        case .bytesArray: TypeID.byteaArray
        case .timestampArray: TypeID.timestamptzArray
        case .doubleArray: TypeID.float8Array
        case .uuidArray: TypeID.uuidArray
        }
    }

    /// Size on the wire without the length in front; -1 for null.
    var encodedBytes: Int {
        switch self {
        case .null: -1
        case .bool: 1
        case .int16: 2
        case .int32: 4
        case .int64, .double, .timestamp: 8
        case .uuid: 16
        case .text(let text): text.utf8.count
        case .bytes(let bytes): bytes.count
        case .textArray(let array): Self.arrayBytes(array) { $0.utf8.count }
        case .bytesArray(let array): Self.arrayBytes(array) { $0.count }
        case .int32Array(let array): Self.arrayBytes(array) { _ in 4 }
        case .int64Array(let array): Self.arrayBytes(array) { _ in 8 }
        case .boolArray(let array): Self.arrayBytes(array) { _ in 1 }
        case .timestampArray(let array): Self.arrayBytes(array) { _ in 8 }
        case .doubleArray(let array): Self.arrayBytes(array) { _ in 8 }
        case .uuidArray(let array): Self.arrayBytes(array) { _ in 16 }
        }
    }

    func encode(into writer: inout BinaryWriter) {
        switch self {
        case .null: break
        case .bool(let value): writer.put(UInt8(value ? 1 : 0))
        case .int16(let value): writer.put(value)
        case .int32(let value): writer.put(value)
        case .int64(let value): writer.put(value)
        case .double(let value): writer.put(value.bitPattern)
        case .text(let value): writer.put(value)
        case .bytes(let value): writer.put(value)
        case .timestamp(let value): writer.put(value.wireValue)
        case .uuid(let value):
            writer.put(value.high)
            writer.put(value.low)
        case .textArray(let array):
            Self.encodeArray(array, of: TypeID.text, into: &writer, size: { $0.utf8.count }) { $0.put($1) }
        case .bytesArray(let array):
            Self.encodeArray(array, of: TypeID.bytea, into: &writer, size: { $0.count }) { $0.put($1) }
        case .int32Array(let array):
            Self.encodeArray(array, of: TypeID.int4, into: &writer, size: { _ in 4 }) { $0.put($1) }
        case .int64Array(let array):
            Self.encodeArray(array, of: TypeID.int8, into: &writer, size: { _ in 8 }) { $0.put($1) }
        case .boolArray(let array):
            Self.encodeArray(array, of: TypeID.bool, into: &writer, size: { _ in 1 }) { $0.put(UInt8($1 ? 1 : 0)) }
        case .timestampArray(let array):
            Self.encodeArray(array, of: TypeID.timestamptz, into: &writer, size: { _ in 8 }) { $0.put($1.wireValue) }
        case .doubleArray(let array):
            Self.encodeArray(array, of: TypeID.float8, into: &writer, size: { _ in 8 }) { $0.put($1.bitPattern) }
        case .uuidArray(let array):
            Self.encodeArray(array, of: TypeID.uuid, into: &writer, size: { _ in 16 }) {
                $0.put($1.high)
                $0.put($1.low)
            }
        }
    }

    @inline(__always)
    private static func arrayBytes<Element>(_ array: [Element?], size: (Element) -> Int) -> Int {
        // dimensions, has-nulls, element type; then length and lower bound of the one dimension, unless it is empty.
        if array.isEmpty { return 12 }
        var total = 20
        for element in array {
            total += 4
            if let element { total += size(element) }
        }
        return total
    }

    @inline(__always)
    private static func encodeArray<Element>(
        _ array: [Element?], of type: UInt32, into writer: inout BinaryWriter, size: (Element) -> Int,
        put: (inout BinaryWriter, Element) -> Void
    ) {
        writer.put(Int32(array.isEmpty ? 0 : 1))
        // The has-nulls flag is informative only: the server looks at the elements.
        writer.put(Int32(0))
        writer.put(type)
        if array.isEmpty { return }
        writer.put(Int32(array.count))
        writer.put(Int32(1))
        for element in array {
            if let element {
                writer.put(Int32(size(element)))
                put(&writer, element)
            } else {
                writer.put(Int32(-1))
            }
        }
    }
}
