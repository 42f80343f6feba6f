/// A job as a producer hands it over: what is to be done, under which key, for whom.
public struct Job: Sendable, Equatable {
    public var type: JobType
    /// The idempotency key: a second job with this key in the same subsystem is a repeat of the first.
    public var key: String
    /// JSON text.
    public var payload: [UInt8]
    /// The queue that gets a copy of the result, beside the results exchange.
    public var replyTo: String?
    /// Echoed in the result; the key when absent.
    public var correlationID: String?
    /// Whom it is done for.
    public var subject: String?
    public var traceparent: String?
    /// How long after its first claim (or, for a job for later, after its time) it may still be worked on. No limit
    /// when absent; each attempt has the limit of its type besides.
    public var deadline: Duration?
    /// How many attempts it gets; the type's own number when absent.
    public var attemptsMax: Int?
    /// How long to pause between tries; the type's own policy when absent.
    public var backoff: Backoff?
    /// Whether it goes before what waits already, by its subsystem's urgent lane.
    public var isUrgent = false
    /// Who publishes it.
    public var producer: String?

    public init(
        type: JobType, key: String, payload: [UInt8], replyTo: String? = nil, correlationID: String? = nil,
        subject: String? = nil, traceparent: String? = nil, deadline: Duration? = nil, attemptsMax: Int? = nil,
        backoff: Backoff? = nil, isUrgent: Bool = false, producer: String? = nil
    ) {
        self.type = type
        self.key = key
        self.payload = payload
        self.replyTo = replyTo
        self.correlationID = correlationID
        self.subject = subject
        self.traceparent = traceparent
        self.deadline = deadline
        self.attemptsMax = attemptsMax
        self.backoff = backoff
        self.isUrgent = isUrgent
        self.producer = producer
    }

    /// A job from parameters, encoded once.
    public init<Parameters: JobParameters>(
        _ parameters: Parameters, key: String, replyTo: String? = nil, correlationID: String? = nil,
        subject: String? = nil
    ) throws {
        self.init(
            type: Parameters.type, key: key, payload: Array(try PayloadCoding.encode(parameters).utf8),
            replyTo: replyTo, correlationID: correlationID, subject: subject)
    }

    public var identity: JobIdentity { JobIdentity(subsystem: type.subsystem, key: key) }
}

/// What became of a job, for whoever asked for it: the content of a result message.
///
/// The same job and state give the same `id` however often the result is published, so that a consumer can drop
/// repeats by it.
public struct JobResult: Sendable, Equatable {
    public let identity: JobIdentity
    public let type: String
    /// A final state.
    public let state: JobState
    /// Attempts spent.
    public let attempt: Int
    /// When the state became final, as ISO 8601 in UTC, by the database's clock.
    public let finishedAt: String
    /// JSON text; nil unless succeeded.
    public let output: String?
    /// JSON text of the last error; nil when succeeded.
    public let error: String?

    public init(
        identity: JobIdentity, type: String, state: JobState, attempt: Int, finishedAt: String, output: String?,
        error: String?
    ) {
        self.identity = identity
        self.type = type
        self.state = state
        self.attempt = attempt
        self.finishedAt = finishedAt
        self.output = output
        self.error = error
    }

    public var id: String { "\(identity.subsystem)/\(identity.key)/\(state.rawValue)" }

    /// The CloudEvents 1.0 document in structured JSON.
    public var document: [UInt8] {
        var json = JSONText(reserving: 384 + (output?.utf8.count ?? 0) + (error?.utf8.count ?? 0))
        json.beginObject()
        json.member("specversion", "1.0")
        json.member("id", id)
        json.member("source", "/gaia/\(identity.subsystem)")
        json.member("type", "gaia.job.\(state.rawValue)")
        json.member("subject", identity.key)
        json.member("time", finishedAt)
        json.member("datacontenttype", "application/json")
        json.beginObject("data")
        json.member("job", type)
        json.member("key", identity.key)
        json.member("outcome", state.rawValue)
        json.member("attempt", attempt)
        if let output { json.member("output", json: output) }
        if let error { json.member("error", json: error) }
        json.endObject()
        json.endObject()
        return json.bytes
    }
}

extension JobFailure {
    /// The error as it is stored in the ledger and published: JSON text.
    public func document(attempt: Int, worker: String) -> String {
        var json = JSONText()
        json.beginObject()
        json.member("kind", kind.name)
        json.member("code", code)
        json.member("message", message)
        json.member("attempt", attempt)
        json.member("worker", worker)
        json.endObject()
        return json.text
    }
}
