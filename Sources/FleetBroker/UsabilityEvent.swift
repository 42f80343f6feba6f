import AMQPClient
import FleetModel

/// What a job meant for the person it was done for, for `gaia.events`: for whoever shows it to them, or looks for where the
/// fleet lets people wait. There is one only where the producer said who that is.
public struct UsabilityEvent: Sendable {
    public enum Kind: String, Sendable, CaseIterable {
        /// It succeeded.
        case done
        /// An attempt failed, and another will be made: it takes longer than it should.
        case retried
        /// It was given up, or an operator must look at it.
        case failed
        /// It has ended, one way or the other, later than people like to wait.
        case slow

        /// What a settlement means.
        ///
        /// - Parameter slow: whether it took too long; told once, when the job has ended.
        public static func kinds(of settlement: Settlement, slow: Bool) -> [Kind] {
            switch settlement {
            case .succeed: slow ? [.done, .slow] : [.done]
            case .discard, .doubt: slow ? [.failed, .slow] : [.failed]
            case .retry: [.retried]
            // Called off: they wanted it so. Snoozed: nothing has gone wrong. Handed back: it goes on elsewhere.
            case .cancel, .snooze, .handBack: []
            }
        }
    }

    let kind: Kind
    let job: Job
    let subject: String
    let attempt: Int
    let took: Duration?

    /// - Parameter took: from the job's first claim, or the time for which it was scheduled, until now; nil when it ended
    ///   without being run.
    public init(_ kind: Kind, job: Job, subject: String, attempt: Int, took: Duration? = nil) {
        self.kind = kind
        self.job = job
        self.subject = subject
        self.attempt = attempt
        self.took = took
    }

    /// - Parameter token: of the claim that it is about; makes the event's id, so that a repeat has the same.
    public func message(token: Int64) -> AMQPMessage {
        var json = JSONText()
        json.beginObject()
        json.member("specversion", "1.0")
        json.member("id", "\(job.identity)/usability.\(kind.rawValue)/\(token)")
        json.member("source", "/gaia/\(job.type.subsystem)")
        json.member("type", "gaia.usability.\(kind.rawValue)")
        json.member("subject", subject)
        json.member("datacontenttype", "application/json")
        json.beginObject("data")
        json.member("for", subject)
        json.member("job", job.type.name)
        json.member("key", job.key)
        json.member("attempt", attempt)
        if let took { json.member("took_ms", took.milliseconds) }
        json.endObject()
        json.endObject()
        var properties = AMQPProperties()
        properties.contentType = cloudEvent
        properties.correlationID = job.correlationID ?? job.key
        properties.type = "gaia.usability.\(kind.rawValue)"
        properties.appID = "gaia"
        return AMQPMessage(
            exchange: FleetBroker.eventsExchange, routingKey: "usability.\(kind.rawValue)", properties: properties,
            body: json.bytes)
    }
}
