import FleetModel
import FoundationEssentials
import RootedFiles

/// What `file.read.v1` takes.
public struct ReadParameters: FileJob {
    public static let type: JobType = "file.read.v1"
    static let summary = "a file, or a stretch of it, as text or in Base64"

    public var path: String
    /// Where to begin, in bytes; 0 when absent.
    public var offset: Int64?
    /// Bytes at most; as many as a result holds when absent.
    public var length: Int?
    /// `auto`, the name of an encoding, or `base64`; `auto` when absent.
    public var encoding: String?

    static let encodings = ["auto", "base64"] + TextEncoding.allCases.map(\.rawValue)

    public static let schema = JSONSchema.object(
        [
            "path": FileParameters.pathSchema,
            "offset": .integer(description: "where to begin, in bytes; 0 when absent", min: 0),
            "length": .integer(description: "bytes at most; as many as a result holds when absent", min: 1),
            "encoding": .string(description: "auto when absent", values: encodings),
        ], required: ["path"])

    public init(path: String, offset: Int64? = nil, length: Int? = nil, encoding: String? = nil) {
        self.path = path
        self.offset = offset
        self.length = length
        self.encoding = encoding
    }

    public func validate() throws(InvalidParameters) {
        try FileParameters.path(path, "path")
        try FileParameters.check(offset: offset)
        try FileParameters.check(length, "length", 1...Int(Int32.max))
        if let encoding, !Self.encodings.contains(encoding) {
            throw InvalidParameters("'encoding' must be one of \(Self.encodings.joined(separator: ", "))")
        }
    }
}

/// What `file.read.v1` yields.
public struct ReadOutput: Codable, Sendable {
    public let path: String
    /// Of the whole file.
    public let bytes: Int64
    public let offset: Int64
    /// Bytes of the file that this result holds; a byte order mark among them.
    public let length: Int
    /// The text, when it is text.
    public let content: String?
    /// The bytes, when it is not.
    public let contentBase64: String?
    /// How the text was read; `base64` for bytes.
    public let encoding: String
    /// Where the rest begins; absent at the end. It never lies within a character.
    public let nextOffset: Int64?

    enum CodingKeys: String, CodingKey {
        case path, bytes, offset, length, content, encoding
        case contentBase64 = "content_base64"
        case nextOffset = "next_offset"
    }
}

extension ReadParameters {
    func run(_ files: FileAccess, _ context: JobContext) async throws -> ReadOutput {
        let limit = files.settings.readBytesMax
        if let length, length > limit {
            throw JobFailure(
                .permanent, code: "file.too-large",
                message: "'length' is \(length); a result holds at most \(limit) bytes (file.read_bytes)")
        }
        let path = try RootedPath(path)
        let output = try await files.threads.run { [self] in
            let file = try files.roots.file(path)
            let bytes = try file.status().bytes
            let offset = offset ?? 0
            let piece = try file.read(at: offset, count: min(length ?? limit, max(0, Int(clamping: bytes - offset))))
            let (encoding, markBytes) = try encoding(of: file, bytes, offset, piece)
            return try self.output(path, bytes, offset, piece, encoding, markBytes)
        }
        files.metrics.read(output.length)
        return output
    }

    /// How to read the piece, and how many bytes of it are a byte order mark.
    private func encoding(
        of file: borrowing RegularFile, _ bytes: Int64, _ offset: Int64, _ piece: [UInt8]
    ) throws -> (TextEncoding?, Int) {
        if encoding == "base64" { return (nil, 0) }
        let named = encoding.flatMap { TextEncoding(rawValue: $0) }
        if let named, offset > 0 { return (named, 0) }
        // By the beginning of the file, whichever stretch is read: so all stretches of a file are read alike.
        let beginning = try file.read(at: 0, count: Int(min(bytes, Int64(RootedFiles.pieceBytes))))
        let detected = TextEncoding.detect(beginning, isWhole: Int64(beginning.count) == bytes)
        let isMarked = offset == 0 && (named == nil || named == detected.encoding)
        return (named ?? detected.encoding, isMarked ? min(detected.markBytes, piece.count) : 0)
    }

    private func output(
        _ path: RootedPath, _ bytes: Int64, _ offset: Int64, _ piece: [UInt8], _ encoding: TextEncoding?,
        _ markBytes: Int
    ) throws -> ReadOutput {
        func result(_ length: Int, _ content: String?, _ base64: String?, _ encoding: String) -> ReadOutput {
            let end = offset + Int64(length)
            return ReadOutput(
                path: "\(path)", bytes: bytes, offset: offset, length: length, content: content, contentBase64: base64,
                encoding: encoding, nextOffset: end < bytes ? end : nil)
        }
        if let encoding {
            // A character that the stretch cuts off belongs to the next one, unless the file ends within it.
            let isEnd = offset + Int64(piece.count) >= bytes
            let cutOff = isEnd ? 0 : encoding.cutOff(piece)
            let whole = cutOff < piece.count ? piece.dropLast(cutOff) : piece[...]
            if let text = encoding.decode(whole.dropFirst(markBytes)) {
                return result(whole.count, text, nil, encoding.rawValue)
            }
            if self.encoding == encoding.rawValue {
                throw JobFailure(
                    .permanent, code: "file.not-text",
                    message: "'\(path)' is no text in \(encoding.rawValue) between bytes \(offset) and "
                        + "\(offset + Int64(piece.count)); leave 'encoding' out, or read it as base64")
            }
        }
        return result(piece.count, nil, Data(piece).base64EncodedString(), "base64")
    }
}
