import DocumentStreams
import FleetModel
import RootedFiles

/// What `file.parse-json.v1` takes.
public struct ParseJSONParameters: FileJob {
    public static let type: JobType = "file.parse-json.v1"
    static let summary = "what a JSON pointer names in a document, or in each line of NDJSON"

    public enum Format: String, Sendable, Codable, CaseIterable {
        case json, ndjson
    }

    public var path: String
    /// RFC 6901; the whole document when absent.
    public var pointer: String?
    /// `json` when absent.
    public var format: Format?
    /// Whether a document is read, and so checked, to its end after the value was found.
    public var whole: Bool?
    /// For NDJSON: where to begin, in bytes, at the beginning of a line.
    public var offset: Int64?
    /// For NDJSON: values at most.
    public var limit: Int?
    /// For NDJSON: whether lines that are no JSON are counted and passed over.
    public var skipMalformed: Bool?

    enum CodingKeys: String, CodingKey {
        case path, pointer, format, whole, offset, limit
        case skipMalformed = "skip_malformed"
    }

    public static let schema = JSONSchema.object(
        [
            "path": FileParameters.pathSchema,
            "pointer": .string(description: "RFC 6901, such as /packages/0/name; the whole document when absent"),
            "format": .string(description: "json when absent", values: Format.allCases.map(\.rawValue)),
            "whole": .boolean(description: "check a document to its end after the value was found; false when absent"),
            "offset": .integer(
                description: "ndjson: the byte at which to begin, next_offset of the page before", min: 0),
            "limit": .integer(description: "ndjson: values at most", min: 1),
            "skip_malformed": .boolean(
                description: "ndjson: count lines that are no JSON and go on; false when absent"),
        ], required: ["path"])

    public init(
        path: String, pointer: String? = nil, format: Format? = nil, whole: Bool? = nil, offset: Int64? = nil,
        limit: Int? = nil, skipMalformed: Bool? = nil
    ) {
        self.path = path
        self.pointer = pointer
        self.format = format
        self.whole = whole
        self.offset = offset
        self.limit = limit
        self.skipMalformed = skipMalformed
    }

    public func validate() throws(InvalidParameters) {
        try FileParameters.path(path, "path")
        do throws(DocumentFlaw) {
            _ = try JSONPointer(pointer ?? "")
        } catch {
            throw InvalidParameters("'pointer': \(error.description)")
        }
        try FileParameters.check(offset: offset)
        try FileParameters.check(limit, "limit", 1...Int(Int32.max))
        if format != .ndjson, offset != nil || limit != nil || skipMalformed != nil {
            throw InvalidParameters("'offset', 'limit' and 'skip_malformed' are for 'format': 'ndjson'")
        }
        if format == .ndjson, whole != nil {
            throw InvalidParameters("'whole' is for 'format': 'json'; of NDJSON each line is checked to its end")
        }
    }
}

/// What `file.parse-json.v1` yields: JSON in which values are as they were spelt in the document.
public struct ParseJSONOutput: RenderedOutput {
    public let json: String

    /// Of a document: whether there is such a value, and the value.
    init(_ path: RootedPath, _ finding: JSONFinding?, bytesRead: Int) {
        var text = JSONText()
        text.beginObject()
        text.member("path", "\(path)")
        text.member("found", json: finding == nil ? "false" : "true")
        if let finding {
            text.member("kind", finding.kind.rawValue)
            text.member("value", json: finding.json)
        }
        text.member("bytes_read", bytesRead)
        text.endObject()
        json = text.text
    }

    /// Of a page of lines.
    init(_ path: RootedPath, _ lines: JSONLines, start: Int64, isLast: Bool) {
        var text = JSONText()
        text.beginObject()
        text.member("path", "\(path)")
        text.member("values", json: "[\(lines.values.joined(separator: ","))]")
        text.member("lines", lines.lines)
        text.member("missing", lines.missing)
        text.member("malformed", lines.malformed)
        text.member("bytes_read", lines.nextOffset)
        if !isLast { text.member("next_offset", start + Int64(lines.nextOffset)) }
        text.endObject()
        json = text.text
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(json)
    }
}

extension ParseJSONParameters {
    func run(_ files: FileAccess, _ context: JobContext) async throws -> ParseJSONOutput {
        let path = try RootedPath(path)
        let pointer = try JSONPointer(pointer ?? "")
        let settings = files.settings
        let document = try await files.document(path, from: offset ?? 0)
        if format == .ndjson {
            let bounds = JSONLines.Bounds(
                valuesMax: min(limit ?? settings.entriesMax, settings.entriesMax), bytesMax: settings.selectionBytesMax,
                depthMax: settings.documentDepthMax, skipsMalformed: skipMalformed ?? false)
            let reader = StepState(JSONLines(pointer, bounds))
            let isEnough = try await files.feed(document, context) { piece in try reader.use { try $0.feed(piece) } }
            if !isEnough { try await files.parseThreads.run { try reader.use { try $0.finish() } } }
            let lines = reader.use { $0 }
            files.metrics.read(lines.nextOffset)
            let end = (offset ?? 0) + Int64(lines.nextOffset)
            return ParseJSONOutput(path, lines, start: offset ?? 0, isLast: end >= document.bytes)
        }
        let reader = StepState(
            JSONReader(
                pointer, bytesMax: settings.selectionBytesMax, depthMax: settings.documentDepthMax,
                readsOn: whole ?? false))
        _ = try await files.feed(document, context) { piece in try reader.use { try $0.feed(piece) } }
        let (finding, bytes) = try await files.parseThreads.run {
            try reader.use { (try $0.finish(), $0.bytes) }
        }
        files.metrics.read(bytes)
        return ParseJSONOutput(path, finding, bytesRead: bytes)
    }
}
