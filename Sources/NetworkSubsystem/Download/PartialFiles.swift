import FleetModel
import FoundationEssentials
import RootedFiles
import Synchronization

/// Where the parts of downloads lie until they are whole: in a directory of their own beneath each root, which listings hide.
///
/// ```
///  ROOT/.gaia-downloads/DIGEST.json          of which version the part is, and in which file
///  ROOT/.gaia-downloads/DIGEST-TOKEN-N.part  its bytes
/// ```
///
/// `DIGEST` is made of the job's key and its target, so that a later attempt finds the part, on whatever worker it runs.
///
/// Two attempts never mix two versions in one file: a file only ever gets bytes of the version that its record names, each at
/// its own offset, and whatever begins anew begins a file with a name that carries its token. An attempt that was believed
/// dead and writes on so writes what is there already, or into a file that nobody knows any more.
struct PartialFiles: Sendable {
    static let directoryName = "\(RootedFiles.reservedPrefix)downloads"

    let roots: FileRoots
    let threads: FileThreads
    let keptFor: Duration
    private let sweeping = Sweeping()

    /// How often the parts beneath a root are looked through for old ones.
    static let sweepInterval: Duration = .seconds(3_600)

    /// Remembers when each root was last swept.
    private final class Sweeping: Sendable {
        private let last = Mutex<[String: ContinuousClock.Instant]>([:])

        func isDue(_ root: String) -> Bool {
            last.withLock { last in
                let now = ContinuousClock.now
                if let at = last[root], now - at < PartialFiles.sweepInterval { return false }
                last[root] = now
                return true
            }
        }
    }

    init(roots: FileRoots, threads: FileThreads, keptFor: Duration) {
        self.roots = roots
        self.threads = threads
        self.keptFor = keptFor
    }

    /// The part of a job's download, as an attempt before may have left it.
    func open(_ target: RootedPath, url: String, writer: FileWriter) async throws -> PartialFile {
        try await threads.run { [self] in
            let directory = try directory(of: target)
            if sweeping.isDue(target.root) { try sweep(directory) }
            return try PartialFile(
                in: directory, target: target, url: url, writer: writer, roots: roots, threads: threads)
        }
    }

    private func directory(of target: RootedPath) throws(FileError) -> RootedDirectory {
        let root = try roots.directory(try RootedPath("\(target.root):"), for: .writing)
        try root.makeDirectory(Self.directoryName)
        return try root.directory(Self.directoryName)
    }

    /// Removes what nobody has gone on with for long: parts of jobs that were given up.
    private func sweep(_ directory: borrowing RootedDirectory) throws(FileError) {
        let oldest = Date.now.timeIntervalSince1970 - keptFor / .seconds(1)
        var old: [String] = []
        try directory.names { name throws(FileError) in
            if let status = try directory.status(name), Double(status.modifiedNanoseconds) / 1e9 < oldest {
                old.append(name)
            }
            return true
        }
        for name in old {
            // Another worker may sweep too.
            do { try directory.remove(name) } catch  where error.reason == .notFound {}
        }
    }
}
