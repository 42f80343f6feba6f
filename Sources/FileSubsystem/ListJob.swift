import FleetModel
import RootedFiles

/// What `file.list.v1` takes.
public struct ListParameters: FileJob {
    public static let type: JobType = "file.list.v1"
    static let summary = "the entries of a directory, by pattern and depth, in pages"

    public var path: String
    /// What names or paths look like; see ``Glob``.
    public var glob: String?
    /// 1, when absent: the directory's own entries; 2: those of the directories in it as well, and so on.
    public var depth: Int?
    /// Kinds of entries; all when absent.
    public var types: [FileStatus.Kind]?
    /// Entries of a page; 1,000 at most by default, and when absent.
    public var limit: Int?
    /// `next_cursor` of the page before.
    public var cursor: String?

    static let depthMax = 128

    public static let schema = JSONSchema.object(
        [
            "path": FileParameters.pathSchema,
            "glob": .string(
                description: "* ? [a-z] in names; with a / in it, against paths beneath the directory, ** across /",
                lengthMax: Glob.lengthMax),
            "depth": .integer(
                description: "1, the directory's own entries, when absent", min: 1, max: depthMax),
            "types": .array(
                of: .string(values: ["file", "directory", "symlink", "other"]), description: "all when absent"),
            "limit": .integer(description: "entries of a page", min: 1),
            "cursor": .string(description: "next_cursor of the page before", lengthMax: RootedPath.bytesMax),
        ], required: ["path"])

    public init(
        path: String, glob: String? = nil, depth: Int? = nil, types: [FileStatus.Kind]? = nil, limit: Int? = nil,
        cursor: String? = nil
    ) {
        self.path = path
        self.glob = glob
        self.depth = depth
        self.types = types
        self.limit = limit
        self.cursor = cursor
    }

    public func validate() throws(InvalidParameters) {
        let path = try FileParameters.path(path, "path", mayBeRoot: true)
        if let glob, Glob(glob) == nil {
            throw InvalidParameters(
                "'glob' must have 1 to \(Glob.lengthMax) characters, and a ']' for each '[', with a-z in ascending order"
            )
        }
        try FileParameters.check(depth, "depth", 1...Self.depthMax)
        try FileParameters.check(limit, "limit", 1...Int(Int32.max))
        if let types, types.isEmpty { throw InvalidParameters("'types' must name at least one kind, or be left out") }
        if let cursor { try FileParameters.path("\(path.root):\(cursor)", "cursor") }
    }
}

/// What `file.list.v1` yields.
public struct ListOutput: Codable, Sendable {
    public struct Entry: Codable, Sendable {
        public let path: String
        public let type: FileStatus.Kind
        public let bytes: Int64
        /// Milliseconds since 1970.
        public let modifiedMilliseconds: Int64
        /// Permissions in octal.
        public let mode: String

        enum CodingKeys: String, CodingKey {
            case path, type, bytes, mode
            case modifiedMilliseconds = "modified_ms"
        }
    }

    public let path: String
    /// In the order of their names' bytes, a directory before what is in it.
    public let entries: [Entry]
    /// Where the next page begins; absent when this is the last. What is made or removed between two pages may show or not;
    /// what is there throughout shows once.
    public let nextCursor: String?

    enum CodingKeys: String, CodingKey {
        case path, entries
        case nextCursor = "next_cursor"
    }
}

extension ListParameters {
    func run(_ files: FileAccess, _ context: JobContext) async throws -> ListOutput {
        let path = try RootedPath(path)
        let settings = files.settings
        if let depth, depth > settings.depthMax {
            throw JobFailure(
                .permanent, code: "file.too-deep",
                message: "'depth' is \(depth); listings go \(settings.depthMax) deep at most (file.depth)")
        }
        let cursor = try cursor.map { try RootedPath("\(path.root):\($0)").components }
        let wish = Listing.Wish(
            glob: glob.flatMap { Glob($0) }, types: types.map { Set($0) }, depth: depth ?? 1,
            entriesMax: min(limit ?? settings.entriesMax, settings.entriesMax),
            examinedMax: settings.entriesExaminedMax, namesMax: settings.namesHeldMax)
        let state = try await files.threads.run {
            StepState(try Listing(of: path, after: cursor, wish, files.roots))
        }
        let listing = try await files.threads.inSteps {
            try state.use { listing -> FileThreads.Step<ListOutput> in
                guard try listing.step() else { return .more }
                return .done(
                    ListOutput(path: "\(path)", entries: listing.entries, nextCursor: listing.nextCursor))
            }
        }
        files.metrics.listed(listing.entries.count)
        return listing
    }
}
