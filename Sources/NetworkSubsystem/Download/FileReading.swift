import RootedFiles
import Synchronization

/// An open file that is read to its end in steps, which take turns with other work, for its digest.
final class FileReading: Sendable {
    private struct Parts: ~Copyable {
        var pieces: FilePieces
        var digest: FileDigest
    }

    private let parts: Mutex<Parts?>

    init(_ file: consuming RegularFile, _ algorithm: FileDigest.Algorithm) throws(FileError) {
        parts = Mutex(Parts(pieces: FilePieces(file), digest: try FileDigest(algorithm)))
    }

    /// For one call: the digest in lower-case hexadecimal digits.
    func digest(_ threads: FileThreads) async throws -> String {
        try await threads.inSteps { [self] in
            try parts.withLock { parts -> FileThreads.Step<String> in
                guard var open = parts.take() else { preconditionFailure("a file is read once") }
                let isRead: Void? = try open.pieces.next { open.digest.update($0) }
                if isRead == nil { return .done(open.digest.hexadecimal()) }
                parts = consume open
                return .more
            }
        }
    }
}
