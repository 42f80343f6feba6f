import Glibc

/// Why something could not be done to a file.
public struct FileError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Reason: String, Sendable, CaseIterable {
        /// The path is none: no root, an absolute path, `..`, U+0000, a name of ours.
        case invalidPath = "invalid-path"
        /// No root has this name.
        case unknownRoot = "unknown-root"
        /// The walk would have left the root.
        case outsideRoot = "outside-root"
        /// A symbolic link lies on the way.
        case symlink = "symlink"
        /// The root may only be read.
        case readOnly = "read-only"
        case notFound = "not-found"
        case exists = "exists"
        /// A FIFO, socket or device.
        case notRegular = "not-regular"
        /// A regular file that has a second name, which may lie anywhere.
        case hardLinked = "hard-linked"
        case isDirectory = "is-directory"
        case notDirectory = "not-a-directory"
        case notEmpty = "not-empty"
        case tooLarge = "too-large"
        /// The operating system's permissions.
        case denied = "denied"
        case noSpace = "no-space"
        /// The source and the target lie on different file systems.
        case otherFileSystem = "other-file-system"
        /// Another process changes the same thing, or too much waits already.
        case busy = "busy"
        /// Anything else that the system says, such as a broken disk.
        case system = "system"
    }

    public let reason: Reason
    /// What was touched, as the job spells it; no path of the machine.
    public let subject: String
    /// What happened, and what to do.
    public let detail: String

    public init(_ reason: Reason, _ subject: String, _ detail: String) {
        self.reason = reason
        self.subject = subject
        self.detail = detail
    }

    /// A stable word for grouping, such as `file.not-found`.
    public var code: String { "file.\(reason.rawValue)" }

    /// Whether the same may well succeed later.
    public var isTransient: Bool {
        switch reason {
        case .busy, .noSpace, .system: true
        default: false
        }
    }

    public var description: String { "'\(subject)' \(detail)" }

    /// What a system call left in `errno`.
    package init(errno code: Int32, _ subject: String) {
        let (reason, detail): (Reason, String) =
            switch code {
            case ENOENT: (.notFound, "does not exist")
            case EEXIST: (.exists, "exists already")
            case EXDEV: (.outsideRoot, "leads out of its root")
            case ELOOP: (.symlink, "leads through a symbolic link, which is not followed; name the file itself")
            case EISDIR: (.isDirectory, "is a directory")
            case ENOTDIR: (.notDirectory, "is no directory, or lies beneath something that is none")
            case ENOTEMPTY: (.notEmpty, "is a directory that is not empty")
            // What opening a socket, or a FIFO or device that nobody serves, ends with.
            case ENXIO, ENODEV: (.notRegular, "is no regular file")
            case EACCES, EPERM: (.denied, "is not permitted to the worker's user")
            case EROFS: (.denied, "lies on a file system that is mounted read-only")
            case ENAMETOOLONG: (.invalidPath, "has a name that is too long for the file system")
            case EINVAL: (.invalidPath, "has a name that the file system does not take")
            case ENOSPC, EDQUOT: (.noSpace, "found no space left on its file system")
            case EFBIG: (.tooLarge, "is larger than the file system or the process's limit allows")
            case EMFILE, ENFILE: (.busy, "found no file descriptor left; raise the limit or run fewer jobs at once")
            case EAGAIN, EBUSY, ETXTBSY: (.busy, "is being changed by another process")
            case ENOSYS: (.system, "needs openat2, which this kernel or container does not offer (Linux 5.6)")
            default: (.system, "met an error of the system: \(String(cString: strerror(code)))")
            }
        self.init(reason, subject, detail)
    }
}

/// Calls again what a signal interrupted.
///
/// - Returns: what the call returned, never negative.
@discardableResult
func checked<Result: SignedInteger>(_ subject: @autoclosure () -> String, _ call: () -> Result) throws(FileError)
    -> Result
{
    while true {
        let result = call()
        if result >= 0 { return result }
        let code = errno
        if code != EINTR { throw FileError(errno: code, subject()) }
    }
}
