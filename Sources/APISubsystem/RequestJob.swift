import CurlClient
import FleetModel
import FoundationEssentials

/// What `api.request.v1` takes.
public struct RequestParameters: JobParameters {
    public static let type: JobType = "api.request.v1"

    /// `http://` or `https://`.
    public var url: String
    /// `GET` when absent.
    public var method: String?
    /// `Idempotency-Key` is added with the job's key, unless it is given here.
    public var headers: [String: String]?
    /// Sent as it is.
    public var body: String?
    /// For the whole call, 1 to 240,000; 30,000 when absent.
    public var timeoutMilliseconds: Int?
    /// Which statuses mean success; 200 to 299 when absent.
    public var expectedStatus: [Int]?

    enum CodingKeys: String, CodingKey {
        case url, method, headers, body
        case timeoutMilliseconds = "timeout_ms"
        case expectedStatus = "expected_status"
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
            "timeout_ms": .integer(
                description: "for the whole call; \(timeoutMillisecondsDefault) when absent", min: 1,
                max: timeoutMillisecondsMax),
            "expected_status": .array(
                of: .integer(min: 100, max: 599), description: "which statuses mean success; 200 to 299 when absent"),
        ], required: ["url"])

    public init(
        url: String, method: String? = nil, headers: [String: String]? = nil, body: String? = nil,
        timeoutMilliseconds: Int? = nil, expectedStatus: [Int]? = nil
    ) {
        self.url = url
        self.method = method
        self.headers = headers
        self.body = body
        self.timeoutMilliseconds = timeoutMilliseconds
        self.expectedStatus = expectedStatus
    }

    public func validate() throws(InvalidParameters) {
        let scheme = url.prefix(8).lowercased()
        guard scheme.hasPrefix("http://") || scheme == "https://" else {
            throw InvalidParameters("'url' must begin with http:// or https://, it is '\(url.prefix(80))'")
        }
        do throws(CurlError) {
            // By the parser that the call is made with.
            _ = try CurlURL(url, rules: CurlURL.Rules(protocols: [.http, .https], credentials: false))
        } catch {
            throw InvalidParameters("'url' is none that can be called: \(error.message); write it as http://host/path")
        }
        if let method, !Self.methods.contains(method) {
            throw InvalidParameters("'method' must be one of \(Self.methods.joined(separator: ", "))")
        }
        if let timeoutMilliseconds, !(1...Self.timeoutMillisecondsMax).contains(timeoutMilliseconds) {
            throw InvalidParameters("'timeout_ms' must be from 1 to \(Self.timeoutMillisecondsMax)")
        }
        if let expectedStatus, expectedStatus.isEmpty || !expectedStatus.allSatisfy((100...599).contains) {
            throw InvalidParameters("'expected_status' must list statuses from 100 to 599")
        }
    }
}

/// What `api.request.v1` yields.
public struct RequestOutput: Codable, Sendable {
    public let status: Int
    /// Header names in lower case; several of one name joined by a comma.
    public let headers: [String: String]
    /// The body, when it is UTF-8 text.
    public let body: String?
    /// The body in Base64, when it is not.
    public let bodyBase64: String?
    /// Bytes of the body after decoding.
    public let bytes: Int
    public let durationMilliseconds: Int64

    enum CodingKeys: String, CodingKey {
        case status, headers, body, bytes
        case bodyBase64 = "body_base64"
        case durationMilliseconds = "duration_ms"
    }

    init(_ response: CurlResponse) {
        status = response.status
        headers = Dictionary(response.headers.map { ($0.0.lowercased(), $0.1) }) { "\($0), \($1)" }
        let text = String(validating: response.body, as: UTF8.self)
        body = text
        bodyBase64 = text == nil ? Data(response.body).base64EncodedString() : nil
        bytes = response.body.count
        durationMilliseconds = response.timing.total.milliseconds
    }
}

extension RequestParameters {
    func perform(_ context: JobContext, _ curl: CurlMulti, responseBytesMax: Int) async throws -> RequestOutput {
        var fields = (headers ?? [:]).sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
        func add(_ name: String, _ value: String) {
            if !fields.contains(where: { $0.name.lowercased() == name.lowercased() }) { fields.append((name, value)) }
        }
        // The same over all attempts, so that a service which honours it applies the call once.
        add("Idempotency-Key", context.idempotencyKey)
        if let traceparent = context.traceparent { add("traceparent", traceparent) }
        let response: CurlResponse
        do {
            response = try await curl.perform(
                CurlRequest(
                    method: method ?? "GET", url: url, headers: fields, body: body.map { Array($0.utf8) },
                    timeout: .milliseconds(timeoutMilliseconds ?? Self.timeoutMillisecondsDefault),
                    maxResponseBytes: responseBytesMax))
        } catch {
            throw JobFailure(error, responseBytesMax: responseBytesMax)
        }
        let isExpected = expectedStatus?.contains(response.status) ?? (200...299).contains(response.status)
        if !isExpected { throw JobFailure(unexpected: response) }
        return RequestOutput(response)
    }
}

extension JobFailure {
    /// A call that got no whole answer.
    init(_ error: CurlError, responseBytesMax: Int) {
        switch error.kind {
        case .cancelled: self.init(CancellationError())
        case .closed: self.init(.transient, code: "http.closed", message: "the worker closed before the call could end")
        case .tooLarge:
            self.init(
                .permanent, code: "http.response-too-large",
                message: "\(error.message); at most \(responseBytesMax) bytes are kept in a result (api.response_bytes)"
            )
        default:
            self.init(
                error.isTransient ? .transient : .permanent, code: "http.\(error.kind)", message: error.description)
        }
    }

    /// An answer with a status that was not expected. Retry-After is honoured where it is given; 408, 425, 429 and 5xx
    /// may pass; any other status will be the same next time.
    init(unexpected response: CurlResponse) {
        let code = "http.\(response.status)"
        let excerpt = String(decoding: response.body.prefix(200), as: UTF8.self).split(whereSeparator: \.isNewline)
            .joined(separator: " ")
        let message = "the server answered \(response.status)" + (excerpt.isEmpty ? "" : ": \(excerpt)")
        switch response.status {
        case 429, 503:
            if let pause = response.retryAfter {
                self.init(.throttled(retryAfter: pause), code: code, message: message)
            } else {
                self.init(.transient, code: code, message: message)
            }
        case 408, 425, 500...599: self.init(.transient, code: code, message: message)
        default: self.init(.permanent, code: code, message: message)
        }
    }
}
