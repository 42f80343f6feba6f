import FoundationEssentials

/// A job written as a JSON object, as in a line for `gaia enqueue` or a request to the dispatcher:
///
/// ```json
/// {"type": "api.request.v1", "key": "order-17", "payload": {"url": "http://…"}, "delay_ms": 5000}
/// ```
///
/// `type`, `key` and `payload` are required. Optional: `delay_ms`, `deadline_ms`, `max_attempts`, `reply_to`,
/// `correlation_id`, `subject`, `backoff` (see `Backoff`), `urgent` (true or false). A name that is not one of these is
/// refused, so that a misspelt one is not ignored.
///
/// With `cron` (see ``CronRequest``) it is a schedule, whose name is the key: each tick makes a job of this type and
/// payload. Of the optional members a schedule has `reply_to`, `subject` and `max_attempts`.
public struct JobDocument: Sendable, Equatable {
    public let job: Job
    /// The payload in canonical form.
    public let payload: String
    /// How long from now the job is to wait; nil for at once.
    public let delay: Duration?
    /// When its jobs are due, when it is a schedule.
    public let cron: CronRequest?

    /// The longest delay, ten years: a longer one is a mistake of units.
    public static let delayMax: Duration = .seconds(10 * 365 * 86_400)

    public init(job: Job, payload: String, delay: Duration?, cron: CronRequest? = nil) {
        self.job = job
        self.payload = payload
        self.delay = delay
        self.cron = cron
    }

    /// Whether it goes to the broker at once, and not into the ledger with its time.
    public var isForNow: Bool { cron == nil && (delay ?? .zero) <= .zero }

    /// The same for another job.
    public func with(_ change: (inout Job) -> Void) -> JobDocument {
        var job = job
        change(&job)
        return JobDocument(job: job, payload: payload, delay: delay, cron: cron)
    }

    /// Reads canonical JSON text of one object.
    public init(canonical text: Substring.UTF8View) throws(InvalidJobDocument) {
        let fields = try DocumentFields(text, of: "a job", known: Self.names, otherwise: "a job is a JSON object")
        guard let typeName = try fields.string("type") else { throw InvalidJobDocument("'type' is missing") }
        guard let key = try fields.string("key") else {
            throw InvalidJobDocument("'key' is missing: the idempotency key")
        }
        guard let payload = fields["payload"] else { throw InvalidJobDocument("'payload' is missing") }
        let type: JobType
        do { type = try JobType(validating: typeName) } catch { throw InvalidJobDocument(error.description) }
        if let flaw = Job.flaw(inKey: key) { throw InvalidJobDocument(flaw) }
        var backoff: Backoff?
        if let text = try fields.string("backoff") {
            do { backoff = try Backoff(parsing: text) } catch { throw InvalidJobDocument(error.description) }
        }
        let urgent = fields["urgent"].map { String(Substring($0)) }
        guard let isUrgent = [nil: false, "false": false, "true": true][urgent] else {
            throw InvalidJobDocument("'urgent' must be true or false")
        }
        let delayMax = Int(Self.delayMax.milliseconds)
        let delay = try fields.integer("delay_ms", 0...delayMax)
        self.payload = String(Substring(payload))
        self.delay = delay.map { .milliseconds($0) }
        self.job = Job(
            type: type, key: key, payload: Array(payload), replyTo: try fields.string("reply_to"),
            correlationID: try fields.string("correlation_id"), subject: try fields.string("subject"),
            deadline: try fields.integer("deadline_ms", 1...delayMax).map { .milliseconds($0) },
            attemptsMax: try fields.integer("max_attempts", 1...RetryPolicy.attemptsCeiling), backoff: backoff,
            isUrgent: isUrgent)
        for (name, value) in [
            ("reply_to", job.replyTo), ("correlation_id", job.correlationID), ("subject", job.subject),
        ] {
            if let value, let flaw = Job.flaw(inShortText: value) { throw InvalidJobDocument("'\(name)' \(flaw)") }
        }
        cron = if let text = fields["cron"] { try CronRequest(canonical: text) } else { nil }
        if cron != nil { try Self.checkSchedule(fields, key) }
    }

    private static func checkSchedule(_ fields: DocumentFields, _ key: String) throws(InvalidJobDocument) {
        for name in ["delay_ms", "deadline_ms", "correlation_id", "backoff", "urgent"] where fields[name] != nil {
            throw InvalidJobDocument("'\(name)' does not go with 'cron'; leave one of them out")
        }
        guard key.utf8.count <= CronRequest.nameBytesMax else {
            throw InvalidJobDocument(
                "the key of a schedule is its name, and has \(key.utf8.count) bytes; at most "
                    + "\(CronRequest.nameBytesMax) are taken")
        }
    }

    /// Reads a line or a whole document.
    public init(_ bytes: [UInt8]) throws(InvalidJobDocument) {
        let text: String
        do { text = try CanonicalJSON.text(of: bytes) } catch { throw InvalidJobDocument(error.description) }
        try self.init(canonical: text[...].utf8)
    }

    private static let names = [
        "type", "key", "payload", "delay_ms", "deadline_ms", "max_attempts", "reply_to", "correlation_id", "subject",
        "backoff", "urgent", "cron",
    ]
}

/// The members of an object that may only have known ones.
struct DocumentFields {
    private var fields: [String: Substring.UTF8View] = [:]

    /// - Parameter text: canonical JSON.
    init(
        _ text: Substring.UTF8View, of what: String, known: [String], otherwise: String
    ) throws(InvalidJobDocument) {
        guard let members = JSONSlices.members(of: text) else { throw InvalidJobDocument(otherwise) }
        for (name, value) in members { fields[name] = value }
        for name in fields.keys.sorted() where !known.contains(name) {
            throw InvalidJobDocument(
                "'\(name)' is not a member of \(what); known are \(known.joined(separator: ", "))")
        }
    }

