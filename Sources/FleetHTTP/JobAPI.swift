import FleetDispatcher
import FleetModel
import FleetStore
import HTTPTypes
import Hummingbird
import Logging
import PostgresClient

/// What each request means to the fleet.
struct JobAPI: Sendable {
    let store: FleetStore
    let desk: EnqueueDesk
    let waits: Waits
    /// The queue to which results are sent that somebody here waits for.
    let replyQueue: String
    let description: [UInt8]
    let logger: Logger

    /// Who enqueues, as it stands in the jobs.
    static let producer = "gaia http"

    func answer(_ call: Call, _ body: [UInt8]) async throws -> Response {
        switch (call.resource, call.method) {
        case (.health, _): return .json(.ok, Array(#"{"status":"ok"}"#.utf8))
        case (.description, _): return .json(.ok, description)
        case (.jobs, _): return try await enqueue(call, body)
        case (.job(let identity), .delete): return try await cancel(identity, call)
        case (.job(let identity), _): return try await show(identity, call)
        case (.schedules, _): return try await schedules(call)
        case (.schedule(let name), _): return try await remove(name)
        }
    }

    // MARK: Enqueue

    private func enqueue(_ call: Call, _ body: [UInt8]) async throws -> Response {
        let text: String
        do { text = try CanonicalJSON.text(of: body) } catch {
            throw Problem.badRequest(error.description)
        }
        if EnqueueRequest.isMeant(by: text[...].utf8) { return try await many(text, call) }
        let document: JobDocument
        do { document = try JobDocument(canonical: text[...].utf8) } catch {
            throw Problem(.unprocessableContent, error.description)
        }
        guard let limit = call.wait else {
            return try Self.response(await one(document, call, newTo: nil), document)
        }
        guard document.cron == nil else {
            throw Problem.badRequest("'wait' is for a job, and this is a schedule; leave one of them out")
        }
        return try await enqueueAndWait(document, limit, call)
    }

    private func one(_ document: JobDocument, _ call: Call, newTo queue: String?) async -> EnqueueLine {
        await desk.enqueue(
            [.success(document)], producer: Self.producer, traceparent: call.traceparent,
            repeats: .answered(newTo: queue))[0]
    }

    private func many(_ text: String, _ call: Call) async throws -> Response {
        guard call.wait == nil else {
            throw Problem.badRequest("'wait' is for one job; leave it out, and ask for each of these later")
        }
        let request: EnqueueRequest
        do { request = try EnqueueRequest(canonical: text[...].utf8, atMost: HTTPConfiguration.jobsMax) } catch {
            throw Problem(.unprocessableContent, error.description)
        }
        let lines = await desk.enqueue(
            request.jobs, producer: Self.producer, traceparent: call.traceparent, repeats: .answered())
        let jobs = "[" + lines.map(\.document).joined(separator: ",") + "]"
        let isOut = !lines.isEmpty && lines.allSatisfy { $0.status == .failed || $0.status == .unknown }
        if isOut {
            var problem = Problem.unavailable(Self.again)
            problem.jobs = jobs
            throw problem
        }
        return .json(
            lines.allSatisfy(\.isSafe) ? .accepted : .multiStatus, Array(#"{"jobs":\#(jobs)}"#.utf8))
    }

    private static let again =
        "broker or database cannot be used now; send the same request again, what was enqueued is known by its keys"

    /// The answer for one job that nobody waits for.
    private static func response(_ line: EnqueueLine, _ document: JobDocument) throws -> Response {
        func problem(_ problem: Problem) -> Problem {
            var problem = problem
            problem.members = [("key", line.key), ("job_type", line.type), ("outcome", line.status.rawValue)]
            return problem
        }
        let message = line.message ?? ""
        switch line.status {
        case .queued, .scheduled, .duplicate:
            let place =
                document.cron == nil
                ? "/v1/jobs/\(document.job.type.subsystem)/\(encoded(line.key))" : "/v1/schedules/\(encoded(line.key))"
            return .json(
                line.status == .duplicate ? .ok : .accepted, Array(line.document.utf8), [.location: place])
        case .conflict: throw problem(Problem(.conflict, "\(message); choose another key"))
        case .invalid: throw problem(Problem(.unprocessableContent, message))
        case .failed: throw problem(.unavailable("it is not enqueued, send the same request again: \(message)"))
        case .unknown: throw problem(.unavailable(message))
        }
    }

    /// A path segment, with everything encoded that is not unreserved (RFC 3986).
    private static func encoded(_ text: String) -> String {
        let plain = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~".utf8)
        let digits = Array("0123456789ABCDEF".utf8)
        return String(
            decoding: text.utf8.flatMap { byte in
                plain.contains(byte) ? [byte] : [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }, as: UTF8.self)
    }

    // MARK: Wait

    /// How a wait has ended.
    private enum Ending {
        case final, open
        case refused(Waits.Refusal)
    }

    private func enqueueAndWait(_ document: JobDocument, _ limit: Duration, _ call: Call) async throws -> Response {
        try await waiting(for: document.job.identity, call) { wait in
            if document.job.replyTo != nil {
                // Its result goes where the client wants it, and here besides; written before it can end.
                _ = try await look(wait)
            }
            let line = await one(document, call, newTo: replyQueue)
            guard line.isSafe else { return try Self.response(line, document) }
            let ending = try await end(of: wait, within: limit, isNoted: line.status == .queued, document)
            switch ending {
            case .final:
                if let record = try await record(document.job.identity) { return .json(.ok, record.document) }
            case .refused(let refusal):
                var problem = Problem(
                    refusal.reason == "conflict" ? .conflict : .unprocessableContent, refusal.message)
                problem.members = [
                    ("key", line.key), ("job_type", line.type), ("outcome", "rejected"), ("reason", refusal.reason),
                ]
                throw problem
            case .open: break
            }
            return try Self.response(line, document)
        }
    }

    private func showAndWait(_ identity: JobIdentity, _ limit: Duration, _ call: Call) async throws -> Response {
        try await waiting(for: identity, call) { wait in
            _ = try await end(of: wait, within: limit, isNoted: false, nil)
            return try await present(identity)
        }
    }

    private func waiting(
        for identity: JobIdentity, _ call: Call, _ body: (Waits.Wait) async throws -> Response
    ) async throws -> Response {
        let wait = try waits.begin(identity)
        call.hangUp.whenHappened { wait.finish() }
        let result: Result<Response, any Error>
        do { result = .success(try await body(wait)) } catch { result = .failure(error) }
        waits.end(wait)
        do {
            try await store.unwait(waiter(wait))
        } catch {
            // The row goes with its job's result, or when finished jobs age out.
            logger.debug("a row in gaia.waiter stays: \(error)")
        }
        return try result.get()
    }

    private func waiter(_ wait: Waits.Wait) -> Waiter {
        Waiter(identity: wait.identity, replyTo: replyQueue, correlationID: wait.correlationID)
    }

    /// Whether the job has ended; if it has not, its end will wake the wait.
    private func look(_ wait: Waits.Wait) async throws -> Bool {
        try await patiently { try await store.wait(waiter(wait)) }?.isFinal ?? false
    }

    /// - Parameters:
    ///   - isNoted: whether the job's end wakes the wait without more being done.
    ///   - document: the job that the client sent, to tell a refusal of it from one of another job with its key.
    private func end(
        of wait: Waits.Wait, within limit: Duration, isNoted: Bool, _ document: JobDocument?
    ) async throws -> Ending {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await Task.sleep(for: limit)
                wait.finish()
            }
            defer { group.cancelAll() }
            if !isNoted, try await look(wait) { return .final }
            for await wake in wait.wakes {
                switch wake {
                case .result, .lookAgain:
                    if try await look(wait) { return .final }
                case .refused(let refusal):
                    guard let document else { continue }
                    switch try await patiently({ try await store.standing([document]) })[0] {
                    case .duplicate, .scheduled: continue
                    case .conflict, nil: return .refused(refusal)
                    }
                }
            }
            return .open
        }
    }

    // MARK: Look

    private func show(_ identity: JobIdentity, _ call: Call) async throws -> Response {
        guard let limit = call.wait else { return try await present(identity) }
        return try await showAndWait(identity, limit, call)
    }

    private func present(_ identity: JobIdentity) async throws -> Response {
        guard let record = try await record(identity) else {
            throw Problem(
                .notFound,
                "no job is known by this key; one that was just enqueued is not until a worker takes it: ask with 'wait'"
            )
        }
        return .json(.ok, record.document)
    }

    private func record(_ identity: JobIdentity) async throws -> JobRecord? {
        try await patiently { try await store.job(identity.key, subsystem: identity.subsystem) }.first
    }

    // MARK: Call off

    /// As many characters as are kept.
    private static let reasonMax = 500

    private func cancel(_ identity: JobIdentity, _ call: Call) async throws -> Response {
        let reason = call.target.text("reason") ?? "called off over HTTP"
        guard reason.unicodeScalars.count <= Self.reasonMax, !reason.utf8.contains(0) else {
            throw Problem.badRequest("a reason has at most \(Self.reasonMax) characters, and no NUL")
        }
        let answer = try await patiently { try await store.cancel(identity, reason: reason) }
        var json = JSONText()
        json.beginObject()
        json.member("subsystem", identity.subsystem)
        json.member("key", identity.key)
        json.member("outcome", answer.rawValue)
        json.endObject()
        switch answer {
        case .cancelled, .noted: return .json(.ok, json.bytes)
        case .requested: return .json(.accepted, json.bytes)
        case .finished:
            var problem = Problem(.conflict, "the job has ended already; look what came of it")
            problem.members = [("key", identity.key), ("outcome", answer.rawValue)]
            throw problem
        }
    }

    // MARK: Schedules

    private static let pageRange = 1...100

    private func schedules(_ call: Call) async throws -> Response {
        let after = call.target.text("after") ?? ""
        guard !after.utf8.contains(0), after.unicodeScalars.count <= CronSchedule.nameBytesMax else {
            throw Problem.badRequest(
                "'after' is the name of a schedule, at most \(CronSchedule.nameBytesMax) characters")
        }
        let limit = try call.target.number("limit", Self.pageRange) ?? Self.pageRange.upperBound
        let records = try await patiently { try await store.schedules(after: after, atMost: limit) }
        return .json(
            .ok, Array(#"{"schedules":[\#(records.map(Self.text).joined(separator: ","))]}"#.utf8))
    }

    private static func text(_ record: CronRecord) -> String {
        var json = JSONText()
        json.beginObject()
        json.member("name", record.name)
        json.member("every", record.expression)
        json.member("zone", record.zone)
        json.member("catch_up", record.catchUp)
        json.member("type", record.type)
        json.member("payload", json: record.payload)
        json.member("paused", json: record.paused ? "true" : "false")
        json.member("next_at", record.nextAt)
        if let last = record.lastAt { json.member("last_at", last) }
        json.endObject()
        return json.text
    }

    private func remove(_ name: String) async throws -> Response {
        guard try await patiently({ try await store.removeSchedule(name) }) else {
            throw Problem(.notFound, "there is no schedule of this name; GET /v1/schedules lists them")
        }
        var json = JSONText()
        json.beginObject()
        json.member("name", name)
        json.member("outcome", "removed")
        json.endObject()
        return .json(.ok, json.bytes)
    }

    // MARK: The database

    /// The pool waits for a connection as long as a request may wait; a statement that a lost link took with it is made once
    /// more, which all of these bear.
    private func patiently<Value: Sendable>(_ body: () async throws -> Value) async throws -> Value {
        do {
            do {
                return try await body()
            } catch let error as PostgresError where error.kind == .connectionLost || error.kind == .outcomeUnknown {
                return try await body()
            }
        } catch let error as PostgresError where error.isOutage {
            logger.warning("a request could not be served: \(error)")
            throw Problem.unavailable(
                "the database cannot be used now; send the same request again, doing it twice is harmless")
        }
    }
}

extension HTTPResponse.Status {
    /// WebDAV's, for an answer that holds several.
    fileprivate static var multiStatus: Self { .init(code: 207, reasonPhrase: "Multi-Status") }
}

extension PostgresError {
    /// Whether the server is at fault, or the way to it, and not the statement.
    fileprivate var isOutage: Bool {
        switch kind {
        case .connectionLost, .outcomeUnknown, .unavailable, .acquireTimeout, .timeout, .closed, .cancelled: true
        case .server: isTransient
        case .decoding, .invalidConfiguration: false
        }
    }
}
