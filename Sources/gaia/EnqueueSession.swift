import AMQPClient
import FleetBroker
import FleetConfiguration
import FleetModel
import Foundation
import Logging

/// What became of one job that was given to the fleet.
struct EnqueueReport: Sendable, Decodable {
    let status: String
    let message: String?

    /// Whether the job is in the fleet's hands.
    var isSafe: Bool { ["queued", "scheduled", "duplicate"].contains(status) }
}

/// The result of a job, as it arrived on the reply queue.
struct ArrivedResult: Sendable {
    let outcome: String
    let detail: String
    let text: String
}

/// The connections of one `gaia enqueue`: jobs for now go straight to their queue, jobs for later to the dispatcher.
struct EnqueueSession: Sendable {
    let replies: ReplyQueue
    private let producer: JobProducer
    private let requests: AMQPPublisher
    private let answers = AwaitedAnswers()
    private let timeout: Duration

    static func open(_ configuration: FleetConfiguration, timeout: Duration) async throws -> EnqueueSession {
        var logger = configuration.logger
        logger.logLevel = max(logger.logLevel, .error)
        let amqp = try configuration.amqp("gaia enqueue")
        // Fails at once, with a reason, where the links would go on trying.
        try await FleetBroker.awaitReady(
            amqp, FleetBroker.topology(subsystems: Catalogue.subsystems), limit: min(timeout, configuration.startWait),
            logger: configuration.logger)
        return EnqueueSession(
            replies: ReplyQueue(amqp, logger: logger),
            producer: JobProducer(amqp, publishTimeout: timeout, logger: logger),
            requests: AMQPPublisher(configuration: amqp, publishTimeout: timeout, logger: logger), timeout: timeout)
    }

    func use<Value: Sendable>(_ body: (EnqueueSession) async throws -> Value) async throws -> Value {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await producer.run() }
            group.addTask { try await requests.run() }
            group.addTask { try await replies.consumer.run() }
            group.addTask {
                for await batch in replies.consumer.deliveries {
                    for delivery in batch { answers.arrived(delivery) }
                    replies.consumer.acknowledge(batch.map(\.tag))
                }
            }
            let result: Result<Value, any Error>
            do {
                // The reply queue must exist before anything can be sent to it.
                try await awaitReplies()
                result = .success(try await body(self))
            } catch {
                result = .failure(error)
            }
            await replies.consumer.close()
            await producer.close()
            await requests.close()
            try await group.waitForAll()
            return try result.get()
        }
    }

    private func awaitReplies() async throws {
        let deadline = ContinuousClock.now + timeout
        while replies.consumer.currentGeneration == 0 {
            guard ContinuousClock.now < deadline else {
                throw CommandFailure(.unavailable, "no reply queue could be opened within \(timeout)")
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    func enqueue(_ documents: [JobDocument]) async throws -> [EnqueueReport] {
        for document in documents where document.job.replyTo == replies.name {
            answers.expect(document.job.correlationID ?? document.job.key)
        }
        var reports = [EnqueueReport?](repeating: nil, count: documents.count)
        let now = documents.indices.filter { documents[$0].isForNow }
        for (index, outcome) in zip(now, await producer.enqueue(now.map { documents[$0].job })) {
            switch outcome {
            case .queued: reports[index] = EnqueueReport(status: "queued", message: nil)
            case .failed(let reason): reports[index] = EnqueueReport(status: "failed", message: reason)
            case .unknown(let reason):
                reports[index] = EnqueueReport(
                    status: "unknown", message: "it may be enqueued; run the command again: \(reason)")
            }
        }
        let later = documents.indices.filter { !documents[$0].isForNow }
        if !later.isEmpty {
            for (index, report) in zip(later, try await request(later.map { documents[$0] })) {
                reports[index] = report
            }
        }
        return reports.compactMap { $0 }
    }

    /// Asks the dispatcher to enqueue them.
    func request(_ documents: [JobDocument]) async throws -> [EnqueueReport] {
        var properties = AMQPProperties()
        properties.contentType = "application/json"
        let id = UUID().uuidString.lowercased()
        properties.messageID = id
        properties.correlationID = properties.messageID
        properties.replyTo = replies.name
        properties.appID = "gaia enqueue"
        let body = "{\"jobs\":[" + documents.map(\.line).joined(separator: ",") + "]}"
        let message = AMQPMessage(
            exchange: FleetBroker.enqueueExchange, routingKey: "", mandatory: true, properties: properties,
            body: Array(body.utf8))
        answers.expect(id)
        let outcome = await requests.publish([message])[0]
        guard outcome == .confirmed else {
            throw CommandFailure(.unavailable, "the request did not reach the dispatcher's queue: \(outcome)")
        }
        struct Answer: Decodable { let jobs: [EnqueueReport] }
        let answer = try await awaitAnswer(
            id, "no dispatcher answered; the request stays queued and is served once one runs")
        return try JSONDecoder().decode(Answer.self, from: Data(answer.body)).jobs
    }

    func result(of key: String) async throws -> ArrivedResult {
        let delivery = try await awaitAnswer(
            key, "no result within \(timeout); the job goes on, look later: gaia job show \(key)")
        struct Event: Decodable {
            struct Content: Decodable {
                let outcome: String
                let message: String?
                let output: JSONValue?
                let error: JSONValue?
            }
            let data: Content
        }
        let event = try JSONDecoder().decode(Event.self, from: Data(delivery.body))
        let detail = try event.data.output?.line ?? event.data.error?.line ?? event.data.message ?? ""
        return ArrivedResult(
            outcome: event.data.outcome, detail: detail, text: String(decoding: delivery.body, as: UTF8.self))
    }

    private func awaitAnswer(_ id: String, _ otherwise: String) async throws -> AMQPDelivery {
        guard let delivery = await answers.answer(id, within: timeout) else {
            throw CommandFailure(.unavailable, otherwise)
        }
        return delivery
    }
}

extension JobDocument {
    /// The job as a line of a file.
    var line: String {
        var text = JSONText()
        text.beginObject()
        text.member("type", job.type.name)
        text.member("key", job.key)
        text.member("payload", json: payload)
        if let delay { text.member("delay_ms", delay.milliseconds) }
        if let cron {
            text.beginObject("cron")
            text.member("every", cron.expression.description)
            text.member("zone", cron.zone)
            text.member("catch_up", cron.catchUp.rawValue)
            text.endObject()
        }
        if let deadline = job.deadline { text.member("deadline_ms", deadline.milliseconds) }
        if let attemptsMax = job.attemptsMax { text.member("max_attempts", attemptsMax) }
        if let replyTo = job.replyTo { text.member("reply_to", replyTo) }
        if let correlationID = job.correlationID { text.member("correlation_id", correlationID) }
        if let subject = job.subject { text.member("subject", subject) }
        if let backoff = job.backoff { text.member("backoff", backoff.description) }
        if job.isUrgent { text.member("urgent", json: "true") }
        text.endObject()
        return text.text
    }
}
