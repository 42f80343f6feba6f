import FleetModel
import RootedFiles

/// What `api.batch.v1` takes.
public struct BatchParameters: JobParameters {
    public static let type: JobType = "api.batch.v1"

    /// When the batch as a whole succeeds.
    public enum Requirement: String, Codable, Sendable, CaseIterable {
        /// At least one call succeeded.
        case any
        /// Each call succeeded.
        case all
    }

    /// Each as `api.request.v1` takes it, 1 to 500.
    public var calls: [RequestParameters]
    /// How many are under way at once, 1 to 64; 8 when absent.
    public var concurrency: Int?
    /// `any` when absent.
    public var require: Requirement?
    /// The response headers that the output keeps; `content-type` when absent.
    public var keepHeaders: [String]?

    enum CodingKeys: String, CodingKey {
        case calls, concurrency, require
        case keepHeaders = "keep_headers"
    }

    public static let callsMax = 500
    public static let concurrencyDefault = 8
    public static let concurrencyMax = 64
    public static let keepHeadersMax = 16
    /// Of one attempt at a batch.
    public static let timeout = Duration.seconds(15 * 60)

    public static let schema = JSONSchema.object(
        [
            "calls": .array(
                of: RequestParameters.schema, description: "as api.request.v1 takes them, 1 to \(callsMax)"),
            "concurrency": .integer(
                description: "how many are under way at once; \(concurrencyDefault) when absent", min: 1,
                max: concurrencyMax),
            "require": .string(
                description: "when the batch succeeds: any call succeeded (also when absent), or all",
                values: Requirement.allCases.map(\.rawValue)),
            "keep_headers": .array(
                of: .string(),
                description:
                    "response headers that the output keeps, \(keepHeadersMax) at most; content-type when absent"),
        ], required: ["calls"])

    public init(
        calls: [RequestParameters], concurrency: Int? = nil, require: Requirement? = nil, keepHeaders: [String]? = nil
    ) {
        self.calls = calls
        self.concurrency = concurrency
        self.require = require
        self.keepHeaders = keepHeaders
    }

    public func validate() throws(InvalidParameters) {
        guard (1...Self.callsMax).contains(calls.count) else {
            throw InvalidParameters("'calls' must hold 1 to \(Self.callsMax) calls, it holds \(calls.count)")
        }
        if let concurrency, !(1...Self.concurrencyMax).contains(concurrency) {
            throw InvalidParameters("'concurrency' must be from 1 to \(Self.concurrencyMax)")
        }
        if let keepHeaders, keepHeaders.count > Self.keepHeadersMax {
            throw InvalidParameters("'keep_headers' must name at most \(Self.keepHeadersMax) headers")
        }
        for (index, call) in calls.enumerated() {
            do throws(InvalidParameters) { try call.validate() } catch {
                throw InvalidParameters("call \(index) of 'calls': \(error)")
            }
        }
        let files = calls.compactMap(\.file)
        guard Set(files).count == files.count else {
            throw InvalidParameters("two of 'calls' name the same 'file'; give each its own")
        }
    }
}

/// What `api.batch.v1` yields.
public struct BatchOutput: Codable, Sendable {
    public let succeeded: Int
    public let failed: Int
    /// In the order of the parameters' calls.
    public let calls: [CallReport]
}

/// How one call of a batch ended: it has either `response` or `error`.
public struct CallReport: Codable, Sendable {
    public let response: RequestOutput?
    public let error: CallError?
}

/// Why one call of a batch failed.
public struct CallError: Codable, Sendable {
    /// `transient` and `throttled` ones may succeed if they are asked for again, `permanent` ones will not.
    public let kind: String
    public let code: String
    public let message: String
    /// How long to wait with that, for `throttled`.
    public let retryAfterMilliseconds: Int64?

    enum CodingKeys: String, CodingKey {
        case kind, code, message
        case retryAfterMilliseconds = "retry_after_ms"
    }

    init(_ failure: JobFailure) {
        kind = failure.kind.name
        code = failure.code
        message = String(failure.message.prefix(Self.messageCharactersMax))
        guard case .throttled(let pause) = failure.kind else {
            retryAfterMilliseconds = nil
            return
        }
        retryAfterMilliseconds = pause.milliseconds
    }

    /// So that a batch of failures fits into a result.
    static let messageCharactersMax = 500
}
