import CurlClient
import FleetModel

/// What is there of a file, and of which version of it.
struct PartialState: Sendable, Equatable {
    var offset: Int64 = 0
    /// What the server must confirm for the rest to fit; nil when it gave nothing that holds, and then there is no resuming.
    var validator: Validator?
    /// How large the whole is; nil when the server did not say.
    var total: Int64?

    var isResumable: Bool { validator != nil && offset > 0 }
    var isComplete: Bool { total.map { $0 == offset } ?? false }
}

/// What tells one version of a file from another, byte for byte (RFC 9110, 8.8): a strong ETag, or a Last-Modified that is
/// older than the answer, since a file may change twice within a second.
enum Validator: Sendable, Equatable, Codable {
    case etag(String)
    case lastModified(String)

    init?(_ head: CurlHead) {
        if let etag = head.header("ETag") {
            // A weak one holds for the meaning, not for the bytes.
            guard etag.hasPrefix("\""), etag.hasSuffix("\""), etag.utf8.count >= 2 else { return nil }
            self = .etag(etag)
        } else if let modified = head.header("Last-Modified"), let date = head.header("Date"), modified != date {
            self = .lastModified(modified)
        } else {
            return nil
        }
    }

    /// For `If-Range`.
    var text: String {
        switch self {
        case .etag(let text), .lastModified(let text): text
        }
    }
}

/// What a server's answer means for a download: pure, and the only place that decides whether bytes fit together.
enum DownloadAnswer: Equatable {
    /// The body is the whole file; what was there before is of no use.
    case whole(validator: Validator?, total: Int64?)
    /// The body goes on where the part ends.
    case rest(total: Int64?)
    /// There is nothing more to come.
    case complete
    /// The part and this answer do not fit together: it is to be asked for the whole.
    case misfit(String)
    case failed(JobFailure)

    static func judge(_ head: CurlHead, _ part: PartialState, retryAfter: Duration?) -> DownloadAnswer {
        switch head.status {
        case 200: return .whole(validator: Validator(head), total: head.header("Content-Length").flatMap { Int64($0) })
        case 206: return rest(head, part)
        case 416:
            // What RFC 9110 has a server say when the part is all there is.
            let range = ContentRange(head.header("Content-Range") ?? "")
            if part.isResumable, range?.first == nil, range?.total == part.offset, part.total == nil {
                return .complete
            }
            return .misfit("the server has no bytes behind \(part.offset)")
        default: return .failed(failure(head, retryAfter))
        }
    }

    private static func rest(_ head: CurlHead, _ part: PartialState) -> DownloadAnswer {
        guard part.isResumable, let validator = part.validator else {
            return .misfit("the server sends a part, and was not asked for one")
        }
        guard let range = ContentRange(head.header("Content-Range") ?? ""), let first = range.first,
            let last = range.last
        else { return .misfit("the server sends a part, and does not say which") }
        guard first == part.offset else {
            return .misfit("the server goes on at \(first) instead of \(part.offset)")
        }
        if let total = range.total {
            guard last == total - 1 else { return .misfit("the server sends no more than to \(last) of \(total)") }
            if let known = part.total, known != total { return .misfit("the file has \(total) bytes, not \(known)") }
        }
        // It was asked to check (If-Range), which some take for Range alone.
        switch validator {
        case .etag(let known):
            if let etag = head.header("ETag"), etag != known { return .misfit("the file has changed") }
        case .lastModified(let known):
            if let modified = head.header("Last-Modified"), modified != known { return .misfit("the file has changed") }
        }
        return .rest(total: range.total ?? part.total)
    }

    private static func failure(_ head: CurlHead, _ retryAfter: Duration?) -> JobFailure {
        let code = "network.http-\(head.status)"
        let message = "the server answered \(head.status)"
        switch head.status {
        case 429, 503:
            if let retryAfter { return JobFailure(.throttled(retryAfter: retryAfter), code: code, message: message) }
            return JobFailure(.transient, code: code, message: message)
        case 408, 425, 500...599: return JobFailure(.transient, code: code, message: message)
        default: return JobFailure(.permanent, code: code, message: message)
        }
    }
}

/// `bytes 0-9/100`, `bytes 0-9/*` or `bytes */100`.
struct ContentRange: Equatable {
    var first: Int64?
    var last: Int64?
    var total: Int64?

    init?(_ text: String) {
        let words = text.split(separator: " ", omittingEmptySubsequences: true)
        guard words.count == 2, words[0].lowercased() == "bytes" else { return nil }
        let parts = words[1].split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        func number(_ text: Substring) -> Int64? {
            text.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 } ? Int64(text) : nil
        }
        if parts[1] != "*" {
            guard let total = number(parts[1]) else { return nil }
            self.total = total
        }
        if parts[0] == "*" { return }
        let ends = parts[0].split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, let first = number(ends[0]), let last = number(ends[1]), first <= last,
            total.map({ last < $0 }) ?? true
        else { return nil }
        self.first = first
        self.last = last
    }
}
