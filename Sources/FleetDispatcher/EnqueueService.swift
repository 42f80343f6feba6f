import AMQPClient
import FleetBroker
import FleetModel
import FleetStore
import Logging
import PostgresClient

/// Takes requests from `gaia.enqueue`, many jobs in one: those for now go to the broker, those for later into the ledger.
/// The answer on `reply_to` says of each job what became of it, in the order of the request:
///
/// ```json
/// {"jobs": [{"key": "a", "type": "api.request.v1", "status": "queued"},
///           {"key": "b", "type": "api.request.v1", "status": "invalid", "message": "…"}]}
/// ```
///
/// `status` is `queued`, `scheduled`, `duplicate`, `conflict`, `invalid`, or `failed` (not enqueued, may be asked again).
/// A request is acknowledged when all that is said in the answer is safe; after a crash it comes again, and what it had
/// enqueued already is found by its keys.
final class EnqueueService: Sendable {
    private let store: FleetStore
    private let publisher: AMQPPublisher
    private let consumer: AMQPConsumer
    private let name: String
    private let payloadBytesMax: Int
    private let logger: Logger
    private let done = AsyncStream.makeStream(of: Never.self)

    /// How long a request waits for broker or database before its jobs are reported as failed.
    static let patience: Duration = .seconds(30)

    init(
        store: FleetStore, publisher: AMQPPublisher, consumer: AMQPConsumer, name: String, payloadBytesMax: Int,
        logger: Logger
    ) {
        self.store = store
        self.publisher = publisher
        self.consumer = consumer
        self.name = name
        self.payloadBytesMax = payloadBytesMax
        self.logger = logger
    }

    /// Runs until the consumer has stopped and its last delivery is dealt with.
    func run() async {
        for await batch in consumer.deliveries {
            for delivery in batch { await serve(delivery) }
        }
        done.continuation.finish()
    }

    /// Returns when `run` has returned.
    func finished() async {
        for await _ in done.stream {}
    }

    private struct Line {
        let key: String
        let type: String
        var status: Status
        var message: String?
    }

    private enum Status: String { case queued, scheduled, duplicate, conflict, invalid, failed }

    private func serve(_ delivery: AMQPDelivery) async {
        let request: EnqueueRequest
        do {
            guard !delivery.flaws.contains(.oversize) else {
                return await refuse(
                    delivery, Rejection(.tooLarge, "the request has \(delivery.bodyBytes) bytes; split it"))
            }
            request = try EnqueueRequest(delivery.body)
        } catch {
            return await refuse(delivery, Rejection(.invalidJSON, error.description))
        }
        var lines: [Line] = []
        var now: [(line: Int, job: Job)] = []
        var later: [(line: Int, request: ScheduleRequest)] = []
        for (index, element) in request.jobs.enumerated() {
            switch element {
            case .failure(let error):
                lines.append(Line(key: "", type: "", status: .invalid, message: error.description))
            case .success(let document):
                var line = Line(key: document.job.key, type: document.job.type.name, status: .queued)
                var job = document.job
                job.producer = delivery.properties.appID
                if job.payload.count > payloadBytesMax {
                    line.status = .invalid
                    line.message = "the payload has \(job.payload.count) bytes, at most \(payloadBytesMax) are taken"
                } else if let delay = document.delay, delay > .zero {
                    later.append((index, ScheduleRequest(job: job, payload: document.payload, delay: delay)))
                } else {
                    now.append((index, job))
                }
                lines.append(line)
            }
        }
        await schedule(later, &lines)
        await publish(now, &lines)
        await answer(delivery, lines)
    }

    private func schedule(_ later: [(line: Int, request: ScheduleRequest)], _ lines: inout [Line]) async {
        if later.isEmpty { return }
        do {
            let answers = try await Patience(limit: Self.patience)(
                isHopeless: { !(($0 as? PostgresError)?.isTransient ?? false) },
                { try await self.store.schedule(later.map(\.request)) })
            for ((line, _), answer) in zip(later, answers) {
                switch answer {
                case .scheduled: lines[line].status = .scheduled
                case .duplicate(let state):
                    lines[line].status = .duplicate
                    lines[line].message = "the job is \(state.rawValue)"
                case .conflict:
                    lines[line].status = .conflict
                    lines[line].message = "the key belongs to a job with another type or payload"
                }
            }
        } catch {
            for (line, _) in later {
                lines[line].status = .failed
                lines[line].message = "\(error)"
            }
        }
    }

    private func publish(_ now: [(line: Int, job: Job)], _ lines: inout [Line]) async {
        let outcomes = await publisher.publish(now.map { $0.job.message() })
        for ((line, _), outcome) in zip(now, outcomes) where outcome != .confirmed {
            lines[line].status = .failed
            lines[line].message = "\(EnqueueOutcome(outcome))"
        }
    }

    private func answer(_ delivery: AMQPDelivery, _ lines: [Line]) async {
        guard let replyTo = delivery.properties.replyTo, !replyTo.isEmpty else {
            let flawed = lines.filter { $0.status != .queued && $0.status != .scheduled && $0.status != .duplicate }
            guard let first = flawed.first else { return consumer.acknowledge([delivery.tag]) }
            // Nobody is there to be told, so an operator must find it.
            let text = "\(flawed.count) of \(lines.count) jobs were not enqueued; the first: \(first.message ?? "")"
            return await refuse(delivery, Rejection(.invalidParameters, text))
        }
        var json = JSONText()
        json.beginObject()
        json.member("jobs", json: "[" + lines.map { Self.text(of: $0) }.joined(separator: ",") + "]")
        json.endObject()
        var properties = AMQPProperties()
        properties.contentType = "application/json"
        properties.messageID = delivery.properties.messageID.map { "\($0.prefix(240))/answer" }
        properties.correlationID = delivery.properties.correlationID ?? delivery.properties.messageID
        properties.type = "gaia.enqueue.answer"
        let message = AMQPMessage(exchange: "", routingKey: replyTo, properties: properties, body: json.bytes)
        let outcome = await publisher.publish([message])[0]
        if outcome == .confirmed {
            consumer.acknowledge([delivery.tag])
        } else {
            // The request comes again and is answered again; the jobs are known by their keys.
            logger.warning("an answer to an enqueue request was not confirmed: \(outcome)")
            consumer.reject([delivery.tag], requeue: true)
        }
    }

    private static func text(of line: Line) -> String {
        var json = JSONText()
        json.beginObject()
        json.member("key", line.key)
        json.member("type", line.type)
        json.member("status", line.status.rawValue)
        if let message = line.message { json.member("message", message) }
        json.endObject()
        return json.text
    }

    private func refuse(_ delivery: AMQPDelivery, _ rejection: Rejection) async {
        logger.notice("set aside (\(rejection.reason.rawValue)): an enqueue request: \(rejection)")
        let notices = rejection.notices(delivery, worker: name)
        if delivery.flaws.contains(.oversize) {
            _ = await publisher.publish(notices)
            return consumer.reject([delivery.tag], requeue: false)
        }
        let outcomes = await publisher.publish([rejection.setAside(delivery, worker: name)] + notices)
        if outcomes[0] == .confirmed {
            consumer.acknowledge([delivery.tag])
        } else {
            consumer.reject([delivery.tag], requeue: true)
        }
    }
}
