import FleetModel
import RootedFiles

/// What `file.copy.v1` takes.
public struct CopyParameters: FileJob {
    public static let type: JobType = "file.copy.v1"
    static let summary = "copies a file; the copy appears whole, or not at all"

    public var from: String
    public var to: String
    public var when: AtomicFile.Placement?
    public var mode: String?
    public var parents: Bool?
    public var exclusive: Bool?

    public static let schema = JSONSchema.object(
        [
            "from": FileParameters.pathSchema, "to": FileParameters.pathSchema, "when": FileParameters.whenSchema,
            "mode": FileParameters.modeSchema, "parents": FileParameters.parentsSchema,
            "exclusive": FileParameters.exclusiveSchema,
        ], required: ["from", "to"])

    public init(
        from: String, to: String, when: AtomicFile.Placement? = nil, mode: String? = nil, parents: Bool? = nil,
        exclusive: Bool? = nil
    ) {
        self.from = from
        self.to = to
        self.when = when
        self.mode = mode
        self.parents = parents
        self.exclusive = exclusive
    }

    public func validate() throws(InvalidParameters) {
        if try FileParameters.path(from, "from") == FileParameters.path(to, "to") {
            throw InvalidParameters("'from' and 'to' are the same file")
        }
        _ = try FileParameters.mode(mode)
    }
}

/// What `file.copy.v1` yields.
public struct CopyOutput: Codable, Sendable {
    public let from: String
    public let to: String
    public let bytes: Int64
    /// Whether an earlier attempt of the job had copied it already.
    public let repeated: Bool
}

extension CopyParameters {
    func run(_ files: FileAccess, _ context: JobContext) async throws -> CopyOutput {
        let (from, to) = (try RootedPath(from), try RootedPath(to))
        let source = try await files.threads.run { try SourceFile(from, files) }
        let placing = Placing(
            path: to, when: when ?? .any, mode: try FileParameters.mode(mode), parents: parents ?? false,
            // With what the source was then: one that has changed since is copied again.
            mark: try FileMark(
                key: context.key,
                effect:
                    "copy \(from) \(to) \(source.status.inode) \(source.status.bytes) \(source.status.modifiedNanoseconds)"
            ),
            context: context)
        let isPlaced = try await files.exclusively(exclusive, to, context) {
            try await placing.run(files) { try source.copyStep(to: &$0, context) }
        }
        if isPlaced { files.metrics.wrote(Int(source.status.bytes)) } else { files.metrics.repeated() }
        return CopyOutput(from: "\(from)", to: "\(to)", bytes: source.status.bytes, repeated: !isPlaced)
    }
}

/// A file that is copied, as it was when it was opened.
final class SourceFile: Sendable {
    let file: RegularFile
    let status: FileStatus

    /// - Throws: it is none, or larger than a job may copy.
    init(_ path: RootedPath, _ files: FileAccess) throws {
        file = try files.roots.file(path)
        status = try file.status()
        if status.bytes > files.settings.fileBytesMax {
            throw FileError(
                .tooLarge, "\(path)",
                "has \(status.bytes) bytes; a job copies at most \(files.settings.fileBytesMax) (file.bytes)")
        }
    }

    /// Copies the next stretch behind what is there.
    ///
    /// - Throws: when the file changed meanwhile, so that the copy would be neither the old nor the new one.
    func copyStep(to target: inout AtomicFile, _ context: JobContext) throws -> FileThreads.Step<Void> {
        let count = try target.append(from: file, at: target.bytes, count: FileAccess.stepBytes)
        if status.bytes > 0 { context.progress(Double(target.bytes) / Double(status.bytes)) }
        if target.bytes > status.bytes { throw FileError(.busy, "\(file.path)", "grew while it was being copied") }
        guard count < FileAccess.stepBytes else { return .more }
        let now = try file.status()
        guard target.bytes == status.bytes, now.modifiedNanoseconds == status.modifiedNanoseconds else {
            throw FileError(.busy, "\(file.path)", "was changed while it was being copied")
        }
        return .done(())
    }
}
