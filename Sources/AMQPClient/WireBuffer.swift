/// A growable buffer of encoded frames with a read end: what goes out to the socket.
///
/// Not shared: one IO thread owns it.
package final class WireBuffer {
    private static let initialCapacity = 64 << 10
    /// A buffer that grew past this for a large body is given back once it is empty.
    private static let retainedCapacity = 1 << 20

    private var base: UnsafeMutableRawPointer
    private var capacity: Int
    private var start = 0
    private var end = 0

    package init() {
        capacity = Self.initialCapacity
        base = .allocate(byteCount: capacity, alignment: 16)
    }

    deinit { base.deallocate() }

    /// Bytes not yet read.
    package var count: Int { end - start }
    package var isEmpty: Bool { start == end }

    /// The unread bytes; good until the buffer is next changed.
    package var unread: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base + start, count: count) }

    package func consume(_ bytes: Int) {
        precondition(bytes <= count, "more was consumed than is there")
        start += bytes
        if start == end { removeAll() }
    }

    package func removeAll() {
        start = 0
        end = 0
        if capacity > Self.retainedCapacity {
            base.deallocate()
            capacity = Self.initialCapacity
            base = .allocate(byteCount: capacity, alignment: 16)
        }
    }

    /// Takes back what was appended after `count` had this value.
    package func truncate(toCount count: Int) {
        precondition(count <= self.count, "a buffer cannot be truncated to more than it holds")
        end = start + count
    }

    package func reserve(_ bytes: Int) {
        guard end + bytes > capacity else { return }
        if start > 0, count + bytes <= capacity / 2 {
            base.copyMemory(from: base + start, byteCount: count)
        } else {
            var grown = capacity
            while grown < count + bytes { grown *= 2 }
            let moved = UnsafeMutableRawPointer.allocate(byteCount: grown, alignment: 16)
            moved.copyMemory(from: base + start, byteCount: count)
            base.deallocate()
            base = moved
            capacity = grown
        }
        end = count
        start = 0
    }

    package func append(_ value: UInt8) {
        reserve(1)
        base.storeBytes(of: value, toByteOffset: end, as: UInt8.self)
        end += 1
    }

    package func append(_ value: UInt16) { appendInteger(value) }
    package func append(_ value: UInt32) { appendInteger(value) }
    package func append(_ value: UInt64) { appendInteger(value) }

    private func appendInteger<Value: FixedWidthInteger>(_ value: Value) {
        let size = MemoryLayout<Value>.size
        reserve(size)
        (base + end).storeBytes(of: value.bigEndian, as: Value.self)
        end += size
    }

    package func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, bytes.count > 0 else { return }
        reserve(bytes.count)
        (base + end).copyMemory(from: source, byteCount: bytes.count)
        end += bytes.count
    }

    package func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { append($0) }
    }

    /// Overwrites four bytes that were appended when `count` was `position`.
    package func patch(_ value: UInt32, at position: Int) {
        precondition(position + 4 <= count, "a patch must lie within what was appended")
        (base + start + position).storeBytes(of: value.bigEndian, as: UInt32.self)
    }
}
