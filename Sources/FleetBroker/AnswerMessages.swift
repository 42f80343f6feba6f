import AMQPClient
import FleetModel

/// The content type of results and events.
let cloudEvent = "application/cloudevents+json"

extension JobResult {
    /// The result for everyone who listens: `gaia.results`, routing key `<type>.<outcome>`.
    public func message(correlationID: String?) -> AMQPMessage {
        AMQPMessage(
            exchange: FleetBroker.resultsExchange, routingKey: "\(type).\(state.rawValue)",
            properties: properties(correlationID), body: document)
    }

    /// The same result for one who asked.
    public func reply(to queue: String, correlationID: String?) -> AMQPMessage {
        AMQPMessage(exchange: "", routingKey: queue, properties: properties(correlationID), body: document)
    }

    private func properties(_ correlationID: String?) -> AMQPProperties {
        var properties = AMQPProperties()
        properties.contentType = cloudEvent
        properties.messageID = id
        properties.correlationID = correlationID ?? identity.key
        properties.type = "gaia.job.\(state.rawValue)"
        properties.appID = "gaia"
        return properties
    }
}

extension Rejection {
    /// The rejected message itself, for `gaia.dead`: as it came, with the reason in its headers. An expiration is taken
    /// off, or the broker would drop it.
    public func setAside(_ delivery: AMQPDelivery, worker: String) -> AMQPMessage {
        var properties = delivery.properties
        properties.expiration = nil
        // The broker checks user_id against whoever publishes, which is now us.
        properties.userID = nil
        properties.headers[JobHeader.reason] = .string(reason.rawValue)
        properties.headers[JobHeader.error] = .string(String(description.prefix(1_000)))
        properties.headers[JobHeader.queue] = .string(delivery.queue)
        properties.headers[JobHeader.worker] = .string(worker)
        return AMQPMessage(
            exchange: FleetBroker.deadExchange, routingKey: delivery.routingKey, mandatory: true,
            properties: properties, body: delivery.body)
    }

    /// The news of it: an event for operators and, when the producer named a queue for answers, one for it.
    public func notices(_ delivery: AMQPDelivery, worker: String) -> [AMQPMessage] {
        let key = delivery.properties.messageID ?? ""
        var json = JSONText()
        json.beginObject()
        json.member("specversion", "1.0")
        json.member("id", "\(delivery.queue)/\(key)/\(reason.rawValue)")
        json.member("source", "/gaia/\(worker)")
        json.member("type", "gaia.job.rejected")
        json.member("subject", key)
        json.member("datacontenttype", "application/json")
        json.beginObject("data")
        json.member("job", delivery.properties.type ?? delivery.routingKey)
        json.member("key", key)
        json.member("outcome", "rejected")
        json.member("reason", reason.rawValue)
        json.member("message", description)
        json.endObject()
        json.endObject()
        var properties = AMQPProperties()
        properties.contentType = cloudEvent
        properties.correlationID = delivery.properties.correlationID ?? delivery.properties.messageID
        properties.type = "gaia.job.rejected"
        properties.appID = "gaia"
        var notices = [
            AMQPMessage(
                exchange: FleetBroker.eventsExchange, routingKey: "job.rejected", properties: properties,
                body: json.bytes)
        ]
        if let queue = delivery.properties.replyTo, !queue.isEmpty, !delivery.flaws.contains(.invalidUTF8) {
            notices.append(AMQPMessage(exchange: "", routingKey: queue, properties: properties, body: json.bytes))
        }
        return notices
    }
}

/// Something that happened to a job, for `gaia.events`.
public struct JobEvent: Sendable {
    public enum Kind: String, Sendable {
        case retrying, snoozed, progress, discarded, cancelled, indeterminate

        /// The event that tells of this end; success is told by the result alone.
        public init?(ending state: JobState) {
            switch state {
            case .discarded: self = .discarded
            case .cancelled: self = .cancelled
            case .indeterminate: self = .indeterminate
            default: return nil
            }
        }
    }

    let kind: Kind
    let job: Job
    let attempt: Int
    let content: (name: StaticString, json: String)?
    let delay: Duration?

    /// - Parameter content: a further member of the event's data: its name and JSON text.
    public init(
        _ kind: Kind, job: Job, attempt: Int, content: (name: StaticString, json: String)? = nil, delay: Duration? = nil
    ) {
        self.kind = kind
        self.job = job
        self.attempt = attempt
        self.content = content
        self.delay = delay
    }

    /// - Parameter token: of the claim that it is about; makes the event's id, so that a repeat has the same.
    public func message(token: Int64) -> AMQPMessage {
        let id = "\(job.identity)/\(kind.rawValue)/\(token)"
        var json = JSONText()
        json.beginObject()
        json.member("specversion", "1.0")
        json.member("id", id)
        json.member("source", "/gaia/\(job.type.subsystem)")
        json.member("type", "gaia.job.\(kind.rawValue)")
        json.member("subject", job.key)
        json.member("datacontenttype", "application/json")
        json.beginObject("data")
        json.member("job", job.type.name)
        json.member("key", job.key)
        json.member("attempt", attempt)
        if let delay { json.member("retry_in_ms", delay.milliseconds) }
        if let subject = job.subject { json.member("for", subject) }
        if let content { json.member(content.name, json: content.json) }
        json.endObject()
        json.endObject()
        var properties = AMQPProperties()
        properties.contentType = cloudEvent
        properties.correlationID = job.correlationID ?? job.key
        properties.type = "gaia.job.\(kind.rawValue)"
        properties.appID = "gaia"
        return AMQPMessage(
            exchange: FleetBroker.eventsExchange, routingKey: "job.\(kind.rawValue)", properties: properties,
            body: json.bytes)
    }
}
