import FleetModel
import RootedFiles

/// What `file.stat.v1` takes.
public struct StatParameters: FileJob {
    public static let type: JobType = "file.stat.v1"
    static let summary = "what is known of a file or directory, without opening it"

    public var path: String

    public static let schema = JSONSchema.object(["path": FileParameters.pathSchema], required: ["path"])

    public init(path: String) { self.path = path }

    public func validate() throws(InvalidParameters) { try FileParameters.path(path, "path", mayBeRoot: true) }
}

/// What `file.stat.v1` yields. That there is nothing is an answer, not an error.
public struct StatOutput: Codable, Sendable {
    public let path: String
    public let exists: Bool
    /// The other members are absent when there is nothing.
    public let type: FileStatus.Kind?
    public let bytes: Int64?
    /// Milliseconds since 1970.
    public let modifiedMilliseconds: Int64?
    /// Permissions in octal.
    public let mode: String?
    /// Names of the file.
    public let links: UInt64?
    public let userID: UInt32?
    public let groupID: UInt32?

    enum CodingKeys: String, CodingKey {
        case path, exists, type, bytes, mode, links
        case modifiedMilliseconds = "modified_ms"
        case userID = "user_id"
        case groupID = "group_id"
    }
}

extension StatParameters {
    func run(_ files: FileAccess, _ context: JobContext) async throws -> StatOutput {
        let path = try RootedPath(path)
        let status = try await files.threads.run { try files.roots.status(path) }
        return StatOutput(
            path: "\(path)", exists: status != nil, type: status?.kind, bytes: status?.bytes,
            modifiedMilliseconds: status.map(\.modifiedMilliseconds), mode: status.map(\.modeDigits),
            links: status?.linkCount, userID: status?.userID, groupID: status?.groupID)
    }
}

extension FileStatus {
    var modifiedMilliseconds: Int64 { modifiedNanoseconds / 1_000_000 }

    /// Four octal digits.
    var modeDigits: String {
        let digits = String(mode, radix: 8)
        return String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits
    }
}
