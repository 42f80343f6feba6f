import AMQPClient
import FleetBroker
import FleetModel
import FleetObservability
import FleetStore
import PostgresClient
import Tracing

/// What became of one job of a request.
public struct EnqueueLine: Sendable, Equatable {
    public enum Status: String, Sendable, CaseIterable {
        /// Safe in the broker.
        case queued
        /// Safe in the ledger, with its time; a schedule too.
        case scheduled
        /// The same job is there already.
        case duplicate
        /// The key belongs to another job.
        case conflict
        /// It is no job that could be run.
        case invalid
        /// Not enqueued: ask again later.
        case failed
        /// The link was lost before the broker's word: enqueued or not. To ask again is harmless, the key sees to that.
        case unknown
    }

    public let key: String
    public let type: String
    public fileprivate(set) var status: Status
    /// Why, where the status alone does not say it.
    public fileprivate(set) var message: String?
    /// A schedule's first tick, as ISO 8601 in UTC.
    public fileprivate(set) var nextAt: String?

    /// Whether the job is in the fleet's hands.
    public var isSafe: Bool {
        switch status {
        case .queued, .scheduled, .duplicate: true
        case .conflict, .invalid, .failed, .unknown: false
        }
    }

    /// JSON text of one object.
    public var document: String {
        var json = JSONText()
        json.beginObject()
        json.member("key", key)
        json.member("type", type)
        json.member("status", status.rawValue)
        if let message { json.member("message", message) }
        if let nextAt { json.member("next_at", nextAt) }
        json.endObject()
        return json.text
    }
}

/// Decides what becomes of each job of a request, whatever way the request came: those for now go to the broker, those for
/// later and schedules into the ledger. Each answer is given when what it says is safe.
public struct EnqueueDesk: Sendable {
    /// What is done with a job for now that the ledger knows already.
    public enum Repeats: Sendable {
        /// It is published like any other; the claim decides, and the stored result goes to its `reply_to`. The ledger is not
        /// asked.
        case published
        /// It is answered from the ledger, and published only when it has a `reply_to` to which the result is due.
        ///
        /// - Parameter newTo: the `reply_to` of jobs for now that are not there yet and have none of their own.
        case answered(newTo: String? = nil)
    }

    private let store: FleetStore
    private let publisher: AMQPPublisher
    private let payloadBytesMax: Int
    private let patience: Duration

    /// Schedules in one request: each is two statements.
    public static let schedulesMax = 100

    /// - Parameter patience: how long a request waits for the database before its jobs are reported as failed; for the
    ///   broker the publisher has a time of its own.
    public init(store: FleetStore, publisher: AMQPPublisher, payloadBytesMax: Int, patience: Duration) {
        self.store = store
        self.publisher = publisher
        self.payloadBytesMax = payloadBytesMax
        self.patience = patience
    }

    private typealias Place = (line: Int, document: JobDocument)

    /// - Parameters:
    ///   - producer: who asks, as it stands in the jobs.
    ///   - traceparent: of the request, from which the jobs follow.
    /// - Returns: a line for each, in the same order.
    public func enqueue(
        _ jobs: [Result<JobDocument, InvalidJobDocument>], producer: String?, traceparent: String? = nil,
        repeats: Repeats
    ) async -> [EnqueueLine] {
        var lines: [EnqueueLine] = []
        var (now, later, schedules): ([Place], [Place], [Place]) = ([], [], [])
        for (index, element) in jobs.enumerated() {
            switch element {
            case .failure(let error):
                lines.append(EnqueueLine(key: "", type: "", status: .invalid, message: error.description))
            case .success(let document):
                var line = EnqueueLine(key: document.job.key, type: document.job.type.name, status: .queued)
                let place = (
                    index,
                    document.with {
                        $0.producer = producer
                        $0.traceparent = $0.traceparent ?? traceparent
                    }
                )
                if document.job.payload.count > payloadBytesMax {
                    line.status = .invalid
                    line.message =
                        "the payload has \(document.job.payload.count) bytes, at most \(payloadBytesMax) are taken"
                } else if document.cron != nil, schedules.count == Self.schedulesMax {
                    line.status = .invalid
                    line.message =
                        "a request holds at most \(Self.schedulesMax) schedules; send the others by themselves"
                } else if document.cron != nil {
                    schedules.append(place)
                } else if document.isForNow {
                    now.append(place)
                } else {
                    later.append(place)
                }
                lines.append(line)
            }
        }
        for schedule in schedules { await put(schedule, &lines) }
        await self.schedule(later, &lines)
        switch repeats {
        case .published: break
        case .answered(let newTo): now = await look(now, newTo: newTo, &lines)
        }
        await publish(now, &lines)
        return lines
    }

    // MARK: Into the ledger

    private func put(_ place: Place, _ lines: inout [EnqueueLine]) async {
        let (job, document) = (place.document.job, place.document)
        guard let cron = document.cron else { return }
        let schedule = CronSchedule(
            name: job.key, expression: cron.expression, zone: cron.zone, type: job.type, payload: document.payload,
            catchUp: cron.catchUp, replyTo: job.replyTo, subject: job.subject, attemptsMax: job.attemptsMax ?? 0)
        do {
            lines[place.line].nextAt = try await patiently { try await self.store.put(schedule) }
            lines[place.line].status = .scheduled
        } catch let error as UnknownZone {
            lines[place.line].status = .invalid
            lines[place.line].message = error.description
        } catch {
            fail([place], error, &lines)
        }
    }

