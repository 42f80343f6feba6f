import CFiles
import Glibc

/// Who writes a file: what tells the temporary of one attempt from that of every other.
public struct FileWriter: Sendable, Hashable {
    /// The job's idempotency key.
    public let key: String
    /// Rises with every claim of the job.
    public let token: Int64

    public init(key: String, token: Int64) {
        self.key = key
        self.token = token
    }
}

/// A file that appears under its name whole, or not at all.
///
/// ```
///  open: temporary .gaia-…-TOKEN ──write…──▶ sync ──(the caller confirms its claim)──▶ place: rename, sync of the directory
///           └─ let go before: the temporary is removed        └─ killed: a later attempt of the job removes it
/// ```
///
/// The temporary's name is made of the job's key, the target and the fencing token. So two attempts never write into one
/// file, and a later attempt knows the names of those before it without reading the directory. A stale attempt whose
/// temporary was taken away cannot rename it any more.
public struct AtomicFile: ~Copyable, Sendable {
    /// What may stand in the target's place before.
    public enum Placement: String, Sendable, Codable, CaseIterable {
        /// Anything: nothing, or a file that gives way.
        case any
        /// Nothing.
        case absent
        /// A file that gives way.
        case present
    }

    /// How many tokens back temporaries are looked for: more attempts than any policy gives a job.
    static let staleTokensMax: Int64 = 64

    public let path: RootedPath
    /// Bytes written so far.
    public private(set) var bytes: Int64 = 0
    private let directory: RootedDirectory
    private let name: String
    private let temporary: RegularFile
    private let temporaryName: String
    private var isPlaced = false

    private init(
        _ temporary: consuming RegularFile, _ temporaryName: String, for name: String,
        in directory: consuming RootedDirectory
    ) {
        path = temporary.path
        self.directory = directory
        self.name = name
        self.temporary = temporary
        self.temporaryName = temporaryName
    }

    /// Makes the temporary.
    ///
    /// - Parameters:
    ///   - directory: where the file shall be.
    ///   - mode: permission bits; those of the file that gives way when nil, 0o640 when there is none.
    public static func open(
        _ name: String, in directory: consuming RootedDirectory, writer: FileWriter, mode: UInt32? = nil
    ) throws(FileError) -> AtomicFile {
        let path = directory.path.appending(name)
        let stem = try temporaryStem(writer.key, path)
        // One of this very token is left over when the ledger could not be told which attempt it was.
        for token in max(1, writer.token - staleTokensMax)...max(1, writer.token) {
            try removeIfPresent("\(stem)\(token)", in: directory)
        }
        var permissions = mode
        if permissions == nil { permissions = try modeOfPresent(name, in: directory) }
        let temporaryName = stem + "\(writer.token)"
        let temporary = RegularFile(
            try makeTemporary(temporaryName, in: directory, mode: (permissions ?? 0o640) & 0o777), path)
        return AtomicFile(temporary, temporaryName, for: name, in: directory)
    }

    deinit {
        // Nobody is left to tell; what stays behind is removed by the job's next attempt.
        if !isPlaced { unlinkat(directory.descriptor.number, temporaryName, 0) }
    }

    /// Removes the temporary at once, and not when the last who has this value lets it go, which may be a moment after its
    /// attempt has failed. Nothing else may be called afterwards.
    public mutating func discard() {
        if !isPlaced { unlinkat(directory.descriptor.number, temporaryName, 0) }
        isPlaced = true
    }

    public mutating func write(_ piece: UnsafeRawBufferPointer) throws(FileError) {
        try temporary.write(piece, at: bytes)
        bytes += Int64(piece.count)
    }

