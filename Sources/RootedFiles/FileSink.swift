import Synchronization

/// A file of a result, as a job's output names it.
public struct FileReference: Codable, Sendable, Hashable {
    /// As jobs write paths, so that a later job can read it.
    public let path: String
    public let bytes: Int64
    /// Lower-case hexadecimal digits.
    public let sha256: String

    public init(path: String, bytes: Int64, sha256: String) {
        self.path = path
        self.bytes = bytes
        self.sha256 = sha256
    }
}

/// Takes pieces that become one file, whole or not at all. For one writer at a time, who awaits each write: so what is
/// under way is never more than one piece.
///
/// ```swift
/// let sink = try await results.sink(type: "api.request.v1", key: context.key, token: context.token)
/// for try await piece in response { try await sink.write(piece) }
/// let file = try await sink.finish { try await context.confirmClaim() }
/// ```
///
/// A sink that is let go without ``finish(_:syncing:confirm:)`` leaves nothing behind.
public final class FileSink: Sendable {
    private struct Parts: ~Copyable {
        var file: AtomicFile
        var digest: FileDigest
    }

    private let parts: Mutex<Parts?>
    private let threads: FileThreads
    private let bytesMax: Int64
    public let path: RootedPath

    init(_ file: consuming AtomicFile, threads: FileThreads, bytesMax: Int64) throws(FileError) {
        path = file.path
        parts = Mutex(Parts(file: file, digest: try FileDigest(.sha256)))
        self.threads = threads
        self.bytesMax = bytesMax
    }

    /// Appends. Returns once the bytes are with the kernel.
    ///
    /// - Throws: ``FileError/Reason/tooLarge`` when it would be more than the sink takes; the file is gone then.
    public func write(_ bytes: [UInt8]) async throws {
        try await threads.run { [self] in
            try parts.withLock { parts in
                guard var open = parts.take() else { throw ended }
                guard open.file.bytes + Int64(bytes.count) <= bytesMax else {
                    throw FileError(.tooLarge, "\(path)", "would be larger than \(bytesMax) bytes")
                }
                try bytes.withUnsafeBytes {
                    try open.file.write($0)
                    open.digest.update($0)
                }
                parts = consume open
            }
        }
    }

    /// Gives the file its name.
    ///
    /// - Parameters:
    ///   - syncing: whether content and name shall outlast a loss of power.
    ///   - confirm: called when all is written, right before the rename; what it throws ends the file.
    public func finish(
        _ placement: AtomicFile.Placement = .any, syncing: Bool = true, confirm: () async throws -> Void
    ) async throws -> FileReference {
        if syncing {
            try await threads.run { [self] in
                try parts.withLock { parts in
                    guard let open = parts.take() else { throw ended }
                    try open.file.sync()
                    parts = consume open
                }
            }
        }
        do {
            try await confirm()
        } catch {
            await abandon()
            throw error
        }
        return try await threads.run { [self] in
            try parts.withLock { parts in
                guard var open = parts.take() else { throw ended }
                try open.file.place(placement, syncing: syncing)
                let bytes = open.file.bytes
                return FileReference(path: "\(path)", bytes: bytes, sha256: open.digest.hexadecimal())
            }
        }
    }

    /// Removes what was written. It works in a cancelled task too.
    public func abandon() async {
        // On this very thread: an unlink that a cancelled task could not queue would leave the file.
        parts.withLock { $0 = nil }
    }

    private var ended: FileError { FileError(.busy, "\(path)", "was ended already") }
}
