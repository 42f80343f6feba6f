import AMQPClient
import FleetModel

extension FleetBroker {
    /// Every exchange, queue and binding of the fleet, for these subsystems. Declaring it again changes nothing.
    public static func topology(subsystems: some Sequence<String>) -> AMQPTopology {
        var topology = AMQPTopology()
        topology.exchanges = [
            AMQPExchange(
                name: jobsExchange, kind: "topic", arguments: ["alternate-exchange": .string(unroutableExchange)]),
            AMQPExchange(name: resultsExchange, kind: "topic"),
            AMQPExchange(name: eventsExchange, kind: "topic"),
            AMQPExchange(name: controlExchange, kind: "topic"),
            AMQPExchange(name: enqueueExchange, kind: "fanout"),
            AMQPExchange(name: deadExchange, kind: "fanout"),
            AMQPExchange(name: unroutableExchange, kind: "fanout"),
        ]
        topology.queues = [
            AMQPQueue(name: deadQueue, arguments: quorumForKeeping),
            AMQPQueue(name: unroutableQueue, arguments: quorumForKeeping),
            AMQPQueue(name: enqueueQueue, arguments: quorumWithDeadLetters),
        ]
        topology.bindings = [
            AMQPBinding(queue: enqueueQueue, exchange: enqueueExchange, routingKey: ""),
            AMQPBinding(queue: deadQueue, exchange: deadExchange, routingKey: ""),
            AMQPBinding(queue: unroutableQueue, exchange: unroutableExchange, routingKey: ""),
        ]
        for subsystem in Set(subsystems).sorted() {
            for (queue, prefix) in [(jobsQueue(subsystem), ""), (urgentQueue(subsystem), urgentPrefix)] {
                topology.queues.append(AMQPQueue(name: queue, arguments: quorumWithDeadLetters))
                topology.bindings.append(
                    AMQPBinding(queue: queue, exchange: jobsExchange, routingKey: "\(prefix)\(subsystem).#"))
            }
        }
        return topology
    }

    private static let quorum: [String: AMQPValue] = ["x-queue-type": .string("quorum")]

    /// What was set aside may be looked at and put back as often as anyone likes: past the limit, which from RabbitMQ 4.0
    /// is 20 unless it is given, it would be dropped.
    private static let quorumForKeeping: [String: AMQPValue] = quorum.merging([
        "x-delivery-limit": .int(keepingDeliveryLimit)
    ]) { $1 }

    /// At-least-once dead-lettering needs all of these together.
    private static let quorumWithDeadLetters: [String: AMQPValue] = quorum.merging([
        "x-delivery-limit": .int(deliveryLimit),
        "x-dead-letter-exchange": .string(deadExchange),
        "x-dead-letter-strategy": .string("at-least-once"),
        "x-overflow": .string("reject-publish"),
    ]) { $1 }
}
