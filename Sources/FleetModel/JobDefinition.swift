import FoundationEssentials

/// The typed input of a kind of job: what a producer writes and a handler reads.
///
/// ```swift
/// struct Greet: JobParameters {
///     static let type: JobType = "hello.greet.v1"
///     var name: String
/// }
/// ```
public protocol JobParameters: Codable, Sendable {
    /// The name on the wire. Change it (`v2`) when old messages could no longer be read.
    static var type: JobType { get }
    /// What a payload must look like, for producers in any language. Without one of your own, any object will do.
    static var schema: JSONSchema { get }
    /// Whatever the decoder cannot check by itself, such as a range. Throw `InvalidParameters`.
    func validate() throws(InvalidParameters)
    /// Whether this very job's effect may be repeated under its key, where that is not the same for all jobs of the type.
    var isRepeatable: Bool { get }
}

extension JobParameters {
    public static var schema: JSONSchema { .object([:]) }
    public func validate() throws(InvalidParameters) {}
    public var isRepeatable: Bool { true }
}

/// Parameters that decode but make no sense. The message is set aside, the handler never runs.
public struct InvalidParameters: Error, Sendable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// What a handler is told about the job it runs.
public struct JobContext: Sendable {
    /// That of the handler within which this is asked, also in tasks that it started; nil elsewhere. By it log lines know
    /// their job.
    @TaskLocal public static var current: JobContext?

    public let type: JobType
    public let key: String
    /// From 1.
    public let attempt: Int
    /// Rises with every claim of this job. Pass it to whatever can refuse a stale owner.
    public let token: Int64
    /// Whom the job is done for (user, lesson, classroom), when the producer said so.
    public let subject: String?
    /// W3C trace context, for whatever the handler calls: of the worker's own span when it traces, else as the producer
    /// sent it.
    public let traceparent: String?
    /// Where ``withLock(_:within:isolation:_:)`` gets its locks.
    let locks: any JobLocks
    /// Rates, places and closed doors that the whole fleet shares.
    public let limits: any JobLimits

    private let report: @Sendable (JobProgress) -> Void
    private let confirm: @Sendable () async throws -> Void

    /// A key that stays the same over all attempts: hand it to services that apply a request once per key.
    public var idempotencyKey: String { key }

    /// Says how far the job is. It costs nothing to call often: the latest is written to the ledger and published as an
    /// event about once a second, and lost when the worker dies.
    ///
    /// - Parameters:
    ///   - fraction: from 0 to 1; what lies outside is cut off.
    ///   - note: for a person, at most `JobProgress.noteCharactersMax` are kept.
    public func progress(_ fraction: Double, _ note: String? = nil) { report(JobProgress(fraction, note)) }

    /// Asks the ledger whether this attempt still owns the job. For the moment before an effect that shows at once and
    /// that nobody downstream guards, such as the rename of a finished file.
    ///
    /// - Throws: ``ClaimLost`` when another has the job, or the ledger cannot be asked.
    public func confirmClaim() async throws { try await confirm() }

    /// - Parameters:
    ///   - locks: those of the fleet in a worker; left out, as in a test of a handler, locks of its own.
    ///   - limits: the same of limits.
    ///   - confirm: what ``confirmClaim()`` asks.
    ///   - report: where ``progress(_:_:)`` goes.
    public init(
        type: JobType, key: String, attempt: Int, token: Int64, subject: String?, traceparent: String?,
        locks: any JobLocks = UnsharedLocks(), limits: any JobLimits = UnsharedLimits(),
        confirm: @escaping @Sendable () async throws -> Void = {},
        report: @escaping @Sendable (JobProgress) -> Void = { _ in }
    ) {
        self.limits = limits
        self.confirm = confirm
        self.report = report
        self.type = type
        self.key = key
        self.attempt = attempt
        self.token = token
        self.subject = subject
        self.traceparent = traceparent
        self.locks = locks
    }
}

