/// The settings `file.…`, as they were read. What their texts mean, the subsystem says.
public struct FileConfiguration: Sendable {
    /// `data=/srv/data,templates=/srv/templates:ro`; nil when none is set.
    public var roots: String?
    public var followsSymlinks: Bool
    public var allowsHardLinks: Bool
    public var threads: Int
    public var parseThreads: Int
    public var readBytesMax: Int
    public var fileBytesMax: Int
    public var documentBytesMax: Int
    public var selectionBytesMax: Int
    public var documentDepthMax: Int
    public var entriesMax: Int
    public var entriesExaminedMax: Int
    public var depthMax: Int
    public var syncs: Bool

    init(_ values: SettingValues) throws(ConfigurationError) {
        roots = values.text("file.roots")
        followsSymlinks = try values.choice("file.follow_symlinks") == "true"
        allowsHardLinks = try values.choice("file.hard_links") == "true"
        threads = try values.number("file.threads")
        parseThreads = try values.number("file.parse_threads")
        readBytesMax = try values.number("file.read_bytes")
        fileBytesMax = try values.number("file.bytes")
        documentBytesMax = try values.number("file.document_bytes")
        selectionBytesMax = try values.number("file.selection_bytes")
        documentDepthMax = try values.number("file.document_depth")
        entriesMax = try values.number("file.entries")
        entriesExaminedMax = try values.number("file.entries_examined")
        depthMax = try values.number("file.depth")
        syncs = try values.choice("file.sync") == "true"
    }
}
