import RootedFiles

/// What the file subsystem may do, and how much of it one job may do.
public struct FileSettings: Sendable {
    /// The directories that jobs may use. None: every job fails with `file.unknown-root`.
    public var roots: [FileRoot] = []
    /// Whether symbolic links that stay beneath their root are followed.
    public var followsSymlinks = false
    /// Whether files with several names may be read and appended to.
    public var allowsHardLinks = false
    /// Threads for file operations. They wait for the disk rather than for the processor, so more than there are cores.
    public var threads = 8
    /// Threads for parse jobs.
    public var parseThreads = 2
    /// Steps that may wait for a thread, of each kind.
    public var queueMax = 10_000
    /// The most bytes of a file that a result holds. Base64 and JSON make them more: `limits.output_bytes` must hold that.
    public var readBytesMax = 256 << 10
    /// The largest file that one job copies, or that appending makes, in bytes.
    public var fileBytesMax: Int64 = 64 << 30
    /// The largest document that is parsed, in bytes.
    public var documentBytesMax: Int64 = 16 << 30
    /// The most bytes of a document that a result holds.
    public var selectionBytesMax = 256 << 10
    /// How deep documents may nest.
    public var documentDepthMax = 128
    /// What the XML parser may use for names and for one tag, in bytes.
    public var xmlParserBytesMax = 8 << 20
    /// Entries in one page of a listing, and findings in one result.
    public var entriesMax = 1_000
    /// Entries that one job looks at in all, to list or to delete.
    public var entriesExaminedMax = 100_000
    /// How deep a listing or a deletion goes.
    public var depthMax = 32
    /// Whether what is written outlasts a loss of power before the job is done. Without it a job is done sooner.
    public var syncs = true
    /// How many jobs of a file the journal of appending remembers.
    var appendNotesMax = 4_096
    /// How many names of one directory a listing holds at a time; a larger directory is read several times.
    var namesHeldMax = 4_096

    public init() {}
}
