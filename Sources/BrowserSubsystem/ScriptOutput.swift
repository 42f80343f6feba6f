import FleetModel
import RootedFiles

/// What a step yielded.
struct StepOutcome: Encodable, Sendable {
    let kind: ScriptStep.Kind
    var milliseconds: Int64 = 0
    /// Of goto: the page's URL after all redirects, and its status.
    var url: String?
    var status: Int?
    /// Of select: the values of the options that were chosen.
    var values: [String]?
    var picture: PagePicture?
    var pdf: FileReference?
    /// Of evaluate: what the expression yielded, as JSON.
    var value: String?

    init(_ kind: ScriptStep.Kind) { self.kind = kind }

    enum CodingKeys: String, CodingKey {
        case kind = "do"
        case milliseconds = "ms"
        case picture = "screenshot"
        case url, status, values, pdf
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(kind, forKey: .kind)
        try container.encode(milliseconds, forKey: .milliseconds)
        try container.encodeIfPresent(url, forKey: .url)
        try container.encodeIfPresent(status, forKey: .status)
        try container.encodeIfPresent(values, forKey: .values)
        try container.encodeIfPresent(picture, forKey: .picture)
        try container.encodeIfPresent(pdf, forKey: .pdf)
    }
}

/// What `browser.script.v1` yields: an object with a member for each of these, and `steps`, of which each has `do`, `ms` and what
/// it yielded.
public struct ScriptOutput: RenderedOutput {
    var finalURL: String
    var title: String
    var report = PageReport()
    var durationMilliseconds: Int64 = 0
    var steps: [StepOutcome]

    enum CodingKeys: String, CodingKey {
        case title, report
        case finalURL = "final_url"
        case durationMilliseconds = "duration_ms"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(finalURL, forKey: .finalURL)
        try container.encode(title, forKey: .title)
        try container.encode(report, forKey: .report)
        try container.encode(durationMilliseconds, forKey: .durationMilliseconds)
    }

    public var json: String {
        let steps = steps.map { Rendering.object($0, with: "value", $0.value) }
        return Rendering.object(self, with: "steps", "[\(steps.joined(separator: ","))]")
    }
}
