import FleetModel
import RootedFiles

/// What `file.move.v1` takes.
public struct MoveParameters: FileJob {
    public static let type: JobType = "file.move.v1"
    static let summary = "moves or renames a file"

    public var from: String
    public var to: String
    public var when: AtomicFile.Placement?
    public var parents: Bool?
    public var exclusive: Bool?

    public static let schema = JSONSchema.object(
        [
            "from": FileParameters.pathSchema, "to": FileParameters.pathSchema, "when": FileParameters.whenSchema,
            "parents": FileParameters.parentsSchema, "exclusive": FileParameters.exclusiveSchema,
        ], required: ["from", "to"])

    public init(
        from: String, to: String, when: AtomicFile.Placement? = nil, parents: Bool? = nil, exclusive: Bool? = nil
    ) {
        self.from = from
        self.to = to
        self.when = when
        self.parents = parents
        self.exclusive = exclusive
    }

    public func validate() throws(InvalidParameters) {
        if try FileParameters.path(from, "from") == FileParameters.path(to, "to") {
            throw InvalidParameters("'from' and 'to' are the same file")
        }
    }
}

/// What `file.move.v1` yields.
public struct MoveOutput: Codable, Sendable {
    public let from: String
    public let to: String
    public let bytes: Int64
    /// Whether it was copied and the source removed, since the two lie on different file systems.
    public let copied: Bool
    /// Whether an earlier attempt of the job had moved it already.
    public let repeated: Bool
}

extension MoveParameters {
    /// What the first look found.
    private enum Finding: Sendable {
        /// An earlier attempt has moved it.
        case moved(Int64)
        /// Marked and ready to be renamed.
        case ready(SourceFile, isOnOtherFileSystem: Bool)
        /// An earlier attempt copied it to another file system, and could not remove the source.
        case copied(SourceFile)
    }

    func run(_ files: FileAccess, _ context: JobContext) async throws -> MoveOutput {
        let (from, to) = (try RootedPath(from), try RootedPath(to))
        // A source is marked before it is renamed, so that the mark arrives with it.
        let mark = try FileMark(key: context.key, effect: "move \(from) \(to)")
        let output = try await files.exclusively(exclusive, to, context) {
            try await move(from, to, mark, files, context)
        }
        if output.repeated { files.metrics.repeated() } else if output.copied { files.metrics.wrote(Int(output.bytes)) }
        return output
    }

    private func move(
        _ from: RootedPath, _ to: RootedPath, _ mark: FileMark, _ files: FileAccess, _ context: JobContext
    ) async throws -> MoveOutput {
        func output(_ bytes: Int64, copied: Bool = false, repeated: Bool = false) -> MoveOutput {
            MoveOutput(from: "\(from)", to: "\(to)", bytes: bytes, copied: copied, repeated: repeated)
        }
        switch try await files.threads.run({ [self] in try look(from, to, mark, files, context) }) {
        case .moved(let bytes): return output(bytes, repeated: true)
        case .copied(let source):
            try await context.confirmClaim()
            try await files.threads.run { try Self.remove(source, from, files) }
            return output(source.status.bytes, copied: true, repeated: true)
        case .ready(let source, isOnOtherFileSystem: false):
            try await context.confirmClaim()
            try await files.threads.run { [self] in try rename(source, from, to, files) }
            return output(source.status.bytes)
        case .ready(let source, isOnOtherFileSystem: true):
            let placing = Placing(
                path: to, when: when ?? .any, mode: source.status.mode & 0o777, parents: parents ?? false, mark: mark,
                context: context)
            _ = try await placing.run(files) { try source.copyStep(to: &$0, context) }
            try await context.confirmClaim()
            try await files.threads.run { try Self.remove(source, from, files) }
            return output(source.status.bytes, copied: true)
        }
    }

    private func look(
        _ from: RootedPath, _ to: RootedPath, _ mark: FileMark, _ files: FileAccess, _ context: JobContext
    ) throws -> Finding {
        try files.roots.checkWritable(from)
        let isRepeat = context.token > 1
        let source: SourceFile
        do {
            source = try SourceFile(from, files)
        } catch let error as FileError where error.reason == .notFound && isRepeat {
            guard let target = try Self.target(to, files), target.hasMark(mark) else { throw error }
            return .moved(try target.status().bytes)
        }
        let directory = try files.roots.parent(of: to, for: .writing, creating: parents ?? false)
        if isRepeat, let target = try Self.target(to, files) {
            let status = try target.status()
            // Where a rename put it, the source is another file by now, and this job has done its work.
            if target.hasMark(mark), status.device != source.status.device,
                status.bytes == source.status.bytes, status.modifiedNanoseconds >= source.status.modifiedNanoseconds
            {
                return .copied(source)
            }
        }
        try source.file.setMark(mark)
        let isOther = try directory.device() != source.status.device
        return .ready(source, isOnOtherFileSystem: isOther)
    }

    /// The file in the place where it goes; nil when there is none that could be it.
    private static func target(_ path: RootedPath, _ files: FileAccess) throws -> RegularFile? {
        do {
            return try files.roots.file(path)
        } catch  where error.reason == .notFound {
            return nil
        }
    }

    private func rename(_ source: SourceFile, _ from: RootedPath, _ to: RootedPath, _ files: FileAccess) throws {
        guard let name = from.name, let newName = to.name else {
            throw FileError(.isDirectory, "\(from)", "or '\(to)' is the root itself")
        }
        let directory = try files.roots.parent(of: from, for: .writing)
        let target = try files.roots.parent(of: to, for: .writing)
        try AtomicFile.checkPlace(newName, in: target, when ?? .any)
        guard try directory.status(name)?.inode == source.status.inode else {
            throw FileError(.busy, "\(from)", "was replaced while it was being moved")
        }
        try directory.rename(name, to: target, newName, replacing: when != .absent)
        if files.settings.syncs {
            try target.sync()
            try directory.sync()
        }
    }

    /// Removes what was copied, if it is still that.
    private static func remove(_ source: SourceFile, _ from: RootedPath, _ files: FileAccess) throws {
        guard let name = from.name else { return }
        let directory = try files.roots.parent(of: from, for: .writing)
        guard let status = try directory.status(name) else { return }
        guard status.inode == source.status.inode, status.modifiedNanoseconds == source.status.modifiedNanoseconds
        else {
            throw FileError(.busy, "\(from)", "was changed while it was being moved")
        }
        try directory.remove(name)
        if files.settings.syncs { try directory.sync() }
    }
}
