import AMQPClient
import FleetBroker

/// Whether exchanges, queues and bindings are there, and of the right kind. What hangs on something that is missing is not
/// told besides: one cause, one finding.
enum TopologyChecks {
    static func findings(_ deployment: Deployment) -> [Finding] {
        guard let broker = deployment.broker else { return [] }
        let topology = deployment.needs.topology
        return topology.exchanges.flatMap { exchange($0, broker) } + topology.queues.flatMap { queue($0, broker) }
            + topology.bindings.flatMap { binding($0, broker) }
    }

    static let apply = "gaia topology apply, as a user who may declare (gaia-admin), or import the definitions"

    private static func exchange(_ wanted: AMQPExchange, _ broker: BrokerState) -> [Finding] {
        let place = "exchange \(wanted.name)"
        guard let found = broker.exchanges[wanted.name] else {
            return [Finding(.exchangeMissing, place, "It is not there.", remedy: apply)]
        }
        guard let traits = found.traits else { return [] }
        guard traits.kind == wanted.kind, traits.isDurable == wanted.durable else {
            let kind = traits.isDurable ? traits.kind : "\(traits.kind) that ends with the broker"
            return [
                Finding(
                    .exchangeKind, place, "It is a \(kind) exchange, not a durable \(wanted.kind) exchange.",
                    remedy: "delete it, then \(apply)")
            ]
        }
        guard case .string(let alternate)? = wanted.arguments["alternate-exchange"], traits.alternate != alternate
        else {
            return []
        }
        return [
            Finding(
                .alternateExchangeMissing, place,
                traits.alternate.map { "Its alternate exchange is \($0), not \(alternate)." }
                    ?? "It has no alternate exchange.",
                remedy: "delete it, then \(apply); its bindings come back with it")
        ]
    }

    private static func queue(_ wanted: AMQPQueue, _ broker: BrokerState) -> [Finding] {
        let place = "queue \(wanted.name)"
        guard let found = broker.queues[wanted.name] else {
            return [Finding(.queueMissing, place, "It is not there.", remedy: apply)]
        }
        guard let kind = found.traits?.kind, kind != "quorum" else { return [] }
        return [
            Finding(
                .queueKind, place, "It is a \(kind) queue, not a quorum queue.",
                remedy: "let workers empty it, delete it, then \(apply)")
        ]
    }

    private static func binding(_ wanted: AMQPBinding, _ broker: BrokerState) -> [Finding] {
        guard let bindings = broker.bindings, case .queue(let queue) = wanted.destination,
            broker.queues[queue] != nil, broker.exchanges[wanted.exchange] != nil
        else { return [] }
        let found = bindings.contains { binding in
            guard binding.exchange == wanted.exchange, binding.queue == queue else { return false }
            // A fanout exchange looks at no key.
            return wanted.routingKey.isEmpty || binding.routingKey == wanted.routingKey
        }
        if found { return [] }
        let key = wanted.routingKey.isEmpty ? "" : " by \(wanted.routingKey)"
        return [
            Finding(
                .bindingMissing, "queue \(queue)", "It is not bound to \(wanted.exchange)\(key).", remedy: apply)
        ]
    }
}
