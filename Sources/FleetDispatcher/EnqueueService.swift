import AMQPClient
import FleetBroker
import FleetModel
import FleetObservability
import FleetStore
import Logging
import Tracing

/// Takes requests from `gaia.enqueue`, many jobs in one: those for now go to the broker, those for later into the ledger.
/// The answer on `reply_to` says of each job what became of it, in the order of the request:
///
/// ```json
/// {"jobs": [{"key": "a", "type": "api.request.v1", "status": "queued"},
///           {"key": "b", "type": "api.request.v1", "status": "invalid", "message": "…"}]}
/// ```
///
/// `status` is one of ``EnqueueLine/Status``; what is decided is decided by ``EnqueueDesk``. A request is acknowledged
/// when all that is said in the answer is safe; after a crash it comes again, and what it had enqueued already is found by
/// its keys.
final class EnqueueService: Sendable {
    private let desk: EnqueueDesk
    private let publisher: AMQPPublisher
    private let consumer: AMQPConsumer
    private let name: String
    private let metrics: RequestMetrics
    private let logger: Logger
    private let done = AsyncStream.makeStream(of: Never.self)

    /// How long a request waits for broker or database before its jobs are reported as failed.
    static let patience: Duration = .seconds(30)

    init(
        store: FleetStore, publisher: AMQPPublisher, consumer: AMQPConsumer, name: String, payloadBytesMax: Int,
        metrics: RequestMetrics, logger: Logger
    ) {
        self.metrics = metrics
        desk = EnqueueDesk(
            store: store, publisher: publisher, payloadBytesMax: payloadBytesMax, patience: Self.patience)
        self.publisher = publisher
        self.consumer = consumer
        self.name = name
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
        let tracer = InstrumentationSystem.tracer
        let traceparent = delivery.traceparent
        let span = tracer.startSpan(
            "process \(delivery.queue)", context: tracer.context(from: traceparent), ofKind: .consumer)
        span.setMessaging(
            "process", delivery.queue,
            [
                "messaging.message.id": delivery.properties.messageID.map { .string($0) },
                "messaging.batch.message_count": .int(Int64(request.jobs.count)),
            ])
        defer { span.end() }
        let lines = await desk.enqueue(
            request.jobs, producer: delivery.properties.appID,
            traceparent: tracer.traceparent(of: span.context) ?? traceparent, repeats: .published)
        metrics.answered(lines)
        await answer(delivery, lines)
    }

    private func answer(_ delivery: AMQPDelivery, _ lines: [EnqueueLine]) async {
        guard let replyTo = delivery.properties.replyTo, !replyTo.isEmpty else {
            let flawed = lines.filter { !$0.isSafe }
            guard let first = flawed.first else { return consumer.acknowledge([delivery.tag]) }
            // Nobody is there to be told, so an operator must find it.
            let text = "\(flawed.count) of \(lines.count) jobs were not enqueued; the first: \(first.message ?? "")"
            return await refuse(delivery, Rejection(.invalidParameters, text))
        }
        var json = JSONText()
        json.beginObject()
        json.member("jobs", json: "[" + lines.map(\.document).joined(separator: ",") + "]")
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

    private func refuse(_ delivery: AMQPDelivery, _ rejection: Rejection) async {
        metrics.wasRefused()
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
