import AMQPClient
import Foundation
import Logging

/// A queue of our own for answers, which goes with the connection.
struct ReplyQueue: Sendable {
    let name: String
    let consumer: AMQPConsumer

    /// - Parameter bindings: what else the queue shall get, as (exchange, routing key).
    init(
        _ configuration: AMQPConfiguration, bindings: [(exchange: String, routingKey: String)] = [],
        prefetch: UInt16 = 500, logger: Logger
    ) {
        let name = "gaia.reply.\(UUID().uuidString.lowercased())"
        self.name = name
        var topology = AMQPTopology()
        topology.queues = [AMQPQueue(name: name, durable: false, exclusive: true, autoDelete: true)]
        topology.bindings = bindings.map {
            AMQPBinding(queue: name, exchange: $0.exchange, routingKey: $0.routingKey)
        }
        consumer = AMQPConsumer(
            configuration: configuration, subscriptions: [AMQPSubscription(queue: name, prefetch: prefetch)],
            topology: topology, logger: logger)
    }
}
