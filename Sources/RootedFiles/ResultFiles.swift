/// Puts results that are too large for a message into files.
public struct ResultFiles: Sendable {
    /// Where a result goes when nothing else is configured, beneath the first root that may be written.
    public static let patternDefault = "results/{type}/{shard}/{key}"

    private let roots: FileRoots
    private let threads: FileThreads
    private let pattern: String
    private let bytesMax: Int64

    /// - Parameters:
    ///   - pattern: a path in which `{type}`, `{key}` and `{shard}` stand for the job's type, its key, and two digits made
    ///     of the key, which keep directories small. Without a root's name, beneath the first that may be written.
    ///   - bytesMax: of one result.
    /// - Throws: the pattern makes no path, or no root may be written.
    public init(
        roots: FileRoots, threads: FileThreads, pattern: String = patternDefault, bytesMax: Int64
    ) throws(FileError) {
        if pattern.contains(":") {
            self.pattern = pattern
        } else {
            guard let root = roots.roots.first(where: \.isWritable) else {
                throw FileError(.unknownRoot, pattern, "has no root to lie in; name a writable directory in file.roots")
            }
            self.pattern = "\(root.name):\(pattern)"
        }
        self.roots = roots
        self.threads = threads
        self.bytesMax = bytesMax
        try roots.checkWritable(try path(type: "type", key: "key"))
    }

    /// Where the result of a job goes: for one key always the same place, so that a repeat replaces its own file.
    ///
    /// - Parameter suffix: behind the name, such as `.json`.
    public func path(type: String, key: String, suffix: String = "") throws(FileError) -> RootedPath {
        let shard = String(try FileDigest.hexadecimal(.sha256, of: Array(key.utf8)).prefix(2))
        var text = pattern
        for (place, value) in [("{type}", try Self.name(type)), ("{shard}", shard), ("{key}", try Self.name(key))] {
            text = text.split(separator: place, omittingEmptySubsequences: false).joined(separator: value)
        }
        return try RootedPath(text + suffix)
    }

    /// Opens a sink for a job's result.
    ///
    /// - Parameter path: where the job's parameters want it; by the pattern when nil.
    public func sink(
        type: String, key: String, token: Int64, suffix: String = "", at path: RootedPath? = nil
    ) async throws -> FileSink {
        let path = try path ?? self.path(type: type, key: key, suffix: suffix)
        return try await threads.run { [roots, threads, bytesMax] in
            guard let name = path.name else {
                throw FileError(.isDirectory, "\(path)", "is the root itself; name a file beneath it")
            }
            let directory = try roots.parent(of: path, for: .writing, creating: true)
            let file = try AtomicFile.open(name, in: directory, writer: FileWriter(key: key, token: token))
            return try FileSink(file, threads: threads, bytesMax: bytesMax)
        }
    }

    /// A key or type as a file's name: letters, digits, `-`, `_` and inner dots stay, other bytes become `%` and two digits.
    /// One that grows too long for a name keeps its beginning and gets a digest, so that two keys never share a file.
    static func name(_ text: String) throws(FileError) -> String {
        var name = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                name.unicodeScalars.append(Unicode.Scalar(byte))
            case UInt8(ascii: ".") where !name.isEmpty: name += "."
            default: name += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }
        }
        guard name.utf8.count > 180 else { return name }
        return "\(name.prefix(120))%~\(try FileDigest.hexadecimal(.sha256, of: Array(text.utf8)).prefix(32))"
    }
}
