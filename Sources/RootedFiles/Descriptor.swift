import Glibc

/// An open file descriptor, closed where its life ends.
struct Descriptor: ~Copyable, Sendable {
    let number: Int32

    init(_ number: Int32) { self.number = number }

    deinit { close(number) }

    /// Another descriptor of the same open file, for an owner in C.
    func duplicate(_ subject: String) throws(FileError) -> Int32 {
        try checked(subject) { fcntl(number, F_DUPFD_CLOEXEC, 0) }
    }
}

/// What is known of an entry without opening it.
public struct FileStatus: Sendable, Hashable {
    public enum Kind: String, Sendable, Codable {
        case file, directory, symlink, other
    }

    public let kind: Kind
    public let bytes: Int64
    /// Since 1970, in nanoseconds.
    public let modifiedNanoseconds: Int64
    /// The permission bits, such as 0o640.
    public let mode: UInt32
    public let linkCount: UInt64
    /// Which file it is, among those of its file system.
    public let inode: UInt64
    public let device: UInt64
    public let userID: UInt32
    public let groupID: UInt32

    init(_ status: stat) {
        kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .directory
            case S_IFLNK: .symlink
            default: .other
            }
        bytes = Int64(status.st_size)
        modifiedNanoseconds = Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec)
        mode = status.st_mode & 0o7777
        linkCount = UInt64(status.st_nlink)
        inode = UInt64(status.st_ino)
        device = UInt64(status.st_dev)
        userID = status.st_uid
        groupID = status.st_gid
    }

    init(of descriptor: borrowing Descriptor, _ subject: String) throws(FileError) {
        var status = stat()
        let number = descriptor.number
        try checked(subject) { fstat(number, &status) }
        self.init(status)
    }
}
