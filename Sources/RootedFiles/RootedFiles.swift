/// # RootedFiles
///
/// Files that stay where they belong: every path is walked by the kernel beneath a directory that an operator allowed. It
/// knows no jobs.
///
/// ```
///  "data:lessons/1.json" ──RootedPath──▶ FileRoots ──openat2, beneath the root──▶ RootedDirectory ──*at calls──▶ entry
///                                                                                    │
///                     FileThreads: blocking steps off the cooperative pool           ├──▶ RegularFile (read in pieces)
///                     ResultFiles ──▶ FileSink ──▶ FileReference                     └──▶ AtomicFile (temporary, rename)
/// ```
///
/// The guard is never a look at the text of a path: text is only brought into one spelling, and the kernel refuses a
/// walk that would leave the root, whatever other processes rename meanwhile (`RESOLVE_BENEATH`). What is opened is then
/// looked at by its descriptor: only regular files with a single name, and directories, are let through.
///
/// All calls here block, except those marked `async`; run them by ``FileThreads``.
public enum RootedFiles {
    /// How many bytes are read or written at a time: memory for a file of any size is a small multiple of it.
    public static let pieceBytes = 64 << 10

    /// Names that begin so are ours (temporaries, journals). Paths of others must not have them, and listings hide them.
    public static let reservedPrefix = ".gaia-"
}
