import CFiles
import Glibc

/// The directories that jobs may use, each opened once.
public final class FileRoots: Sendable {
    /// What is let through beneath a root.
    public struct Rules: Sendable, Hashable {
        /// Whether symbolic links that stay beneath their root are followed on the way to a file and when one is read. A
        /// link that leads out is refused in any case. With it, one file may have several paths, and so several locks.
        public var followsSymlinks: Bool
        /// Whether a regular file with several names may be read and appended to. Another name may lie outside.
        public var allowsHardLinks: Bool

        public init(followsSymlinks: Bool = false, allowsHardLinks: Bool = false) {
            self.followsSymlinks = followsSymlinks
            self.allowsHardLinks = allowsHardLinks
        }
    }

    public enum Use: Sendable { case reading, writing }

    private final class OpenRoot: Sendable {
        let root: FileRoot
        let descriptor: Descriptor

        init(_ root: FileRoot) throws(FileError) {
            let number = Glibc.open(root.directory, gaia_open_path_only | O_DIRECTORY | O_CLOEXEC)
            guard number >= 0 else {
                throw FileError(
                    .unknownRoot, root.name,
                    "cannot be opened at \(root.directory): \(String(cString: strerror(errno))); make the directory, "
                        + "or change file.roots")
            }
            self.root = root
            descriptor = Descriptor(number)
        }
    }

    private let open: [String: OpenRoot]
    public let rules: Rules
    /// As they were given.
    public let roots: [FileRoot]
    /// How often a walk is tried again that a rename next to it disturbed.
    private static let walksMax = 16

    /// - Throws: a directory is missing, or two roots have one name.
    public init(_ roots: [FileRoot], rules: Rules = Rules()) throws(FileError) {
        var open: [String: OpenRoot] = [:]
        for root in roots {
            guard open[root.name] == nil else { throw FileError(.invalidPath, root.name, "names two roots") }
            open[root.name] = try OpenRoot(root)
        }
        self.open = open
        self.roots = roots
        self.rules = rules
    }

    /// Opens a regular file for reading. It does not wait for anyone, as the opening of a FIFO would.
    public func file(_ path: RootedPath) throws(FileError) -> RegularFile {
        // By the whole path, so that a link that is followed is judged from the root.
        RegularFile(try regular(try walk(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | lastLinkFlag), "\(path)"), path)
    }

    /// Opens a directory.
    public func directory(_ path: RootedPath, for use: Use = .reading) throws(FileError) -> RootedDirectory {
        if use == .writing { try checkWritable(path) }
        return RootedDirectory(try walk(path, O_RDONLY | O_DIRECTORY | lastLinkFlag), path, rules)
    }

    /// Opens the directory that holds the entry of `path`.
    ///
    /// - Parameter creating: whether directories that are missing on the way are made, with mode 0o750.
    public func parent(
        of path: RootedPath, for use: Use, creating: Bool = false
    ) throws(FileError) -> RootedDirectory {
        guard let parent = path.parent else {
            throw FileError(.invalidPath, "\(path)", "is the root itself; name something beneath it")
        }
        do {
            return try directory(parent, for: use)
        } catch {
            guard creating, use == .writing, error.reason == .notFound else { throw error }
            return try makeDirectory(parent)
        }
    }

    /// Makes a directory and those above it that are missing.
    public func makeDirectory(_ path: RootedPath) throws(FileError) -> RootedDirectory {
        var reached = try RootedPath("\(path.root):")
        var directory = try directory(reached, for: .writing)
        for name in path.components {
            reached = reached.appending(name)
            let isMade = try directory.makeDirectory(name)
            if isMade { try directory.sync() }
            directory = try self.directory(reached, for: .writing)
        }
        return directory
    }

    /// What an entry is, without opening it; a link itself, not what it leads to. Nil when there is none.
    public func status(_ path: RootedPath) throws(FileError) -> FileStatus? {
        do {
            guard let name = path.name else {
                return try FileStatus(of: try walk(path, gaia_open_path_only | O_NOFOLLOW), "\(path)")
            }
            return try parent(of: path, for: .reading).status(name)
        } catch  where error.reason == .notFound {
            return nil
        }
    }

    /// - Throws: unless the root exists and may be written.
    public func checkWritable(_ path: RootedPath) throws(FileError) {
        if try !root(of: path).root.isWritable {
            throw FileError(.readOnly, "\(path)", "lies in a root that may only be read")
        }
    }

    private var lastLinkFlag: Int32 { rules.followsSymlinks ? 0 : O_NOFOLLOW }

    private func root(of path: RootedPath) throws(FileError) -> OpenRoot {
        if let root = open[path.root] { return root }
        let names = open.keys.sorted().joined(separator: ", ")
        throw FileError(
            .unknownRoot, "\(path)",
            names.isEmpty ? "cannot be used: file.roots names no directory" : "is in no root; there are: \(names)")
    }

    private func walk(_ path: RootedPath, _ flags: Int32) throws(FileError) -> Descriptor {
        let root = try root(of: path)
        let walk = rules.followsSymlinks ? GAIA_WALK_BENEATH : GAIA_WALK_BENEATH_WITHOUT_LINKS
        for _ in 1...Self.walksMax {
            let number = gaia_open_beneath(root.descriptor.number, path.way, flags, 0, walk)
            if number >= 0 { return Descriptor(number) }
            let code = errno
            if code != EAGAIN && code != EINTR { throw FileError(errno: code, "\(path)") }
        }
        throw FileError(errno: EAGAIN, "\(path)")
    }

    private func regular(_ descriptor: consuming Descriptor, _ subject: String) throws(FileError) -> Descriptor {
        try rules.check(try FileStatus(of: descriptor, subject), subject)
        return descriptor
    }
}

extension FileRoots.Rules {
    /// - Throws: unless it is a regular file that has a single name.
    func check(_ status: FileStatus, _ subject: String) throws(FileError) {
        switch status.kind {
        case .file: break
        case .directory: throw FileError(errno: EISDIR, subject)
        case .symlink: throw FileError(errno: ELOOP, subject)
        case .other: throw FileError(errno: ENXIO, subject)
        }
        if status.linkCount > 1 && !allowsHardLinks {
            throw FileError(
                .hardLinked, subject,
                "has \(status.linkCount) names, of which one may lie outside the root; copy it, or set file.hard_links")
        }
    }
}
