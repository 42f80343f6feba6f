import AMQPClient
import FleetModel

/// A message in `gaia.dead` or `gaia.unroutable`, and why it is there.
public struct SetAsideMessage: Sendable {
    public let delivery: AMQPDelivery
    /// In a word: one of `Rejection.Reason`, or what the broker says: `poison` (delivered too often), `rejected`,
    /// `expired`, `overflow` or `unroutable`.
    public let reason: String
    /// In a sentence.
    public let explanation: String
    /// The job type that it names, or its routing key.
    public let type: String
    /// The idempotency key that it names.
    public let key: String?
    /// The queue it was in.
    public let queue: String?
    /// Who set it aside; nil when the broker did.
    public let worker: String?

    public init(_ delivery: AMQPDelivery) {
        self.delivery = delivery
        let headers = delivery.properties.headers
        func text(_ name: String) -> String? {
            if case .string(let text)? = headers[name] { text } else { nil }
        }
        key = delivery.properties.messageID
        type =
            delivery.properties.type
            ?? (delivery.routingKey.hasPrefix(FleetBroker.urgentPrefix)
                ? String(delivery.routingKey.dropFirst(FleetBroker.urgentPrefix.count)) : delivery.routingKey)
        worker = text(JobHeader.worker)
        if let reason = text(JobHeader.reason) {
            self.reason = reason
            explanation = text(JobHeader.error) ?? ""
            queue = text(JobHeader.queue)
        } else if delivery.queue == FleetBroker.unroutableQueue {
            reason = "unroutable"
            explanation = "no queue takes jobs of this type; start a worker that has its handler, or correct the type"
            queue = nil
        } else {
            (reason, explanation, queue) = Self.death(headers)
        }
    }

    /// What RabbitMQ notes when it moves a message (Dead Letter Exchanges guide, "Effects on the message").
    private static func death(_ headers: [String: AMQPValue]) -> (String, String, String?) {
        guard case .array(let deaths)? = headers["x-death"], case .table(let last)? = deaths.first,
            case .string(let word)? = last["reason"]
        else { return ("unknown", "it has no header that says why", nil) }
        var queue: String?
        if case .string(let name)? = last["queue"] { queue = name }
        return switch word {
        case "delivery_limit":
            ("poison", "it was delivered \(FleetBroker.deliveryLimit) times and never settled", queue)
        case "rejected": ("rejected", "its body is too large to be taken into a worker's memory", queue)
        case "expired": ("expired", "its producer gave it a time to live, which was over before a worker had it", queue)
        case "maxlen": ("overflow", "its queue was full", queue)
        default: (word, "the broker moved it", queue)
        }
    }

    /// The message as its producer sent it, to be published again; nil when its body is not here, being too large.
    public var original: AMQPMessage? {
        if delivery.flaws.contains(.oversize) { return nil }
        var properties = delivery.properties
        properties.expiration = nil
        properties.userID = nil
        let ours: Set<String> = [
            JobHeader.reason, JobHeader.error, JobHeader.queue, JobHeader.worker, "x-death", "x-delivery-count",
        ]
        properties.headers = properties.headers.filter { name, _ in
            !ours.contains(name) && !name.hasPrefix("x-first-death-") && !name.hasPrefix("x-last-death-")
        }
        let isRequest = queue == FleetBroker.enqueueQueue
        return AMQPMessage(
            exchange: isRequest ? FleetBroker.enqueueExchange : FleetBroker.jobsExchange,
            routingKey: delivery.routingKey, mandatory: true, properties: properties, body: delivery.body)
    }

    /// The job that it would become; nil when it names none.
    public var identity: JobIdentity? {
        guard let key, Job.flaw(inKey: key) == nil else { return nil }
        do {
            return JobIdentity(subsystem: try JobType(validating: type).subsystem, key: key)
        } catch {
            return nil  // A type that is none belongs to no subsystem.
        }
    }
}
