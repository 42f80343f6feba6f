import FleetModel
import FoundationEssentials
import RootedFiles

/// A text of a page: here, or in a file when it is too long.
public struct PageText: Codable, Sendable, Hashable {
    public let text: String?
    public let bytes: Int
    public let file: FileReference?

    init(_ text: String) { (self.text, bytes, file) = (text, text.utf8.count, nil) }
    init(_ file: FileReference) { (text, bytes, self.file) = (nil, Int(file.bytes), file) }
}

/// A screenshot that was taken.
public struct PagePicture: Codable, Sendable, Hashable {
    public let file: FileReference
    /// Device pixels.
    public let width: Int
    public let height: Int
    /// Whether the page is longer than the picture.
    public let cut: Bool
}

/// What `browser.visit.v1` yields.
public struct VisitOutput: RenderedOutput {
    public var finalURL: String
    /// Nil where the page did not come over HTTP.
    public var status: Int?
    public var title: String
    public var text: PageText?
    public var html: PageText?
    public var links: [PageLink]?
    public var linksTotal: Int?
    public var timings: PageTimings?
    public var screenshot: PagePicture?
    public var pdf: FileReference?
    /// What the expression yielded, as JSON.
    public var value: String?
    public var report = PageReport()
    public var durationMilliseconds: Int64 = 0

    enum CodingKeys: String, CodingKey {
        case status, title, text, html, links, timings, screenshot, pdf, report
        case finalURL = "final_url"
        case linksTotal = "links_total"
        case durationMilliseconds = "duration_ms"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(finalURL, forKey: .finalURL)
        try container.encodeIfPresent(status, forKey: .status)
        try container.encode(title, forKey: .title)
        try container.encodeIfPresent(text, forKey: .text)
        try container.encodeIfPresent(html, forKey: .html)
        try container.encodeIfPresent(links, forKey: .links)
        try container.encodeIfPresent(linksTotal, forKey: .linksTotal)
        try container.encodeIfPresent(timings, forKey: .timings)
        try container.encodeIfPresent(screenshot, forKey: .screenshot)
        try container.encodeIfPresent(pdf, forKey: .pdf)
        try container.encode(report, forKey: .report)
        try container.encode(durationMilliseconds, forKey: .durationMilliseconds)
    }

    public var json: String { Rendering.object(self, with: "value", value) }
}

/// Outputs that hold JSON which no coder should touch.
enum Rendering {
    /// An object with one more member, whose value is JSON already; without it when that is nil.
    static func object(_ object: some Encodable, with member: String, _ value: String?) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Texts and whole numbers, and times that are finite: the encoder has nothing to refuse.
        guard let data = try? encoder.encode(object) else { preconditionFailure("an output that is no JSON") }
        let text = String(decoding: data, as: UTF8.self)
        return value.map { "\(text.dropLast())\(text == "{}" ? "" : ",")\"\(member)\":\($0)}" } ?? text
    }
}
