import FleetModel
import FoundationEssentials
import RootedFiles

/// What `file.write.v1` takes.
public struct WriteParameters: FileJob {
    public static let type: JobType = "file.write.v1"
    static let summary = "writes a file whole, or not at all"

    public var path: String
    public var content: String?
    public var contentBase64: String?
    /// What must stand there before; `any` when absent.
    public var when: AtomicFile.Placement?
    public var mode: String?
    public var parents: Bool?
    public var exclusive: Bool?

    enum CodingKeys: String, CodingKey {
        case path, content, when, mode, parents, exclusive
        case contentBase64 = "content_base64"
    }

    public static let schema = JSONSchema.object(
        FileContent.schemas.merging([
            "path": FileParameters.pathSchema, "when": FileParameters.whenSchema, "mode": FileParameters.modeSchema,
            "parents": FileParameters.parentsSchema, "exclusive": FileParameters.exclusiveSchema,
        ]) { $1 }, required: ["path"])

    public init(
        path: String, content: String? = nil, contentBase64: String? = nil, when: AtomicFile.Placement? = nil,
        mode: String? = nil, parents: Bool? = nil, exclusive: Bool? = nil
    ) {
        self.path = path
        self.content = content
        self.contentBase64 = contentBase64
        self.when = when
        self.mode = mode
        self.parents = parents
        self.exclusive = exclusive
    }

    public func validate() throws(InvalidParameters) {
        try FileParameters.path(path, "path")
        _ = try FileContent.bytes(content, contentBase64)
        _ = try FileParameters.mode(mode)
    }
}

/// What `file.write.v1` yields.
public struct WriteOutput: Codable, Sendable {
    public let path: String
    public let bytes: Int64
    public let sha256: String
    /// Whether an earlier attempt of the job had written it already.
    public let repeated: Bool
}

extension WriteParameters {
    func run(_ files: FileAccess, _ context: JobContext) async throws -> WriteOutput {
        let path = try RootedPath(path)
        let bytes = try FileContent.bytes(content, contentBase64)
        let sha256 = try FileDigest.hexadecimal(.sha256, of: bytes)
        let placing = Placing(
            path: path, when: when ?? .any, mode: try FileParameters.mode(mode), parents: parents ?? false,
            mark: try FileMark(key: context.key, effect: "write \(path) \(sha256)"), context: context)
        let isPlaced = try await files.exclusively(exclusive, path, context) {
            try await placing.run(files) { file in
                try bytes.withUnsafeBytes { try file.write($0) }
                return .done(())
            }
        }
        if isPlaced { files.metrics.wrote(bytes.count) } else { files.metrics.repeated() }
        return WriteOutput(path: "\(path)", bytes: Int64(bytes.count), sha256: sha256, repeated: !isPlaced)
    }
}

extension FileContent {
    /// - Throws: unless exactly one of both is given, and sound.
    static func bytes(_ content: String?, _ base64: String?) throws(InvalidParameters) -> [UInt8] {
        switch (content, base64) {
        case (let content?, nil): return Array(content.utf8)
        case (nil, let base64?):
            guard let data = Data(base64Encoded: base64) else {
                throw InvalidParameters("'content_base64' must be Base64 with padding and without line breaks")
            }
            return Array(data)
        default: throw InvalidParameters("give one of 'content' and 'content_base64'")
        }
    }
}
