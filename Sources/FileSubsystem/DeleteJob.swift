import FleetModel
import RootedFiles

/// What `file.delete.v1` takes.
public struct DeleteParameters: FileJob {
    public static let type: JobType = "file.delete.v1"
    static let summary = "removes a file, or a directory with what is in it"

    /// What it means that there is nothing.
    public enum Missing: String, Sendable, Codable, CaseIterable {
        case done, error
    }

    public var path: String
    /// Whether a directory is removed with what is in it; an empty one is in any case.
    public var recursive: Bool?
    public var missing: Missing?
    public var exclusive: Bool?

    public static let schema = JSONSchema.object(
        [
            "path": FileParameters.pathSchema,
            "recursive": .boolean(description: "remove a directory with what is in it; false when absent"),
            "missing": .string(
                description: "what it means that there is nothing; done when absent",
                values: Missing.allCases.map(\.rawValue)),
            "exclusive": FileParameters.exclusiveSchema,
        ], required: ["path"])

    public init(path: String, recursive: Bool? = nil, missing: Missing? = nil, exclusive: Bool? = nil) {
        self.path = path
        self.recursive = recursive
        self.missing = missing
        self.exclusive = exclusive
    }

    public func validate() throws(InvalidParameters) { try FileParameters.path(path, "path") }
}

/// What `file.delete.v1` yields.
public struct DeleteOutput: Codable, Sendable {
    public let path: String
    /// Entries removed; 0 when there was nothing.
    public let removed: Int
}

extension DeleteParameters {
    func run(_ files: FileAccess, _ context: JobContext) async throws -> DeleteOutput {
        let path = try RootedPath(path)
        guard let name = path.name else { throw FileError(.isDirectory, "\(path)", "is the root itself") }
        return try await files.exclusively(exclusive, path, context) {
            try await context.confirmClaim()
            let removal = try await files.threads.run { () -> StepState<Removal>? in
                do {
                    let parent = try files.roots.parent(of: path, for: .writing)
                    guard try parent.status(name) != nil else {
                        throw FileError(.notFound, "\(path)", "does not exist")
                    }
                    return StepState(Removal(name, in: parent, isRecursive: recursive ?? false, files.settings))
                } catch let error as FileError where error.reason == .notFound && missing != .error {
                    return nil
                }
            }
            guard let removal else { return DeleteOutput(path: "\(path)", removed: 0) }
            let count = try await files.threads.inSteps { try removal.use { try $0.step() } }
            return DeleteOutput(path: "\(path)", removed: count)
        }
    }
}

/// Removes an entry and what is in it, a stretch at a time. A symbolic link is removed itself, whatever it leads to.
struct Removal: ~Copyable, Sendable {
    private let parent: RootedDirectory
    private let name: String
    private let isRecursive: Bool
    private let depthMax: Int
    private let entriesMax: Int
    private let syncs: Bool
    private var removed = 0

    /// Entries removed before others have their turn.
    private static let stepEntries = 256

    init(_ name: String, in parent: consuming RootedDirectory, isRecursive: Bool, _ settings: FileSettings) {
        self.parent = parent
        self.name = name
        self.isRecursive = isRecursive
        depthMax = settings.depthMax
        entriesMax = settings.entriesExaminedMax
        syncs = settings.syncs
    }

    mutating func step() throws -> FileThreads.Step<Int> {
        let stepEnd = min(removed + Self.stepEntries, entriesMax)
        var count = removed
        defer { removed = count }
        guard try remove(name, in: parent, depth: 0, counting: &count, until: stepEnd) else {
            guard count < entriesMax else {
                throw FileError(
                    .tooLarge, "\(parent.path.appending(name))",
                    "has more than \(entriesMax) entries (file.entries_examined); they are removed so far, delete the rest "
                        + "with another job")
            }
            return .more
        }
        if syncs { try parent.sync() }
        return .done(count)
    }

    /// - Returns: false when there is more to remove.
    private func remove(
        _ name: String, in directory: borrowing RootedDirectory, depth: Int, counting removed: inout Int,
        until stepEnd: Int
    ) throws -> Bool {
        guard let status = try directory.status(name) else { return true }
        if removed >= stepEnd { return false }
        guard status.kind == .directory else {
            try directory.remove(name)
            removed += 1
            if depth == 0 { try removeJournal(of: name, in: directory) }
            return true
        }
        if isRecursive {
            guard depth < depthMax else {
                throw FileError(
                    .tooLarge, "\(directory.path.appending(name))", "lies deeper than \(depthMax) (file.depth)")
            }
            let inner = try directory.directory(name)
            // As many names as one step removes: what is deleted while a directory is read may or may not be read again.
            var names: [String] = []
            try inner.names(reserved: true) { (name) throws(FileError) in
                names.append(name)
                return names.count < Self.stepEntries
            }
            for name in names {
                guard try remove(name, in: inner, depth: depth + 1, counting: &removed, until: stepEnd) else {
                    return false
                }
            }
            // More than were read this time.
            if names.count == Self.stepEntries { return false }
        }
        try directory.removeDirectory(name)
        removed += 1
        return true
    }

    /// What appending to the file left beside it.
    private func removeJournal(of name: String, in directory: borrowing RootedDirectory) throws {
        do {
            try directory.remove(try AppendJournal.name(of: name))
        } catch  where error.reason == .notFound {}
    }
}
