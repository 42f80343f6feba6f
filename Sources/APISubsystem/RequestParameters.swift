import CurlClient
import FleetModel
import RootedFiles

/// What `api.request.v1` takes.
public struct RequestParameters: JobParameters {
    public static let type: JobType = "api.request.v1"

    /// Where the body of the response goes.
    public enum Destination: String, Codable, Sendable, CaseIterable {
        /// Into the output; one that is larger than `api.response_bytes` fails the job.
        case inline
        /// Into a file, which the output names.
        case file
        /// Into the output if it is small enough, else into a file where the worker has a place for files.
        case automatic = "auto"
    }

    /// `http://` or `https://`.
    public var url: String
    /// `GET` when absent.
    public var method: String?
    /// `Idempotency-Key` is added with the job's key, unless it is given here.
    public var headers: [String: String]?
    /// Sent as it is.
    public var body: String?
    /// Sent as JSON in place of `body`, with its content type unless `headers` have one.
    public var json: JSONValue?
    /// For the whole call once it has its turn, 1 to 240,000; 30,000 when absent.
    public var timeoutMilliseconds: Int?
    /// Which statuses mean success; 200 to 299 when absent.
    public var expectedStatus: [Int]?
    /// How many redirects are followed, 0 to 20; none when absent.
    public var followRedirects: Int?
    /// `auto` when absent.
    public var response: Destination?
    /// The file for the body, as `root:path`; a place made of the job's key when absent.
    public var file: String?

    enum CodingKeys: String, CodingKey {
        case url, method, headers, body, json, response, file
        case timeoutMilliseconds = "timeout_ms"
        case expectedStatus = "expected_status"
        case followRedirects = "follow_redirects"
    }

    public static let timeoutMillisecondsDefault = 30_000
    public static let timeoutMillisecondsMax = 240_000
    static let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

    public static let schema = JSONSchema.object(
        [
            "url": .string(description: "http:// or https://", format: "uri", lengthMax: CurlRequest.maxURLBytes),
            "method": .string(description: "GET when absent", values: methods),
            "headers": .map(
                of: .string(), description: "Idempotency-Key is added with the job's key unless it is given"),
            "body": .string(description: "sent as it is"),
            "json": .any(description: "sent as JSON in place of body"),
            "timeout_ms": .integer(
                description: "for the whole call once it has its turn; \(timeoutMillisecondsDefault) when absent",
                min: 1,
                max: timeoutMillisecondsMax),
            "expected_status": .array(
                of: .integer(min: 100, max: 599), description: "which statuses mean success; 200 to 299 when absent"),
            "follow_redirects": .integer(
                description: "how many redirects are followed; none when absent", min: 0, max: CurlRequest.maxRedirects),
            "response": .string(
                description: "where the response's body goes; auto when absent",
                values: Destination.allCases.map(\.rawValue)),
            "file": .string(
                description:
                    "the file for the body, as root:path, with response file or auto; made of the key if absent"),
        ], required: ["url"])

    public init(
        url: String, method: String? = nil, headers: [String: String]? = nil, body: String? = nil,
        json: JSONValue? = nil, timeoutMilliseconds: Int? = nil, expectedStatus: [Int]? = nil,
        followRedirects: Int? = nil, response: Destination? = nil, file: String? = nil
    ) {
        self.url = url
        self.method = method
        self.headers = headers
        self.body = body
        self.json = json
        self.timeoutMilliseconds = timeoutMilliseconds
        self.expectedStatus = expectedStatus
        self.followRedirects = followRedirects
        self.response = response
        self.file = file
    }

    public func validate() throws(InvalidParameters) {
        try validateURL()
        if let method, !Self.methods.contains(method) {
            throw InvalidParameters("'method' must be one of \(Self.methods.joined(separator: ", "))")
        }
        if body != nil, json != nil {
            throw InvalidParameters("'body' and 'json' are both there; give one of them")
        }
        if let timeoutMilliseconds, !(1...Self.timeoutMillisecondsMax).contains(timeoutMilliseconds) {
            throw InvalidParameters("'timeout_ms' must be from 1 to \(Self.timeoutMillisecondsMax)")
        }
        if let expectedStatus, expectedStatus.isEmpty || !expectedStatus.allSatisfy((100...599).contains) {
            throw InvalidParameters("'expected_status' must list statuses from 100 to 599")
        }
        if let followRedirects, !(0...CurlRequest.maxRedirects).contains(followRedirects) {
            throw InvalidParameters("'follow_redirects' must be from 0 to \(CurlRequest.maxRedirects)")
        }
        try validateFile()
    }

    private func validateURL() throws(InvalidParameters) {
        let scheme = url.prefix(8).lowercased()
        guard scheme.hasPrefix("http://") || scheme == "https://" else {
            throw InvalidParameters("'url' must begin with http:// or https://, it is '\(url.prefix(80))'")
        }
        do throws(CurlError) { _ = try parsedURL() } catch {
            throw InvalidParameters("'url' is none that can be called: \(error.message); write it as http://host/path")
        }
    }

    private func validateFile() throws(InvalidParameters) {
        guard let file else { return }
        guard response != .inline else {
            throw InvalidParameters("'file' names a place that 'response' inline does not use; leave one of them out")
        }
        do throws(FileError) { _ = try RootedPath(file) } catch {
            throw InvalidParameters("'file' is no path within a root: \(error); write it as root:directory/name")
        }
    }

    /// By the parser that the call is made with.
    func parsedURL() throws(CurlError) -> CurlURL {
        try CurlURL(url, rules: CurlURL.Rules(protocols: [.http, .https], credentials: false))
    }
}
