import Glibc

/// A private directory for the profiles of one pool's browsers, and the removal of those that killed workers left behind.
///
/// ```
/// <parent>/gaia-browser-Ab3dEf/   0711, ours
///                     ├── lock    held (flock) as long as its pool lives
///                     ├── 1/      0700, the profile of a browser, its user's
/// ```
///
/// The kernel lets go of a lock with the process that held it, however that ended. So whoever gets a directory's lock knows that
/// nobody uses it.
///
/// Sendable: its descriptors are set once.
final class ProfileDirectories: Sendable {
    static let prefix = "gaia-browser-"
    /// A directory without a lock is being made, or being removed; after so long it is neither.
    private static let unlockedSecondsMax = 3_600

    let path: String
    private let name: String
    private let parent: Int32
    private let directory: Int32
    private let lock: Int32

    /// Makes the directory.
    init(in parentPath: String) throws(BrowserPoolError) {
        let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC
        let parent = open(parentPath, flags)
        guard parent >= 0 else { throw Self.failure("browser.profile_parent cannot be opened: \(parentPath)") }
        do throws(BrowserPoolError) {
            try Self.checkParent(parent, parentPath)
            var template = Array("\(parentPath)/\(Self.prefix)XXXXXX".utf8CString)
            guard mkdtemp(&template) != nil else { throw Self.failure("no directory can be made in \(parentPath)") }
            path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
            name = String(path.dropFirst(parentPath.count + 1))
            directory = openat(parent, name, flags | O_NOFOLLOW)
            lock = openat(directory, "lock", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            guard directory >= 0, lock >= 0, flock(lock, LOCK_EX | LOCK_NB) == 0, fchmod(directory, 0o711) == 0 else {
                throw Self.failure("the directory for profiles of browsers cannot be locked: \(path)")
            }
        } catch {
            close(parent)
            throw error
        }
        self.parent = parent
    }

    deinit {
        close(lock)
        close(directory)
        close(parent)
    }

    /// A parent in which others may rename what is ours would let them put something else there.
    private static func checkParent(_ descriptor: Int32, _ path: String) throws(BrowserPoolError) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure("\(path) cannot be looked at") }
        let isOpenToOthers = status.st_mode & 0o022 != 0 && status.st_mode & S_ISVTX == 0
        guard !isOpenToOthers, status.st_uid == geteuid() || status.st_uid == 0 else {
            throw BrowserPoolError(
                .badSetting, "browser.profile_parent must be a directory that nobody else may change: \(path)")
        }
    }

    /// Makes the directory of one profile.
    ///
    /// - Parameter owner: the user and group that the browser runs as; nil for ours.
    func make(_ number: Int, owner: (user: UInt32, group: UInt32)?) throws(BrowserPoolError) -> String {
        let name = String(number)
        guard mkdirat(directory, name, 0o700) == 0 else { throw Self.failure("no profile can be made in \(path)") }
        if let owner, fchownat(directory, name, owner.user, owner.group, AT_SYMLINK_NOFOLLOW) != 0 {
            throw Self.failure("a profile in \(path) cannot be given to the browser's user")
        }
        return "\(path)/\(name)"
    }

    /// Removes one profile; its browser is gone.
    func remove(_ number: Int) throws(BrowserPoolError) { try Self.removeTree(String(number), in: directory) }

    /// Removes everything. The lock goes last, with the directory.
    func removeAll() throws(BrowserPoolError) { try Self.removeTree(name, in: parent) }

    /// Removes what pools left that are no more. Returns how many there were.
    @discardableResult
    func removeLeftovers() throws(BrowserPoolError) -> Int {
        var removed = 0
        for entry in try Self.names(in: parent) where entry.hasPrefix(Self.prefix) && entry != name {
            let left = openat(parent, entry, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard left >= 0 else { continue }
            defer { close(left) }
            var status = stat()
            guard fstat(left, &status) == 0, status.st_uid == geteuid() else { continue }
            let lock = openat(left, "lock", O_RDWR | O_NOFOLLOW | O_CLOEXEC)
            defer { if lock >= 0 { close(lock) } }
            let isLeft =
                lock >= 0
                ? flock(lock, LOCK_EX | LOCK_NB) == 0
                : errno == ENOENT && time(nil) - status.st_mtim.tv_sec > Self.unlockedSecondsMax
            guard isLeft else { continue }
            try Self.removeTree(entry, in: parent)
            removed += 1
        }
        return removed
    }

    // MARK: Trees

    /// Removes a directory and all in it. It follows no symbolic link and walks no path, so whoever may write in there can lead
    /// it nowhere else.
    private static func removeTree(_ name: String, in parent: Int32) throws(BrowserPoolError) {
        let directory = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if directory < 0 && errno == ENOENT { return }
        guard directory >= 0 else { throw failure("a leftover directory of a browser cannot be opened") }
        defer { close(directory) }
        // The lock last: as long as it is there nobody else takes the directory for abandoned.
        let names = try names(in: directory).sorted { $1 == "lock" && $0 != "lock" }
        for name in names where unlinkat(directory, name, 0) != 0 && errno != ENOENT {
            guard errno == EISDIR || errno == EPERM || errno == ENOTEMPTY else {
                throw failure("a file of a browser's profile cannot be removed")
            }
            try removeTree(name, in: directory)
        }
        guard unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT else {
            throw failure("a directory of a browser's profile cannot be removed")
        }
    }

    private static func names(in directory: Int32) throws(BrowserPoolError) -> [String] {
        // A descriptor of its own, since closedir closes it, and with a place of its own in the directory.
        let copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0, let stream = fdopendir(copy) else { throw failure("a directory cannot be read") }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }

    private static func failure(_ what: String) -> BrowserPoolError {
        BrowserPoolError(.launchFailed, "\(what): \(String(cString: strerror(errno)))")
    }
}
