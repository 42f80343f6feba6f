import FoundationEssentials
import Glibc
import ProcessKeeper
import RootedFiles
import Synchronization

/// The directory of one job, made when it is first needed.
final class Exchange: Sendable {
    private let parent: String
    private let user: String?
    private let threads: FileThreads
    private let made = Mutex<ExchangeDirectory?>(nil)

    init(in parent: String, user: String?, _ threads: FileThreads) {
        self.parent = parent
        self.user = user
        self.threads = threads
    }

    /// For the job's own task, one call after the other.
    func directory() async throws -> ExchangeDirectory {
        if let directory = made.withLock({ $0 }) { return directory }
        let directory = try await threads.run { [parent, user] in try ExchangeDirectory(in: parent, user: user) }
        made.withLock { $0 = directory }
        return directory
    }

    /// Also in a task that was cancelled, which the threads would not serve.
    func remove() throws {
        try made.withLock { $0.take() }?.remove()
    }
}

/// A directory by which files are handed to a browser and taken from it, which may be another user. Nobody else may look in.
struct ExchangeDirectory: Sendable {
    let path: String
    private let owner: Account?

    /// Bytes copied at once.
    private static let pieceBytes = 256 << 10

    /// - Parameter user: whom browsers run as, when this process is root.
    /// - Throws: ``FileError``.
    init(in parent: String, user: String?) throws(FileError) {
        owner = Account.canChange ? user.flatMap { Account(name: $0) } : nil
        var template = Array("\(parent)/gaia-exchange-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw FileError(errno: errno, "a directory in \(parent)") }
        path = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        try give(path)
    }

    private func give(_ path: String) throws(FileError) {
        guard let owner else { return }
        guard lchown(path, owner.userID, owner.groupID) == 0 else {
            throw FileError(errno: errno, "a file for the browser")
        }
    }

    /// Copies a file to here, under its own name: pages see it.
    ///
    /// - Returns: its path here.
    func put(_ file: borrowing RegularFile, bytesMax: Int64) throws(FileError) -> String {
        let name = file.path.name ?? "file"
        // Two files may have one name; each gets a directory.
        var template = Array("\(path)/XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw FileError(errno: errno, "\(file.path)") }
        let directory = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let target = "\(directory)/\(name)"
        let descriptor = open(target, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o400)
        guard descriptor >= 0 else { throw FileError(errno: errno, "\(file.path)") }
        defer { Glibc.close(descriptor) }
        var offset: Int64 = 0
        while true {
            let piece = try file.read(at: offset, count: Self.pieceBytes)
            if piece.isEmpty { break }
            offset += Int64(piece.count)
            guard offset <= bytesMax else {
                throw FileError(.tooLarge, "\(file.path)", "is larger than \(bytesMax) bytes (browser.file_bytes)")
            }
            try write(piece, to: descriptor, "\(file.path)")
        }
        try give(target)
        try give(directory)
        return target
    }

    private func write(_ piece: [UInt8], to descriptor: Int32, _ subject: String) throws(FileError) {
        var rest = piece[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw FileError(errno: errno, subject) }
            rest = rest.dropFirst(count)
        }
    }

    /// Reads a file that the browser has put here, piece by piece.
    ///
    /// - Parameter name: the browser's own, without a path.
    func read(_ name: String, on threads: FileThreads, _ take: ([UInt8]) async throws -> Void) async throws {
        guard !name.contains("/"), name != "..", !name.isEmpty else {
            throw FileError(.invalidPath, "a download", "has no proper name")
        }
        let descriptor = try await threads.run { [path] in
            let descriptor = open("\(path)/\(name)", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
            guard descriptor >= 0 else { throw FileError(errno: errno, "a download") }
            return descriptor
        }
        defer { Glibc.close(descriptor) }
        while true {
            let piece = try await threads.run {
                try [UInt8](unsafeUninitializedCapacity: Self.pieceBytes) { buffer, count in
                    let got = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
                    guard got >= 0 else { throw FileError(errno: errno, "a download") }
                    count = got
                }
            }
            if piece.isEmpty { return }
            try await take(piece)
        }
    }

    func remove() throws {
        try FileManager.default.removeItem(atPath: path)
    }
}
