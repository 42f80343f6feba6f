import FoundationEssentials
import RootedFiles
import Synchronization

/// One attempt's hold on the part of its download. For one caller at a time, who awaits each call.
final class PartialFile: Sendable {
    /// What a part is of.
    private struct Record: Codable {
        var url: String
        var validator: Validator
        var total: Int64?
        /// The file's name.
        var part: String
    }

    private struct Parts: ~Copyable {
        let directory: RootedDirectory
        var file: RegularFile?
        var name = ""
        var state = PartialState()
        /// How many files this attempt has begun.
        var begun = 0
    }

    private let parts: Mutex<Parts>
    private let target: RootedPath
    private let url: String
    private let stem: String
    private let token: Int64
    private let roots: FileRoots
    private let threads: FileThreads

    /// A record larger than this is none of ours.
    private static let recordBytesMax = 32 << 10

    /// Looks for what an attempt before has left. Blocks.
    init(
        in directory: consuming RootedDirectory, target: RootedPath, url: String, writer: FileWriter, roots: FileRoots,
        threads: FileThreads
    ) throws(FileError) {
        let digest = try FileDigest.hexadecimal(.sha256, of: Array("\(writer.key)\u{0}\(target)".utf8))
        stem = String(digest.prefix(32))
        self.target = target
        self.url = url
        token = writer.token
        self.roots = roots
        self.threads = threads
        var parts = Parts(directory: directory)
        try Self.adopt(&parts, recordName: "\(stem).json", stem: stem, url: url)
        self.parts = Mutex(parts)
    }

    deinit {
        parts.withLock { parts in
            guard parts.state.validator == nil, !parts.name.isEmpty else { return }
            // Nobody can go on with it, and nobody is left to tell; what stays behind is swept out when it is old.
            do { try Self.removeIfPresent(parts.name, in: parts.directory) } catch {}
        }
    }

    var state: PartialState { parts.withLock { $0.state } }

    // MARK: Receiving

    /// Begins a file for another version, and forgets the one before.
    func begin(_ validator: Validator?, total: Int64?) async throws {
        try await run { [self] parts in
            try Self.removeIfPresent(parts.name, in: parts.directory)
            parts.begun += 1
            parts.name = "\(stem)-\(token)-\(parts.begun).part"
            // One of this very name is left over when the ledger could not be told which attempt it was.
            try Self.removeIfPresent(parts.name, in: parts.directory)
            parts.file = .some(try parts.directory.file(parts.name, .creating(mode: 0o640)))
            parts.state = PartialState(offset: 0, validator: validator, total: total)
            try writeRecord(&parts)
        }
    }

    /// Appends. Returns once the bytes are with the kernel.
    func append(_ bytes: [UInt8]) async throws {
        try await run { parts in
            let offset = parts.state.offset
            try bytes.withUnsafeBytes { try parts.file?.write($0, at: offset) }
            parts.state.offset += Int64(bytes.count)
        }
    }

    /// Forgets what is there: the next request asks for the whole.
    func discard() async throws {
        try await run { [self] parts in try Self.remove(&parts, recordName: "\(stem).json") }
    }

    // MARK: The end

    /// The digest of what lies in the file, read back: of what is there, whoever wrote it.
    func digest(_ algorithm: FileDigest.Algorithm) async throws -> String {
        let reading = try await run { parts in
            try parts.file?.sync()
            return try FileReading(try parts.directory.file(parts.name), algorithm)
        }
        return try await reading.digest(threads)
    }

    /// Gives the file its name. Confirm the claim right before.
    ///
    /// - Parameter mark: put on the file, so that a repeat of the job knows it.
    func place(replacing: Bool, mark: FileMark) async throws {
        try await run { [self] parts in
            guard let name = target.name else { throw FileError(.isDirectory, "\(target)", "names no file") }
            try parts.file?.setMark(mark)
            let directory = try roots.parent(of: target, for: .writing, creating: true)
            if let there = try directory.status(name), there.kind == .directory {
                throw FileError(.isDirectory, "\(target)", "is a directory")
            }
            try parts.directory.rename(parts.name, to: directory, name, replacing: replacing)
            try directory.sync()
            parts.name = ""
            try Self.remove(&parts, recordName: "\(stem).json")
        }
    }

    /// Closes the file, and so leaves the part to the next attempt. Not by the end of this object's life, of which nobody
    /// knows the moment: an attempt that began before it would find the part locked, and begin anew.
    func letGo() { parts.withLock { $0.file = nil } }

    // MARK: On a thread

    private func run<Value: Sendable>(
        _ body: @Sendable @escaping (inout Parts) throws -> Value
    ) async throws -> Value {
        try await threads.run { [self] in try parts.withLock { parts in try body(&parts) } }
    }

    /// Takes over what the record names, if it is a part of what is wanted, and nobody writes to it.
    private static func adopt(
        _ parts: inout Parts, recordName: String, stem: String, url: String
    ) throws(FileError) {
        guard let record = try readRecord(recordName, in: parts.directory), record.part.hasPrefix(stem) else { return }
        var file: RegularFile
        do { file = try parts.directory.file(record.part, .writing) } catch  where error.reason == .notFound { return }
        let bytes = try file.status().bytes
        // An attempt that lives still, whatever was thought of it, keeps its file to itself.
        guard record.url == url, record.total.map({ bytes <= $0 }) ?? true, try file.tryLock() else { return }
        parts.file = consume file
        parts.name = record.part
        parts.state = PartialState(offset: bytes, validator: record.validator, total: record.total)
    }

    private static func readRecord(
        _ name: String, in directory: borrowing RootedDirectory
    ) throws(FileError) -> Record? {
        let bytes: [UInt8]
        do {
            bytes = try directory.file(name).read(at: 0, count: recordBytesMax)
        } catch  where error.reason == .notFound {
            return nil
        }
        // One that a crash has cut says nothing.
        do { return try JSONDecoder().decode(Record.self, from: Data(bytes)) } catch { return nil }
    }

    /// By rename, so that a reader sees one record or the other. A version that has no name has no record.
    private func writeRecord(_ parts: inout Parts) throws {
        let recordName = "\(stem).json"
        guard let validator = parts.state.validator else {
            try Self.removeIfPresent(recordName, in: parts.directory)
            return
        }
        // Held until the file is closed, so that no other attempt goes on with it meanwhile.
        guard try parts.file?.tryLock() == true else {
            throw FileError(.busy, "\(target)", "is being downloaded by another attempt")
        }
        let record = Record(url: url, validator: validator, total: parts.state.total, part: parts.name)
        let bytes = Array(try JSONEncoder().encode(record))
        let temporary = "\(stem)-\(token).tmp"
        try Self.removeIfPresent(temporary, in: parts.directory)
        let file = try parts.directory.file(temporary, .creating(mode: 0o640))
        try bytes.withUnsafeBytes { try file.write($0, at: 0) }
        try parts.directory.rename(temporary, to: parts.directory, recordName, replacing: true)
    }

    private static func remove(_ parts: inout Parts, recordName: String) throws(FileError) {
        try removeIfPresent(recordName, in: parts.directory)
        try removeIfPresent(parts.name, in: parts.directory)
        parts.file = nil
        parts.name = ""
        parts.state = PartialState()
    }

    private static func removeIfPresent(_ name: String, in directory: borrowing RootedDirectory) throws(FileError) {
        if name.isEmpty { return }
        do { try directory.remove(name) } catch  where error.reason == .notFound {}
    }
}
