import FleetModel
import HTTPTypes
import Hummingbird
import NIOCore

/// An answer that is an error, as `application/problem+json` (RFC 9457). `detail` says what to do.
struct Problem: Error, Sendable {
    let status: HTTPResponse.Status
    let detail: String
    /// Further members, in their order.
    var members: [(name: StaticString, value: String)] = []
    /// JSON text of a list of jobs, when the problem is with all of them.
    var jobs: String?
    var headers: HTTPFields = [:]

    init(_ status: HTTPResponse.Status, _ detail: String) {
        self.status = status
        self.detail = detail
    }

    var response: Response {
        var json = JSONText()
        json.beginObject()
        json.member("type", "about:blank")
        json.member("title", status.reasonPhrase)
        json.member("status", status.code)
        json.member("detail", detail)
        for (name, value) in members { json.member(name, value) }
        if let jobs { json.member("jobs", json: jobs) }
        json.endObject()
        return .json(status, json.bytes, headers, type: "application/problem+json")
    }

    // MARK: Those that occur in several places

    static func badRequest(_ detail: String) -> Problem { Problem(.badRequest, detail) }

    static func unauthorized(_ detail: String, error: String? = nil) -> Problem {
        var problem = Problem(.unauthorized, detail)
        problem.headers[.wwwAuthenticate] = "Bearer" + (error.map { " error=\"\($0)\"" } ?? "")
        return problem
    }

    static func tooLarge(_ detail: String) -> Problem { Problem(.contentTooLarge, detail) }

    /// Broker, database or a bound of ours stands in the way now, and may not later.
    static func unavailable(_ detail: String) -> Problem {
        var problem = Problem(.serviceUnavailable, detail)
        problem.headers[.retryAfter] = String(retryAfterSeconds)
        return problem
    }

    /// What a client is asked to wait before it tries again.
    private static let retryAfterSeconds = 2
}

extension Response {
    static func json(
        _ status: HTTPResponse.Status, _ bytes: [UInt8], _ headers: HTTPFields = [:], type: String = "application/json"
    ) -> Response {
        var headers = headers
        headers[.contentType] = type
        // What a job is like now is not what it will be like.
        headers[.cacheControl] = "no-store"
        return Response(status: status, headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }
}
