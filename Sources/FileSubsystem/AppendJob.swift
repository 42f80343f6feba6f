import FleetModel
import RootedFiles

/// What `file.append.v1` takes.
public struct AppendParameters: FileJob {
    public static let type: JobType = "file.append.v1"
    static let summary = "adds to the end of a file, once for each key"

    public var path: String
    public var content: String?
    public var contentBase64: String?
    /// Whether a file that is missing is made; true when absent.
    public var create: Bool?
    public var mode: String?
    public var parents: Bool?
    public var exclusive: Bool?

    enum CodingKeys: String, CodingKey {
        case path, content, create, mode, parents, exclusive
        case contentBase64 = "content_base64"
    }

    public static let schema = JSONSchema.object(
        FileContent.schemas.merging([
            "path": FileParameters.pathSchema,
            "create": .boolean(description: "make a file that is missing; true when absent"),
            "mode": .string(description: "permissions of a file that is made, in octal; 0640 when absent"),
            "parents": FileParameters.parentsSchema, "exclusive": FileParameters.exclusiveSchema,
        ]) { $1 }, required: ["path"])

    public init(
        path: String, content: String? = nil, contentBase64: String? = nil, create: Bool? = nil, mode: String? = nil,
        parents: Bool? = nil, exclusive: Bool? = nil
    ) {
        self.path = path
        self.content = content
        self.contentBase64 = contentBase64
        self.create = create
        self.mode = mode
        self.parents = parents
        self.exclusive = exclusive
    }

    public func validate() throws(InvalidParameters) {
        try FileParameters.path(path, "path")
        guard try !FileContent.bytes(content, contentBase64).isEmpty else {
            throw InvalidParameters("there is nothing to append: give at least one byte")
        }
        _ = try FileParameters.mode(mode)
    }
}

/// What `file.append.v1` yields.
public struct AppendOutput: Codable, Sendable {
    public let path: String
    /// Where the appended bytes begin.
    public let offset: Int64
    /// Bytes appended.
    public let length: Int
    /// Of the whole file now.
    public let bytes: Int64
    /// Whether an earlier attempt of the job had appended them already.
    public let repeated: Bool
}

extension AppendParameters {
    /// How long to wait for another process that appends to the same file; each needs a few milliseconds.
    private static let patience = Patience(initial: .milliseconds(2), cap: .milliseconds(50), limit: .seconds(10))

    func run(_ files: FileAccess, _ context: JobContext) async throws -> AppendOutput {
        let path = try RootedPath(path)
        let content = try FileContent.bytes(content, contentBase64)
        let output = try await files.exclusively(exclusive, path, context) {
            try await files.turns.inTurn("\(path)") { try await append(content, to: path, files, context) }
        }
        if output.repeated { files.metrics.repeated() } else { files.metrics.wrote(output.length) }
        return output
    }

    private func append(
        _ content: [UInt8], to path: RootedPath, _ files: FileAccess, _ context: JobContext
    ) async throws -> AppendOutput {
        let journal = try await Self.patience(isHopeless: { ($0 as? FileError)?.reason != .busy }) {
            try await files.threads.run { [self] in try open(path, files, context) }
        }
        func output(_ note: AppendJournal.Note, _ bytes: Int64, repeated: Bool) -> AppendOutput {
            AppendOutput(
                path: "\(path)", offset: note.offset, length: content.count, bytes: bytes, repeated: repeated)
        }
        if let (note, bytes) = try journal.use({ journal in try journal.present.map { ($0, try journal.bytes()) } }) {
            return output(note, bytes, repeated: true)
        }
        let bytes = try journal.use { try $0.bytes() }
        if bytes + Int64(content.count) > files.settings.fileBytesMax {
            throw FileError(
                .tooLarge, "\(path)", "would grow beyond \(files.settings.fileBytesMax) bytes (file.bytes)")
        }
        try await context.confirmClaim()
        return try await files.threads.run {
            let note = try journal.use { try $0.append(content, syncs: files.settings.syncs) }
            return output(note, note.offset + note.count, repeated: false)
        }
    }

    private func open(
        _ path: RootedPath, _ files: FileAccess, _ context: JobContext
    ) throws -> StepState<AppendJournal> {
        guard let name = path.name else { throw FileError(.isDirectory, "\(path)", "is the root itself") }
        let directory = try files.roots.parent(of: path, for: .writing, creating: parents ?? false)
        guard
            let journal = try AppendJournal.open(
                name, key: context.key, in: directory, mode: try FileParameters.mode(mode) ?? 0o640,
                creates: create ?? true, files.settings)
        else { throw FileError(.busy, "\(path)", "is being appended to by another") }
        return StepState(journal)
    }
}
