import Glibc

/// An open regular file.
public struct RegularFile: ~Copyable, Sendable {
    public let path: RootedPath
    let descriptor: Descriptor
    private var isLocked = false

    init(_ descriptor: consuming Descriptor, _ path: RootedPath) {
        self.descriptor = descriptor
        self.path = path
    }

    public func status() throws(FileError) -> FileStatus { try FileStatus(of: descriptor, "\(path)") }

    /// Reads at an offset, as much as fits or is there.
    ///
    /// - Returns: bytes read; fewer than asked for only at the end of the file.
    public func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FileError) -> Int {
        var count = 0
        while count < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[count...])
            let got = try checked("\(path)") {
                pread(descriptor.number, rest.baseAddress, rest.count, off_t(offset) + off_t(count))
            }
            if got == 0 { break }
            count += got
        }
        return count
    }

    /// The same, as an array.
    public func read(at offset: Int64, count: Int) throws(FileError) -> [UInt8] {
        var failure: FileError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            do throws(FileError) {
                filled = try read(at: offset, into: UnsafeMutableRawBufferPointer(buffer))
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return bytes
    }

    /// Writes all of it at an offset.
    public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileError) {
        var count = 0
        while count < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[count...])
            count += try checked("\(path)") {
                pwrite(descriptor.number, rest.baseAddress, rest.count, off_t(offset) + off_t(count))
            }
        }
    }

    public func truncate(to bytes: Int64) throws(FileError) {
        try checked("\(path)") { ftruncate(descriptor.number, off_t(bytes)) }
    }

    /// Makes what was written outlast a loss of power.
    public func sync() throws(FileError) { try checked("\(path)") { fdatasync(descriptor.number) } }

    /// Takes the lock that the kernel keeps for this file among all processes of the machine, until the file is closed.
    ///
    /// - Returns: false when another holds it.
    public mutating func tryLock() throws(FileError) -> Bool {
        do {
            try checked("\(path)") { flock(descriptor.number, LOCK_EX | LOCK_NB) }
            isLocked = true
        } catch  where error.reason == .busy {
            return false
        }
        return true
    }

    deinit {
        // Closing alone leaves it locked while any other descriptor of this opening is there: a process that was forked off at
        // this moment has one until it executes its program.
        if isLocked { flock(descriptor.number, LOCK_UN) }
    }
}

/// Reads a file from one offset to another in pieces of ``RootedFiles/pieceBytes``, with one buffer.
public struct FilePieces: ~Copyable, Sendable {
    public let file: RegularFile
    /// Where the next piece begins.
    public private(set) var offset: Int64
    private let end: Int64
    private let buffer: Buffer

    /// A buffer that is let go with its owner.
    ///
    /// Not private: an optimised build of another module that holds its owner in a type of its own links to it.
    struct Buffer: ~Copyable, @unchecked Sendable {
        // Sendable: it has one owner, who hands out its address only for the length of a call.
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: RootedFiles.pieceBytes, alignment: 4096)
        deinit { bytes.deallocate() }
    }

    /// - Parameters:
    ///   - offset: where to begin, in bytes.
    ///   - count: how many bytes at most; to the end of the file when nil.
    public init(_ file: consuming RegularFile, from offset: Int64 = 0, count: Int64? = nil) {
        posix_fadvise(file.descriptor.number, off_t(offset), off_t(count ?? 0), POSIX_FADV_SEQUENTIAL)
        self.file = file
        self.offset = offset
        let (end, overflow) = offset.addingReportingOverflow(count ?? .max)
        self.end = overflow ? .max : end
        buffer = Buffer()
    }

    /// Calls `body` with the next piece.
    ///
    /// - Returns: what `body` returned; nil at the end.
    public mutating func next<Value>(
        _ body: (UnsafeRawBufferPointer) throws -> Value
    ) throws -> Value? {
        let count = Int(min(Int64(RootedFiles.pieceBytes), end - offset))
        let got = try file.read(at: offset, into: UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<count]))
        if got == 0 { return nil }
        offset += Int64(got)
        return try body(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<got]))
    }
}
