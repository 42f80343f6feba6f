import CSpawn
import Glibc
import Synchronization

/// A program that was looked at once and is executed by its descriptor ever after: what was checked is what runs, whatever
/// is put at its path later.
public final class ExecutableFile: Sendable {
    /// Why a file is none that may be run.
    public enum Flaw: Error, Sendable, Equatable {
        case missing
        /// A directory, a device.
        case notRegular
        /// Nobody may execute it.
        case notExecutable
        /// Others than its owner may change it, and so what runs.
        case writableByOthers
        case system(errno: Int32)
    }

    /// As it was named; the program sees it as its own name.
    public let path: String
    let descriptor: Descriptor
    /// A script begins with `#!`; its interpreter reads it by way of the descriptor, as `/dev/fd/N`.
    let isScript: Bool

    /// Opens the file that a path leads to now.
    ///
    /// - Throws: ``Flaw``.
    public init(path: String) throws(Flaw) {
        let number = open(path, gaia_open_path | O_CLOEXEC)
        guard number >= 0 else {
            throw errno == ENOENT || errno == ENOTDIR ? .missing : .system(errno: errno)
        }
        descriptor = Descriptor(number)
        self.path = path
        var status = stat()
        guard fstat(number, &status) == 0 else { throw .system(errno: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .notRegular }
        guard status.st_mode & 0o111 != 0 else { throw .notExecutable }
        guard status.st_mode & 0o022 == 0 else { throw .writableByOthers }
        // Opened anew through the descriptor, and so the same file. One that may be executed but not read is no script: an
        // interpreter could not read it either.
        let reading = open("/proc/self/fd/\(number)", O_RDONLY | O_CLOEXEC)
        if reading >= 0 {
            let content = Descriptor(reading)
            var head: (UInt8, UInt8) = (0, 0)
            isScript = pread(content.number, &head, 2, 0) == 2 && head == (UInt8(ascii: "#"), UInt8(ascii: "!"))
        } else {
            isScript = false
        }
    }
}

/// A directory that stays the same one, whatever is renamed.
public final class OpenDirectory: Sendable {
    let descriptor: Descriptor

    /// Takes over an open descriptor.
    public init(adopting descriptor: Int32) { self.descriptor = Descriptor(descriptor) }
}

/// One end of a pair of sockets, meant for a process: closed here once the process has it, so that the other end tells when
/// the process is gone.
public final class HandedSocket: Sendable {
    private let number: Atomic<Int32>

    /// Takes over an open descriptor.
    public init(adopting descriptor: Int32) { number = Atomic(descriptor) }

    deinit {
        let left = take()
        if left >= 0 { close(left) }
    }

    /// The descriptor, which the caller closes; -1 when it was taken already.
    func take() -> Int32 { number.exchange(-1, ordering: .acquiringAndReleasing) }
}

/// An open file descriptor, closed where its life ends.
struct Descriptor: ~Copyable, Sendable {
    let number: Int32

    init(_ number: Int32) { self.number = number }

    deinit { close(number) }
}