    /// Appends a stretch of another file: by the kernel alone where it can, else by way of a buffer.
    ///
    /// - Returns: bytes appended; fewer than `count` only at the end of the other file.
    public mutating func append(
        from source: borrowing RegularFile, at offset: Int64, count: Int
    ) throws(FileError) -> Int {
        var done = 0
        while done < count {
            let got = gaia_copy_range(
                source.descriptor.number, offset + Int64(done), temporary.descriptor.number, bytes, count - done)
            if got == 0 { break }
            if got > 0 {
                done += got
                bytes += Int64(got)
            } else if [EXDEV, EINVAL, ENOSYS, EOPNOTSUPP].contains(errno) {
                let piece = try source.read(at: offset + Int64(done), count: min(count - done, RootedFiles.pieceBytes))
                if piece.isEmpty { break }
                var failure: FileError?
                piece.withUnsafeBytes { bytes in
                    do throws(FileError) { try write(bytes) } catch { failure = error }
                }
                if let failure { throw failure }
                done += piece.count
            } else if errno != EINTR {
                throw FileError(errno: errno, "\(path)")
            }
        }
        return done
    }

    /// Names the job in the file; see ``FileMark``.
    @discardableResult
    public func setMark(_ mark: FileMark) throws(FileError) -> Bool { try temporary.setMark(mark) }

    /// Makes the content outlast a loss of power. Call it before ``place(_:syncing:)``, or a rename may outlast what it
    /// renames.
    public func sync() throws(FileError) { try temporary.sync() }

    /// Gives the file its name. Confirm the claim right before.
    ///
    /// - Throws: ``FileError/Reason/exists`` or ``FileError/Reason/notFound`` when the place is not as it should be;
    ///   ``FileError/Reason/busy`` when a later attempt has taken the temporary away.
    public mutating func place(_ placement: Placement, syncing: Bool = true) throws(FileError) {
        try Self.checkPlace(name, in: directory, placement)
        do {
            try directory.rename(temporaryName, to: directory, name, replacing: placement != .absent)
        } catch  where error.reason == .notFound {
            throw FileError(.busy, "\(path)", "was not written: a later attempt of the job has begun")
        }
        isPlaced = true
        if syncing { try directory.sync() }
    }

    /// - Throws: unless a file may be put there: only a regular file gives way, never a link, a directory or a device.
    public static func checkPlace(
        _ name: String, in directory: borrowing RootedDirectory, _ placement: Placement
    ) throws(FileError) {
        let subject = directory.subject(name)
        switch (try directory.status(name)?.kind, placement) {
        case (nil, .present): throw FileError(errno: ENOENT, subject)
        case (.some, .absent): throw FileError(errno: EEXIST, subject)
        case (.directory, _): throw FileError(errno: EISDIR, subject)
        case (.symlink, _): throw FileError(errno: ELOOP, subject)
        case (.other, _): throw FileError(errno: ENXIO, subject)
        case (nil, _), (.file, _): return
        }
    }

    private static func makeTemporary(
        _ name: String, in directory: borrowing RootedDirectory, mode: UInt32
    ) throws(FileError) -> Descriptor {
        let subject = "\(directory.path)"
        let descriptor = Descriptor(
            try checked(subject) {
                openat(
                    directory.descriptor.number, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
            })
        do {
            // By itself, since the process's umask has no say in what a job asked for.
            try checked(subject) { fchmod(descriptor.number, mode) }
        } catch {
            try removeIfPresent(name, in: directory)
            throw error
        }
        return descriptor
    }

    private static func temporaryStem(_ key: String, _ path: RootedPath) throws(FileError) -> String {
        let digest = try FileDigest.hexadecimal(.sha256, of: Array("\(key)\u{0}\(path)".utf8))
        return "\(RootedFiles.reservedPrefix)\(digest.prefix(24))-"
    }

    private static func removeIfPresent(
        _ name: String, in directory: borrowing RootedDirectory
    ) throws(FileError) {
        do { try directory.remove(name) } catch  where error.reason == .notFound {}
    }

    private static func modeOfPresent(
        _ name: String, in directory: borrowing RootedDirectory
    ) throws(FileError) -> UInt32? {
        try directory.status(name).flatMap { $0.kind == .file ? $0.mode & 0o777 : nil }
    }
}