    subscript(_ name: String) -> Substring.UTF8View? { fields[name] }

    func string(_ name: String) throws(InvalidJobDocument) -> String? {
        guard let text = fields[name] else { return nil }
        guard let value = try? JSONDecoder().decode(String.self, from: Data(text)) else {
            throw InvalidJobDocument("'\(name)' must be a string")
        }
        return value
    }

    func integer(_ name: String, _ range: ClosedRange<Int>) throws(InvalidJobDocument) -> Int? {
        guard let text = fields[name] else { return nil }
        guard let value = Self.integer(String(Substring(text))), range.contains(value) else {
            throw InvalidJobDocument(
                "'\(name)' must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    /// A whole number, also as encoders write it that know no other kind than `5.0`.
    private static func integer(_ text: String) -> Int? {
        // A string or a list is none, whatever it holds; and nothing but JSON numbers begins so.
        guard let first = text.utf8.first, first == UInt8(ascii: "-") || (0x30...0x39).contains(first) else {
            return nil
        }
        return Int(text) ?? Double(text).flatMap { Int(exactly: $0) }
    }
}

/// A request to the dispatcher: `{"jobs": [job, …]}`.
public struct EnqueueRequest: Sendable {
    /// Each job, or why it is none.
    public let jobs: [Result<JobDocument, InvalidJobDocument>]

    /// The most jobs in one request.
    public static let jobsMax = 10_000

    public init(_ bytes: [UInt8]) throws(InvalidJobDocument) {
        let text: String
        do { text = try CanonicalJSON.text(of: bytes) } catch { throw InvalidJobDocument(error.description) }
        try self.init(canonical: text[...].utf8)
    }

    /// Reads canonical JSON text.
    public init(
        canonical text: Substring.UTF8View, atMost jobsMax: Int = EnqueueRequest.jobsMax
    ) throws(InvalidJobDocument) {
        guard let members = JSONSlices.members(of: text), members.count == 1, members[0].name == "jobs",
            let elements = JSONSlices.elements(of: members[0].value)
        else { throw InvalidJobDocument("a request is an object with one member, 'jobs': a list of jobs") }
        guard elements.count <= jobsMax else {
            throw InvalidJobDocument("a request holds at most \(jobsMax) jobs, this one has \(elements.count)")
        }
        jobs = elements.map { element in
            do throws(InvalidJobDocument) {
                return .success(try JobDocument(canonical: element))
            } catch {
                return .failure(error)
            }
        }
    }

    /// Whether canonical JSON text is meant as a list of jobs, and not as one job.
    public static func isMeant(by text: Substring.UTF8View) -> Bool {
        JSONSlices.members(of: text)?.contains { $0.name == "jobs" } ?? false
    }
}

/// Why a JSON document is no job.
public struct InvalidJobDocument: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

extension Job {
    /// What is wrong with an idempotency key, if anything.
    public static func flaw(inKey key: String) -> String? {
        if key.isEmpty { return "the idempotency key is empty; choose one that names this job and no other" }
        if key.utf8.count > JobIdentity.keyBytesMax {
            return
                "the idempotency key has \(key.utf8.count) bytes, at most \(JobIdentity.keyBytesMax) are kept; hash it"
        }
        if key.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) {
            return "the idempotency key holds a control character; use printable text"
        }
        return nil
    }

    /// What is wrong with a text that travels as an AMQP short string, if anything.
    public static func flaw(inShortText text: String) -> String? {
        if text.utf8.count > 255 { return "has \(text.utf8.count) bytes, at most 255 fit" }
        if text.utf8.contains(0) { return "holds a NUL character" }
        return nil
    }
}

/// Cuts canonical JSON into its parts without decoding them, so that a payload passes through as it was written.
enum JSONSlices {
    typealias Text = Substring.UTF8View

    /// Names and values of an object, or nil when it is none.
    static func members(of text: Text) -> [(name: String, value: Text)]? {
        guard text.first == UInt8(ascii: "{") else { return nil }
        var members: [(name: String, value: Text)] = []
        for part in split(text) {
            // Canonical text has no space around the colon, and the name is a string.
            let name = stringEnd(in: part)
            guard let key = try? JSONDecoder().decode(String.self, from: Data(part[..<name])) else { return nil }
            members.append((key, part[part.index(after: name)...]))
        }
        return members
    }

    /// The elements of an array, or nil when it is none.
    static func elements(of text: Text) -> [Text]? {
        text.first == UInt8(ascii: "[") ? split(text) : nil
    }

    /// The parts between the outermost commas.
    private static func split(_ text: Text) -> [Text] {
        var parts: [Text] = []
        var depth = 0
        var index = text.startIndex
        var start = text.index(after: index)
        while index < text.endIndex {
            switch text[index] {
            case UInt8(ascii: "\""):
                index = stringEnd(in: text[index...])
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                if depth == 0, start < index { parts.append(text[start..<index]) }
            case UInt8(ascii: ",") where depth == 1:
                parts.append(text[start..<index])
                start = text.index(after: index)
            default: break
            }
            index = text.index(after: index)
        }
        return parts
    }

    /// The index behind the string with which `text` begins.
    private static func stringEnd(in text: Text) -> Text.Index {
        var index = text.index(after: text.startIndex)
        while index < text.endIndex, text[index] != UInt8(ascii: "\"") {
            index = text.index(index, offsetBy: text[index] == UInt8(ascii: "\\") ? 2 : 1)
        }
        return text.index(after: index)
    }
}
