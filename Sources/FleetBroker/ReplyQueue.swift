import AMQPClient
import FoundationEssentials
import Logging

/// A queue of our own for answers, which goes with the connection.
public struct ReplyQueue: Sendable {
    public let name: String
    public let consumer: AMQPConsumer

    /// - Parameters:
    ///   - prefix: what its name begins with; the user needs the right to declare such queues and to read them.
    ///   - bindings: what else the queue shall get, as (exchange, routing key).
    ///   - onEvent: told when the link comes and goes, on a thread that must not be held up.
    public init(
        _ configuration: AMQPConfiguration, prefix: String = FleetBroker.replyPrefix,
        bindings: [(exchange: String, routingKey: String)] = [], prefetch: UInt16 = 500, logger: Logger,
        onEvent: (@Sendable (AMQPLinkEvent) -> Void)? = nil
    ) {
        let name = prefix + UUID().uuidString.lowercased()
        self.name = name
        var topology = AMQPTopology()
        topology.queues = [AMQPQueue(name: name, durable: false, exclusive: true, autoDelete: true)]
        topology.bindings = bindings.map {
            AMQPBinding(queue: name, exchange: $0.exchange, routingKey: $0.routingKey)
        }
        consumer = AMQPConsumer(
            configuration: configuration, subscriptions: [AMQPSubscription(queue: name, prefetch: prefetch)],
            topology: topology, logger: logger, onEvent: onEvent)
    }
}
