import DocumentStreams
import FleetModel
import RootedFiles

/// What `file.parse-xml.v1` takes.
public struct ParseXMLParameters: FileJob {
    public static let type: JobType = "file.parse-xml.v1"
    static let summary = "what an XPath names in an XML document"

    public var path: String
    /// In the subset that ``XPath`` describes.
    public var xpath: String
    /// Findings at most.
    public var limit: Int?
    /// Findings passed over first; 0 when absent.
    public var skip: Int?
    /// Whether elements are given as markup too.
    public var markup: Bool?
    /// Whether the document is read to its end after all was found, to check it and to count.
    public var whole: Bool?

    public static let schema = JSONSchema.object(
        [
            "path": FileParameters.pathSchema,
            "xpath": .string(description: "such as //book[@lang='de']/title; docs/jobs/file.md has the subset"),
            "limit": .integer(description: "findings at most", min: 1),
            "skip": .integer(description: "findings passed over first; 0 when absent", min: 0),
            "markup": .boolean(description: "give elements as markup too; false when absent"),
            "whole": .boolean(description: "read to the end, to check and to count; false when absent"),
        ], required: ["path", "xpath"])

    public init(
        path: String, xpath: String, limit: Int? = nil, skip: Int? = nil, markup: Bool? = nil, whole: Bool? = nil
    ) {
        self.path = path
        self.xpath = xpath
        self.limit = limit
        self.skip = skip
        self.markup = markup
        self.whole = whole
    }

    public func validate() throws(InvalidParameters) {
        try FileParameters.path(path, "path")
        do throws(DocumentFlaw) {
            _ = try XPath(xpath)
        } catch {
            throw InvalidParameters("'xpath': \(error.description)")
        }
        try FileParameters.check(limit, "limit", 1...Int(Int32.max))
        try FileParameters.check(skip, "skip", 0...Int(Int32.max))
    }
}

/// What `file.parse-xml.v1` yields.
public struct ParseXMLOutput: Codable, Sendable {
    public struct Finding: Codable, Sendable {
        /// Of the element, or `@` and that of the attribute.
        public let name: String
        /// The attribute's value, or the text of the element and of all in it (of it alone for `text()`).
        public let text: String
        public let attributes: [String: String]?
        public let xml: String?
    }

    public let path: String
    /// In document order.
    public let findings: [Finding]
    /// What matched as far as the document was read; in all of it when `whole` was wanted, or `more` is false.
    public let matches: Int
    /// Whether the reading ended when the page was full, so that there may be more: go on with `skip`.
    public let more: Bool
    public let bytesRead: Int64

    enum CodingKeys: String, CodingKey {
        case path, findings, matches, more
        case bytesRead = "bytes_read"
    }
}

extension ParseXMLParameters {
    func run(_ files: FileAccess, _ context: JobContext) async throws -> ParseXMLOutput {
        let path = try RootedPath(path)
        let settings = files.settings
        let reader = StepState(
            try XMLReader(
                XPath(xpath),
                XMLReader.Bounds(
                    findingsMax: min(limit ?? settings.entriesMax, settings.entriesMax), skip: skip ?? 0,
                    bytesMax: settings.selectionBytesMax, depthMax: settings.documentDepthMax,
                    wantsMarkup: markup ?? false, readsOn: whole ?? false, parserBytesMax: settings.xmlParserBytesMax)))
        let document = try await files.document(path)
        let isEnough = try await files.feed(document, context) { piece in try reader.use { try $0.feed(piece) } }
        let output = try await files.parseThreads.run {
            try reader.use { reader in
                if !isEnough { try reader.finish() }
                let findings = reader.findings.map {
                    ParseXMLOutput.Finding(
                        name: $0.name, text: $0.text, attributes: $0.attributes.isEmpty ? nil : $0.attributes,
                        xml: $0.xml)
                }
                return ParseXMLOutput(
                    path: "\(path)", findings: findings, matches: reader.matches,
                    more: isEnough || reader.matches > (skip ?? 0) + findings.count, bytesRead: reader.bytes)
            }
        }
        files.metrics.read(Int(output.bytesRead))
        return output
    }
}
