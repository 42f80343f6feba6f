import FleetModel
import FleetStore
import Foundation
import HTTPTypes

/// What stands there to be asked.
enum Resource: Sendable, Equatable {
    case health, description, jobs
    case job(JobIdentity)
    case schedules
    case schedule(String)

    /// Those that tell nothing of the fleet.
    var isPublic: Bool { self == .health || self == .description }

    var methods: [HTTPRequest.Method] {
        switch self {
        case .health, .description, .schedules: [.get, .head]
        case .jobs: [.post]
        case .job: [.get, .head, .delete]
        case .schedule: [.delete]
        }
    }

    /// Its path with names in place of what differs.
    var route: String {
        switch self {
        case .health: "/healthz"
        case .description: "/openapi.json"
        case .jobs: "/v1/jobs"
        case .job: "/v1/jobs/{subsystem}/{key}"
        case .schedules: "/v1/schedules"
        case .schedule: "/v1/schedules/{name}"
        }
    }

    /// The query parameters that a method takes; any other is refused, so that a misspelt one is not ignored.
    func parameters(_ method: HTTPRequest.Method) -> [String] {
        switch (self, method) {
        case (.jobs, .post), (.job, .get), (.job, .head): ["wait"]
        case (.job, .delete): ["reason"]
        case (.schedules, _): ["after", "limit"]
        default: []
        }
    }
}

/// Path and query of a request, read strictly: what could be meant in two ways is refused.
struct RequestTarget: Sendable, Equatable {
    /// Decoded.
    let segments: [String]
    private let query: [String: String]

    init(_ raw: String?) throws(Problem) {
        guard let raw, raw.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "#") }) else {
            throw .badRequest("the request target may hold visible ASCII characters only; percent-encode the others")
        }
        var rest = raw[...]
        // The absolute form, as it is sent to proxies.
        for scheme in ["http://", "https://"] where rest.lowercased().hasPrefix(scheme) {
            rest = rest.dropFirst(scheme.count).drop { $0 != "/" && $0 != "?" }
        }
        let parts = rest.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        guard let path = parts.first, path.hasPrefix("/") else {
            throw .badRequest("the request target must be a path that begins with '/'")
        }
        var segments: [String] = []
        for segment in path.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            segments.append(try Self.decode(segment, "the path"))
        }
        self.segments = segments
        query = try Self.read(query: parts.count == 2 ? parts[1] : "")
    }

    private static func read(query: Substring) throws(Problem) -> [String: String] {
        var values: [String: String] = [:]
        for part in query.split(separator: "&") {
            let halves = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            // As forms are encoded, and as most clients do it.
            let name = try decode(Substring(halves[0].replacing("+", with: "%20")), "the query")
            let value =
                halves.count == 2 ? try decode(Substring(halves[1].replacing("+", with: "%20")), "the query") : ""
            guard values.updateValue(value, forKey: name) == nil else {
                throw .badRequest("the query parameter '\(name.prefix(100))' is given twice; leave one out")
            }
        }
        return values
    }

    /// Undoes percent-encoding.
    private static func decode(_ text: Substring, _ place: String) throws(Problem) -> String {
        guard let decoded = String(text).removingPercentEncoding else {
            throw .badRequest(
                "\(place) holds a '%' that two hexadecimal digits do not follow (write a bare % as %25), or encoded bytes "
                    + "that are not UTF-8")
        }
        return decoded
    }

    // MARK: What it means

    /// Whether it is one of the places that need no token.
    var isPublic: Bool { segments == ["healthz"] || segments == ["openapi.json"] }

    func resource() throws(Problem) -> Resource {
        switch (segments.first, segments.dropFirst().first, segments.count) {
        case ("healthz", _, 1): return .health
        case ("openapi.json", _, 1): return .description
        case ("v1", "jobs", 2): return .jobs
        case ("v1", "jobs", 4):
            guard JobType.isSubsystem(segments[2]) else {
                throw .badRequest(
                    "'\(segments[2].prefix(100))' cannot be a subsystem; it is the first part of the job's type")
            }
            if let flaw = Job.flaw(inKey: segments[3]) { throw .badRequest(flaw) }
            return .job(JobIdentity(subsystem: segments[2], key: segments[3]))
        case ("v1", "jobs", 5...):
            throw Problem(.notFound, "a job is /v1/jobs/SUBSYSTEM/KEY; write a '/' in its key as %2F")
        case ("v1", "schedules", 2): return .schedules
        case ("v1", "schedules", 3):
            let name = segments[2]
            if let flaw = Job.flaw(inKey: name) { throw .badRequest(flaw) }
            guard name.utf8.count <= CronSchedule.nameBytesMax else {
                throw .badRequest("the name of a schedule has at most \(CronSchedule.nameBytesMax) bytes")
            }
            return .schedule(name)
        default: throw Problem(.notFound, "nothing is here; /openapi.json says what there is")
        }
    }

    func checkParameters(_ known: [String]) throws(Problem) {
        for name in query.keys.sorted() where !known.contains(name) {
            let list = known.isEmpty ? "none is known here" : "known are " + known.joined(separator: ", ")
            throw .badRequest("there is no query parameter '\(name.prefix(100))'; \(list)")
        }
    }

    func text(_ name: String) -> String? { query[name] }

    func number(_ name: String, _ range: ClosedRange<Int>) throws(Problem) -> Int? {
        guard let text = query[name] else { return nil }
        guard !text.isEmpty, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let number = Int(text), range.contains(number)
        else {
            throw .badRequest(
                "the query parameter '\(name)' must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }
}
