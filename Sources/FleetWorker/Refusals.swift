import AMQPClient

/// Where the broker has refused messages of late, and since when: an election of a queue's leader takes seconds and is
/// waited for; a queue that has been full for longer must not hold up the jobs of others.
package struct Refusals {
    /// How long a destination may refuse before what is only a courtesy is given up there after one try. RabbitMQ 3.10 was
    /// seen to refuse for five seconds after the loss of a node.
    package static let patience: Duration = .seconds(30)
    /// Destinations that are kept in mind.
    static let countMax = 10_000

    private var since: [String: ContinuousClock.Instant] = [:]

    package init() {}

    /// Whether no destination refuses.
    var isEmpty: Bool { since.isEmpty }

    package mutating func note(_ outcome: AMQPPublishOutcome, of message: AMQPMessage, at now: ContinuousClock.Instant)
    {
        switch outcome {
        case .confirmed: if !since.isEmpty { since[Self.destination(message)] = nil }
        case .returned, .refused:
            let destination = Self.destination(message)
            if since[destination] != nil { return }
            // The newest is as good a guess as any of what need not be remembered.
            if since.count == Self.countMax, let latest = since.max(by: { $0.value < $1.value }) {
                since[latest.key] = nil
            }
            since[destination] = now
        // A lost link says nothing of where it was to go.
        case .unknown, .notSent: break
        }
    }

    /// Whether a refused message to the same place need not be tried again.
    package func isHopeless(_ message: AMQPMessage, at now: ContinuousClock.Instant) -> Bool {
        since[Self.destination(message)].map { now - $0 >= Self.patience } ?? false
    }

    /// A queue, when it was named; an exchange, whose queues nobody here knows.
    private static func destination(_ message: AMQPMessage) -> String {
        message.exchange.isEmpty ? message.routingKey : "\(message.exchange)/"
    }
}