/// This attempt's claim could not be confirmed: another owns the job now, or nobody can tell.
public struct ClaimLost: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }

    /// What it means for an attempt that ends with it: nothing took effect, and nothing is spent.
    public var failure: JobFailure {
        JobFailure(.throttled(retryAfter: .seconds(1)), code: "claim.lost", message: description)
    }
}

/// How far a running job is, as its handler says.
public struct JobProgress: Sendable, Equatable {
    /// From 0 to 1.
    public let fraction: Double
    public let note: String?

    public static let noteCharactersMax = 200

    public init(_ fraction: Double, _ note: String?) {
        self.fraction = fraction.isNaN ? 0 : max(0, min(fraction, 1))
        self.note = note.map { String($0.prefix(Self.noteCharactersMax)).replacing("\0", with: "\u{FFFD}") }
    }

    /// As it is stored and published: `{"fraction": 0.5, "note": "…"}`.
    public var document: String {
        var json = JSONText()
        json.beginObject()
        json.member("fraction", json: "\((fraction * 10_000).rounded() / 10_000)")
        if let note { json.member("note", note) }
        json.endObject()
        return json.text
    }
}

/// A kind of job together with what runs it: the unit in which handlers are given to a worker.
///
/// ```swift
/// let greet = JobDefinition(Greet.self, retry: .never) { parameters, context in
///     Greeting(text: "Hello, \(parameters.name)!")
/// }
/// ```
///
/// A handler is delivered a job at least once, so its effect must bear repetition: use `context.idempotencyKey`
/// downstream. One whose effect cannot bear it says `isRepeatable: false`, or has the parameters say so of a job: when its
/// worker dies half way, or it is interrupted or fails with anything but a `JobFailure` of its own, the job becomes
/// indeterminate and an operator decides (`gaia job resolve`). A handler must honour task cancellation, by which deadlines, calling off and draining
/// reach it.
public struct JobDefinition: Sendable {
    /// A payload that has been read; running it needs nothing more.
    public struct Prepared: Sendable {
        /// Whether the effect may be repeated under the job's key.
        public let isRepeatable: Bool
        fileprivate let run: @Sendable (JobContext) async throws -> String

        public func callAsFunction(_ context: JobContext) async throws -> String { try await run(context) }

        /// An error that ended a run, as a failure. A `JobFailure` is the handler's own word. Anything else, when the effect
        /// must not be repeated, leaves it open whether there was one.
        public func failure(of error: any Error) -> JobFailure {
            let failure = JobFailure(error)
            if isRepeatable || error is JobFailure { return failure }
            return JobFailure(
                .unsafe, code: failure.code,
                message: "it may have taken effect, and must not be repeated blindly: \(failure.message)")
        }
    }

    public private(set) var type: JobType
    public let schema: JSONSchema
    public let retry: RetryPolicy
    /// How long one attempt may take before it is cancelled.
    public let timeout: Duration
    /// Whether the effect may be repeated under the job's key, unless a job's parameters say otherwise.
    public let isRepeatable: Bool
    /// One sentence for `gaia types`.
    public let summary: String
    private let decode: @Sendable ([UInt8]) throws(InvalidParameters) -> Prepared

    /// The default time limit of one attempt.
    public static let timeoutDefault: Duration = .seconds(300)

    /// A handler with a result. `Output` is stored in the ledger and published as JSON.
    public init<Parameters: JobParameters, Output: Encodable & Sendable>(
        _ parameters: Parameters.Type, summary: String = "", retry: RetryPolicy = RetryPolicy(),
        timeout: Duration = JobDefinition.timeoutDefault, isRepeatable: Bool = true,
        run: @escaping @Sendable (Parameters, JobContext) async throws -> Output
    ) {
        self.init(parameters, summary: summary, retry: retry, timeout: timeout, isRepeatable: isRepeatable) {
            parameters, context -> String in
            try PayloadCoding.encode(try await run(parameters, context))
        }
    }

