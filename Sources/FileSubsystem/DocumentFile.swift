import FleetModel
import RootedFiles

/// A document that is being read on the parse threads.
final class DocumentFile: Sendable {
    let path: RootedPath
    let bytes: Int64
    private let pieces: StepState<FilePieces>

    fileprivate init(_ file: consuming RegularFile, from offset: Int64, bytesMax: Int64) throws {
        path = file.path
        bytes = try file.status().bytes
        if bytes > bytesMax {
            throw FileError(
                .tooLarge, "\(path)",
                "has \(bytes) bytes; documents of at most \(bytesMax) are parsed (file.document_bytes)")
        }
        pieces = StepState(FilePieces(file, from: offset))
    }

    /// Hands over pieces up to about a megabyte.
    ///
    /// - Returns: whether the reader had enough; nil while there is more.
    fileprivate func step(
        _ context: JobContext, _ feed: (UnsafeRawBufferPointer) throws -> Bool
    ) throws -> Bool? {
        try pieces.use { pieces in
            for _ in 0..<(FileAccess.stepBytes / RootedFiles.pieceBytes) {
                guard let isEnough = try pieces.next(feed) else { return false }
                if isEnough { return true }
            }
            if bytes > 0 { context.progress(Double(pieces.offset) / Double(bytes)) }
            return nil
        }
    }
}

extension FileAccess {
    /// Opens a document on the threads for parsing.
    func document(_ path: RootedPath, from offset: Int64 = 0) async throws -> DocumentFile {
        try await parseThreads.run {
            try DocumentFile(try roots.file(path), from: offset, bytesMax: settings.documentBytesMax)
        }
    }

    /// Feeds a reader with a document, in turns with others.
    ///
    /// - Returns: whether the reader had enough before the end.
    func feed(
        _ document: DocumentFile, _ context: JobContext,
        _ feed: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Bool
    ) async throws -> Bool {
        try await parseThreads.inSteps {
            guard let isEnough = try document.step(context, feed) else { return .more }
            return .done(isEnough)
        }
    }
}
