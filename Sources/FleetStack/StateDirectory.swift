import FoundationEssentials
import Glibc

/// A directory of ours that holds one server's or one stack's files.
///
/// The directory itself belongs to us and is open to be passed through; what a server writes lies in subdirectories
/// that belong to the server's user. So a server can never change our own records of it.
struct StateDirectory: Sendable {
    let path: String

    init(_ path: String) throws {
        guard !path.isEmpty else { throw StackError(.directory, "The directory's name is empty.") }
        guard !path.contains(where: \.isWhitespace), !path.contains("'"), !path.contains("\"") else {
            // It is written into configuration files and shell variables of two other projects.
            throw StackError(.directory, "The directory \(path) has a blank or quote in its name: choose another.")
        }
        let absolute = path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
        self.path = absolute.count > 1 && absolute.hasSuffix("/") ? String(absolute.dropLast()) : absolute
    }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    func exists(_ name: String) -> Bool { access(file(name), F_OK) == 0 }

    /// Makes the directory, or takes the one that is there if it is safely ours, and sees that `account` can reach it.
    func claim(for account: Account? = nil) throws {
        try Self.makeAncestors(of: path)
        if mkdir(path, 0o755) == 0 {
            // The mode that mkdir set went through our umask.
            guard chmod(path, 0o755) == 0 else { throw systemError("Cannot chmod \(path)") }
        } else if errno != EEXIST {
            throw systemError("Cannot create \(path)")
        }
        var status = stat()
        guard lstat(path, &status) == 0 else { throw systemError("Cannot look at \(path)") }
        // In /tmp or /var/tmp anyone may have made it before us, and would then own our password and data.
        guard status.st_mode & S_IFMT == S_IFDIR, status.st_uid == geteuid(), status.st_mode & 0o022 == 0 else {
            throw StackError(
                .directory,
                "\(path) is not a directory of ours that only we may write to: choose another, or remove it."
            )
        }
        if let account { try Self.checkReach(path, account) }
    }

    /// Holds an exclusive lock on the directory while the body runs: `up` and `down` exclude each other.
    func withLock<Value>(within limit: Duration, _ body: () async throws -> Value) async throws -> Value {
        let descriptor = open(file(".lock"), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw systemError("Cannot open \(file(".lock"))") }
        // Closing gives the lock back.
        defer { close(descriptor) }
        let taken: Bool? = try await polling(within: limit, every: .milliseconds(50)) {
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return true }
            guard errno == EWOULDBLOCK || errno == EINTR else { throw systemError("Cannot lock \(path)") }
            return nil
        }
        guard taken != nil else {
            throw StackError(.busy, "Another start or stop in \(path) has not ended within \(limit): try again later.")
        }
        return try await body()
    }

    /// Deletes the directory with all that is in it.
    func remove() throws {
        guard access(path, F_OK) == 0 else { return }
        do {
            try FileManager.default.removeItem(atPath: path)
        } catch {
            throw StackError(.directory, "Cannot remove \(path): \(error)")
        }
    }

    private static func makeAncestors(of path: String) throws {
        let parent = parent(of: path)
        guard access(parent, F_OK) != 0 else { return }
        try makeAncestors(of: parent)
        try makeDirectory(parent, mode: 0o755)
    }

    private static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
        return String(path[..<slash])
    }

    /// Each directory on the way must let the server's user pass, or it fails later with no hint why.
    private static func checkReach(_ path: String, _ account: Account) throws {
        var step = resolvedPath(path)
        while true {
            var status = stat()
            guard stat(step, &status) == 0 else { throw systemError("Cannot look at \(step)") }
            let mayPass: mode_t =
                if status.st_uid == account.user {
                    0o100
                } else if account.groups.contains(status.st_gid) {
                    0o010
                } else {
                    0o001
                }
            guard status.st_mode & mayPass != 0 else {
                throw StackError(
                    .directory,
                    "The server's user \(account.name) cannot pass through \(step), so \(path) is out of its reach: "
                        + "choose a directory such as \(Stack.defaultDirectory())."
                )
            }
            if step == "/" { return }
            step = parent(of: step)
        }
    }
}