    /// A handler without a result.
    public init<Parameters: JobParameters>(
        _ parameters: Parameters.Type, summary: String = "", retry: RetryPolicy = RetryPolicy(),
        timeout: Duration = JobDefinition.timeoutDefault, isRepeatable: Bool = true,
        run: @escaping @Sendable (Parameters, JobContext) async throws -> Void
    ) {
        self.init(parameters, summary: summary, retry: retry, timeout: timeout, isRepeatable: isRepeatable) {
            parameters, context -> String in
            try await run(parameters, context)
            return "null"
        }
    }

    private init<Parameters: JobParameters>(
        _: Parameters.Type, summary: String, retry: RetryPolicy, timeout: Duration, isRepeatable: Bool,
        rendering run: @escaping @Sendable (Parameters, JobContext) async throws -> String
    ) {
        self.type = Parameters.type
        self.schema = Parameters.schema
        self.retry = retry
        self.timeout = timeout
        self.isRepeatable = isRepeatable
        self.summary = summary
        self.decode = { payload throws(InvalidParameters) in
            let parameters = try PayloadCoding.decode(Parameters.self, from: payload)
            try parameters.validate()
            return Prepared(isRepeatable: isRepeatable && parameters.isRepeatable) { context in
                try await run(parameters, context)
            }
        }
    }

    /// The same under another type's name, as for a second version whose parameters are those of the first.
    public func renamed(_ type: JobType) -> JobDefinition {
        var definition = self
        definition.type = type
        return definition
    }

    /// Reads a payload once, as the type's own parameters.
    public func prepare(_ payload: [UInt8]) throws(InvalidParameters) -> Prepared {
        try decode(payload)
    }
}

/// An output that is JSON already, such as a part of a document whose numbers no coder should touch. The handler answers for
/// its validity.
public protocol RenderedOutput: Encodable, Sendable {
    var json: String { get }
}

/// JSON of payloads and outputs: the one place that touches the coders.
enum PayloadCoding {
    static func encode(_ value: some Encodable) throws -> String {
        if let value = value as? any RenderedOutput { return value.json }
        let encoder = JSONEncoder()
        // Sorted, so that the same output is the same text on every worker.
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    private static let decoder = JSONDecoder()

    static func decode<Value: Decodable>(_: Value.Type, from payload: [UInt8]) throws(InvalidParameters) -> Value {
        do {
            return try decoder.decode(Value.self, from: Data(payload))
        } catch let error as DecodingError {
            throw InvalidParameters(explain(error))
        } catch let error as InvalidParameters {
            throw error
        } catch {
            throw InvalidParameters("\(error)")
        }
    }

    private static func explain(_ error: DecodingError) -> String {
        func place(_ path: [any CodingKey]) -> String {
            path.isEmpty ? "the payload" : "'" + path.map(\.stringValue).joined(separator: ".") + "'"
        }
        return switch error {
        case .keyNotFound(let key, let context): "\(place(context.codingPath + [key])) is missing"
        case .typeMismatch(let type, let context): "\(place(context.codingPath)) is not of type \(wireName(type))"
        case .valueNotFound(_, let context): "\(place(context.codingPath)) must not be null"
        // The decoder keeps to itself what it disliked; its words would send a reader looking for a syntax error.
        case .dataCorrupted(let context) where context.debugDescription == "The given data was not valid JSON.":
            "the payload is no JSON, or holds a number that does not fit its member, such as 1.5 for an integer"
        case .dataCorrupted(let context): "\(place(context.codingPath)): \(context.debugDescription)"
        @unknown default: "\(error)"
        }
    }

    private static func wireName(_ type: any Any.Type) -> String {
        switch type {
        case is String.Type: "string"
        case is Bool.Type: "boolean"
        case is Int.Type, is Int64.Type, is Int32.Type, is UInt.Type: "integer"
        case is Double.Type, is Float.Type: "number"
        default: "\(type)".hasPrefix("Dictionary") ? "object" : "\(type)"
        }
    }
}
