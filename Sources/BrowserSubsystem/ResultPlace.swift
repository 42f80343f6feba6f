import FleetModel
import RootedFiles

/// Puts what is too large for a job's output into files beneath an allowed root.
struct ResultPlace: Sendable {
    /// Nil where no root may be written.
    let results: ResultFiles?
    let context: JobContext
    let metrics: BrowserMetrics

    /// A file, whole or not at all.
    ///
    /// - Parameters:
    ///   - suffix: of the name that is made of the job's key.
    ///   - path: where the job's parameters want it; nil for the name made of the key.
    ///   - write: writes it piece by piece.
    /// - Throws: `browser.no-file-root`; `file.…`.
    func file(
        _ suffix: String, at path: String?, _ write: (FileSink) async throws -> Void
    ) async throws -> FileReference {
        guard let results else { throw BrowserFailure.noPlace }
        do {
            let sink = try await results.sink(
                type: context.type.name, key: context.key, token: context.token, suffix: suffix,
                at: try path.map { text throws(FileError) in try RootedPath(text) })
            do {
                try await write(sink)
                let file = try await sink.finish { try await context.confirmClaim() }
                metrics.wroteFile(file.bytes)
                return file
            } catch {
                await sink.abandon()
                throw error
            }
        } catch let error as FileError {
            throw JobFailure(error)
        }
    }

    /// - Throws: when there is no place, before anything is done for nothing.
    func check() throws { if results == nil { throw BrowserFailure.noPlace } }
}
