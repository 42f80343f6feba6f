import CFiles
import Glibc

/// A directory that was reached beneath a root. Its entries are named by one name each, so nothing done here walks a path
/// any more: what is renamed elsewhere meanwhile leads nowhere else.
public struct RootedDirectory: ~Copyable, Sendable {
    public let path: RootedPath
    let descriptor: Descriptor
    let rules: FileRoots.Rules

    init(_ descriptor: consuming Descriptor, _ path: RootedPath, _ rules: FileRoots.Rules) {
        self.descriptor = descriptor
        self.path = path
        self.rules = rules
    }

    /// What an entry is; a symbolic link itself. Nil when there is none.
    public func status(_ name: String) throws(FileError) -> FileStatus? {
        try checkName(name)
        var status = stat()
        do {
            try checked(subject(name)) { fstatat(descriptor.number, name, &status, AT_SYMLINK_NOFOLLOW) }
        } catch  where error.reason == .notFound {
            return nil
        }
        return FileStatus(status)
    }

    /// Whether the file may be written to when it exists.
    public enum Opening: Sendable {
        case reading
        case writing
        /// Made when it is missing, with this mode.
        case creating(mode: UInt32)
    }

    /// Opens a regular file; never through a symbolic link.
    public func file(_ name: String, _ opening: Opening = .reading) throws(FileError) -> RegularFile {
        try checkName(name)
        let (flags, mode): (Int32, UInt32) =
            switch opening {
            case .reading: (O_RDONLY, 0)
            case .writing: (O_RDWR, 0)
            case .creating(let mode): (O_RDWR | O_CREAT, mode)
            }
        let number = try checked(subject(name)) {
            openat(descriptor.number, name, flags | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, mode)
        }
        let file = Descriptor(number)
        try rules.check(try FileStatus(of: file, subject(name)), subject(name))
        return RegularFile(file, path.appending(name))
    }

    /// Opens a directory in this one; never through a symbolic link.
    public func directory(_ name: String) throws(FileError) -> RootedDirectory {
        try checkName(name)
        let number = try checked(subject(name)) {
            openat(descriptor.number, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        }
        return RootedDirectory(Descriptor(number), path.appending(name), rules)
    }

    /// - Returns: false when a directory of that name was there already.
    @discardableResult
    public func makeDirectory(_ name: String, mode: UInt32 = 0o750) throws(FileError) -> Bool {
        try checkName(name)
        do {
            try checked(subject(name)) { mkdirat(descriptor.number, name, mode) }
            return true
        } catch  where error.reason == .exists {
            return false
        }
    }

    /// Removes a file, or the symbolic link itself.
    public func remove(_ name: String) throws(FileError) {
        try checkName(name)
        try checked(subject(name)) { unlinkat(descriptor.number, name, 0) }
    }

    /// Removes an empty directory.
    public func removeDirectory(_ name: String) throws(FileError) {
        try checkName(name)
        try checked(subject(name)) { unlinkat(descriptor.number, name, AT_REMOVEDIR) }
    }

    /// - Parameter replacing: whether a file of the new name gives way; else ``FileError/Reason/exists``.
    public func rename(
        _ name: String, to target: borrowing RootedDirectory, _ targetName: String, replacing: Bool
    ) throws(FileError) {
        try checkName(name)
        try checkName(targetName)
        let (from, to) = (descriptor.number, target.descriptor.number)
        do {
            try checked(target.subject(targetName)) {
                replacing
                    ? renameat(from, name, to, targetName) : gaia_rename_if_absent(from, name, to, targetName)
            }
        } catch  where error.reason == .outsideRoot {
            // Both ends are beneath their roots already; what rename means by it is two file systems.
            throw FileError(
                .otherFileSystem, subject(name), "lies on another file system than '\(target.subject(targetName))'")
        }
    }

    /// Which file system it lies on.
    public func device() throws(FileError) -> UInt64 { try FileStatus(of: descriptor, "\(path)").device }

    /// Makes what happened to its entries outlast a loss of power.
    public func sync() throws(FileError) { try checked("\(path)") { fsync(descriptor.number) } }

    /// Reads names in no order until `body` returns false. Names that are no UTF-8 are left out: no job could ask for them.
    ///
    /// - Parameter reserved: whether the fleet's own files are among them.
    public func names(reserved: Bool = false, _ body: (String) throws(FileError) -> Bool) throws(FileError) {
        // A descriptor of its own: the position in a directory belongs to the open file, not to its number.
        let number = try checked("\(path)") {
            openat(descriptor.number, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        }
        guard let stream = gaia_directory_stream_open(number) else { throw FileError(errno: errno, "\(path)") }
        defer { gaia_directory_stream_close(stream) }
        while true {
            guard let bytes = gaia_directory_stream_next(stream) else {
                let code = errno
                if code == 0 { return }
                throw FileError(errno: code, "\(path)")
            }
            guard let name = String(validatingCString: bytes),
                reserved || !name.hasPrefix(RootedFiles.reservedPrefix)
            else { continue }
            if try !body(name) { return }
        }
    }

    /// A descriptor of the same directory, closed by exec, for the caller to close.
    public func duplicate() throws(FileError) -> Int32 {
        try checked("\(path)") { fcntl(descriptor.number, F_DUPFD_CLOEXEC, 3) }
    }

    func subject(_ name: String) -> String { "\(path.appending(name))" }

    /// A name with a slash in it would be walked.
    private func checkName(_ name: String) throws(FileError) {
        if name.isEmpty || name == "." || name == ".." || name.utf8.contains(UInt8(ascii: "/")) || name.utf8.contains(0)
        {
            throw FileError(.invalidPath, subject(name), "is no name of one entry")
        }
    }
}
