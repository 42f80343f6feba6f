import DocumentStreams
import FleetModel
import RootedFiles

/// A kind of file job.
protocol FileJob: JobParameters {
    associatedtype Output: Encodable & Sendable
    /// One sentence.
    static var summary: String { get }
    static var timeout: Duration { get }
    func run(_ files: FileAccess, _ context: JobContext) async throws -> Output
}

extension FileJob {
    /// Enough for a large file on a slow disk; most are done in milliseconds.
    static var timeout: Duration { .seconds(1_800) }
}

/// What all file jobs work with.
struct FileAccess: Sendable {
    let roots: FileRoots
    let threads: FileThreads
    let parseThreads: FileThreads
    let settings: FileSettings
    let metrics: FileMetrics
    /// Who appends to a file.
    let turns = Turns()

    /// Bytes of a large file that are dealt with in one step: about a millisecond, after which others have their turn.
    static let stepBytes = 1 << 20

    func definition<Job: FileJob>(_: Job.Type) -> JobDefinition {
        let operation = String(Job.type.name.split(separator: ".")[1])
        return JobDefinition(Job.self, summary: Job.summary, timeout: Job.timeout) {
            (parameters: Job, context: JobContext) -> Job.Output in
            try await metrics.measured(operation, [threads.load, parseThreads.load]) {
                do {
                    return try await parameters.run(self, context)
                } catch let error as FileError {
                    throw JobFailure(error)
                } catch let error as DocumentFlaw {
                    throw JobFailure(error)
                }
            }
        }
    }

    /// Runs `body` while this job holds the fleet's lock of a path, when that is wanted.
    func exclusively<Value>(
        _ isWanted: Bool?, _ path: RootedPath, _ context: JobContext, isolation: isolated (any Actor)? = #isolation,
        _ body: () async throws -> Value
    ) async throws -> Value {
        guard isWanted == true else { return try await body() }
        return try await context.withLock(try Self.lockName(path)) { _ in try await body() }
    }

    /// `file/` and the path; a digest of it where it would be too long.
    static func lockName(_ path: RootedPath) throws(FileError) -> String {
        let name = "file/\(path)"
        if name.utf8.count <= LockLimit.nameBytesMax { return name }
        return "file/sha256:\(try FileDigest.hexadecimal(.sha256, of: Array("\(path)".utf8)))"
    }
}

extension JobFailure {
    init(_ error: FileError) {
        self.init(error.isTransient ? .transient : .permanent, code: error.code, message: error.description)
    }

    /// The document stays what it is.
    init(_ flaw: DocumentFlaw) {
        self.init(.permanent, code: "file.document-\(flaw.kind.rawValue)", message: flaw.description)
    }
}

/// Checks of parameters that several types share.
enum FileParameters {
    static let pathSchema = JSONSchema.string(
        description: "ROOT:PATH, such as data:lessons/1.json", lengthMax: RootedPath.bytesMax)
    static let exclusiveSchema = JSONSchema.boolean(
        description: "hold the fleet's lock file/PATH meanwhile; false when absent")
    static let parentsSchema = JSONSchema.boolean(description: "make missing directories; false when absent")
    static let whenSchema = JSONSchema.string(
        description: "what must stand there before; any when absent",
        values: AtomicFile.Placement.allCases.map(\.rawValue))
    static let modeSchema = JSONSchema.string(
        description: "permissions in octal, such as 0644; those of the replaced file, or 0640, when absent")

    /// - Returns: the path of a member that must be one.
    @discardableResult
    static func path(_ text: String, _ member: String, mayBeRoot: Bool = false) throws(InvalidParameters) -> RootedPath
    {
        do throws(FileError) {
            let path = try RootedPath(text)
            if path.isRoot && !mayBeRoot {
                throw FileError(.invalidPath, text, "is the root itself; name something beneath it")
            }
            return path
        } catch {
            throw InvalidParameters("'\(member)': \(error.description)")
        }
    }

    static func check(_ value: Int?, _ member: String, _ range: ClosedRange<Int>) throws(InvalidParameters) {
        if let value, !range.contains(value) {
            throw InvalidParameters("'\(member)' must be from \(range.lowerBound) to \(range.upperBound)")
        }
    }

    static func check(offset: Int64?) throws(InvalidParameters) {
        if let offset, offset < 0 { throw InvalidParameters("'offset' must not be negative") }
    }

    /// Three or four octal digits, without the bits that would lend rights.
    static func mode(_ text: String?) throws(InvalidParameters) -> UInt32? {
        guard let text else { return nil }
        guard (3...4).contains(text.utf8.count), let mode = UInt32(text, radix: 8), mode <= 0o777 else {
            throw InvalidParameters("'mode' must be three octal digits, such as 0644, without set-user-ID and the like")
        }
        return mode
    }
}

/// What `content` or `content_base64` hold.
enum FileContent {
    static let schemas: [String: JSONSchema] = [
        "content": .string(description: "text, written as UTF-8; this or content_base64"),
        "content_base64": .string(description: "bytes in Base64"),
    ]
}