    private func schedule(_ later: [Place], _ lines: inout [EnqueueLine]) async {
        if later.isEmpty { return }
        do {
            let requests = later.map {
                ScheduleRequest(
                    job: $0.document.job, payload: $0.document.payload, delay: $0.document.delay ?? .zero)
            }
            let answers = try await patiently { try await self.store.schedule(requests) }
            for (place, answer) in zip(later, answers) { note(answer, place, &lines) }
        } catch {
            fail(later, error, &lines)
        }
    }

    private func note(_ answer: ScheduleAnswer, _ place: Place, _ lines: inout [EnqueueLine]) {
        switch answer {
        case .scheduled: lines[place.line].status = .scheduled
        case .duplicate(let state):
            lines[place.line].status = .duplicate
            lines[place.line].message = "the job is \(state.rawValue)"
        case .conflict:
            lines[place.line].status = .conflict
            lines[place.line].message = "the key belongs to a job with another type or payload"
        }
    }

    // MARK: To the broker

    /// Answers what the ledger, or the request itself, has already.
    ///
    /// - Returns: what is to be published.
    private func look(_ now: [Place], newTo: String?, _ lines: inout [EnqueueLine]) async -> [Place] {
        if now.isEmpty { return [] }
        let standing: [ScheduleAnswer?]
        do {
            standing = try await patiently { try await self.store.standing(now.map(\.document)) }
        } catch {
            fail(now, error, &lines)
            return []
        }
        var open: [Place] = []
        var first: [JobIdentity: JobDocument] = [:]
        for (place, answer) in zip(now, standing) {
            let document = place.document
            if let answer {
                note(answer, place, &lines)
                if answer != .conflict, document.job.replyTo != nil { open.append(place) }
            } else if let earlier = first[document.job.identity] {
                let isSame = earlier.job.type == document.job.type && earlier.payload == document.payload
                lines[place.line].status = isSame ? .duplicate : .conflict
                lines[place.line].message =
                    isSame ? "it stands in this request already" : "another job in this request has the same key"
                if isSame, document.job.replyTo != nil { open.append(place) }
            } else {
                first[document.job.identity] = document
                open.append((place.line, document.with { $0.replyTo = $0.replyTo ?? newTo }))
            }
        }
        return open
    }

    private func publish(_ now: [Place], _ lines: inout [EnqueueLine]) async {
        let time = WallClock.milliseconds
        var spans: [any Span] = []
        let jobs = now.map { place -> Job in
            var job = place.document.job
            if let span = JobSpan.start(for: &job) { spans.append(span) }
            return job
        }
        let outcomes = await publisher.publish(jobs.map { $0.message(publishedAt: time) })
        for (span, outcome) in zip(spans, outcomes) { JobSpan.end(span, EnqueueOutcome(outcome)) }
        for (place, outcome) in zip(now, outcomes) {
            switch EnqueueOutcome(outcome) {
            case .queued: break
            case .failed(let reason):
                lines[place.line].status = .failed
                lines[place.line].message = reason
            case .unknown(let reason):
                lines[place.line].status = .unknown
                lines[place.line].message = "it may be enqueued or not, ask again: \(reason)"
            }
        }
    }

    // MARK: The database

    /// A statement whose outcome is unknown is made again: what it had written is then found as a repeat.
    private func patiently<Value>(_ body: () async throws -> Value) async throws -> Value {
        try await Patience(limit: patience)(
            isHopeless: { !(($0 as? PostgresError)?.isTransient ?? false) }, body)
    }

    private func fail(_ places: [Place], _ error: any Error, _ lines: inout [EnqueueLine]) {
        let isUnknown = (error as? PostgresError)?.kind == .outcomeUnknown
        for place in places {
            lines[place.line].status = isUnknown ? .unknown : .failed
            lines[place.line].message = "\(error)"
        }
    }
}

/// The span of a job on its way to the broker, from which its attempts follow.
enum JobSpan {
    /// - Returns: nil when nobody traces.
    static func start(for job: inout Job) -> (any Span)? {
        let tracer = InstrumentationSystem.tracer
        if tracer is NoOpTracer { return nil }
        let span = tracer.startSpan(
            "send \(FleetBroker.jobsExchange)", context: tracer.context(from: job.traceparent), ofKind: .producer)
        let described = job
        span.setMessaging(
            "send", "\(FleetBroker.jobsExchange):\(described.type.name)",
            [
                "messaging.rabbitmq.destination.routing_key": .string(described.type.name),
                "messaging.message.id": .string(described.key),
                "messaging.message.conversation_id": described.correlationID.map { .string($0) },
                "gaia.job.type": .string(described.type.name), "gaia.job.key": .string(described.key),
            ])
        job.traceparent = tracer.traceparent(of: span.context)
        return span
    }

    static func end(_ span: any Span, _ outcome: EnqueueOutcome) {
        switch outcome {
        case .queued: span.end()
        case .failed: span.fail("not-enqueued")
        case .unknown: span.fail("unknown")
        }
    }
}
