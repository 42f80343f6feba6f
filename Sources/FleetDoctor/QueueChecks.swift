import AMQPClient
import FleetBroker

/// Whether queues keep what is in them: dead-lettering, delivery limits, length limits, members. Each property may be an
/// argument of the queue or come from a policy.
enum QueueChecks {
    static func findings(_ deployment: Deployment) -> [Finding] {
        guard let broker = deployment.broker else { return [] }
        return deployment.needs.topology.queues.flatMap { wanted -> [Finding] in
            // Of a classic queue its kind is told, and nothing of what it cannot have.
            guard let traits = broker.queues[wanted.name]?.traits, traits.kind == "quorum" else { return [] }
            let place = "queue \(wanted.name)"
            return deliveryLimit(wanted, traits, place) + deadLetters(wanted, traits, place)
                + length(wanted, traits, place)
                + members(traits, place, broker.server?.nodes ?? [])
        }
    }

    private static let anew = "let workers empty it, delete it, then \(TopologyChecks.apply)"

    private static func deliveryLimit(_ wanted: AMQPQueue, _ traits: QueueTraits, _ place: String) -> [Finding] {
        guard case .int(let limit)? = wanted.arguments["x-delivery-limit"] else { return [] }
        guard let found = traits.least("delivery-limit"), found >= 0 else {
            return [Finding(.deliveryLimitMissing, place, "It has no delivery limit.", remedy: anew)]
        }
        guard found < Double(limit) else { return [] }
        return [
            Finding(
                .deliveryLimitLow, place, "Its delivery limit is \(Int(found)), not \(limit).",
                remedy: "take the policy with delivery-limit away; if it is an argument, \(anew)")
        ]
    }

    private static func deadLetters(_ wanted: AMQPQueue, _ traits: QueueTraits, _ place: String) -> [Finding] {
        guard case .string(let exchange)? = wanted.arguments["x-dead-letter-exchange"] else { return [] }
        var findings: [Finding] = []
        let found = traits.value("dead-letter-exchange")?.text
        if found != exchange {
            findings.append(
                Finding(
                    .deadLetterExchange, place,
                    found.map { "It dead-letters to \($0), not to \(exchange)." } ?? "It has no dead-letter exchange.",
                    remedy: anew))
        } else if traits.value("dead-letter-strategy")?.text != "at-least-once" {
            findings.append(
                Finding(.deadLetterStrategy, place, "It dead-letters at most once, not at least once.", remedy: anew))
        }
        if traits.value("overflow")?.text != "reject-publish" {
            findings.append(
                Finding(
                    .overflowDrops, place,
                    "Its overflow is \(traits.value("overflow")?.text ?? "drop-head"), not reject-publish.",
                    remedy: anew))
        }
        return findings
    }

    /// Any limit will do: how long a queue may be is the operator's choice.
    private static func length(_ wanted: AMQPQueue, _ traits: QueueTraits, _ place: String) -> [Finding] {
        guard traits.least("max-length") == nil, traits.least("max-length-bytes") == nil else { return [] }
        let isIntake = ![FleetBroker.deadQueue, FleetBroker.unroutableQueue].contains(wanted.name)
        return [
            Finding(
                .queueUnlimited, place,
                "It has no length limit; the policy \(isIntake ? "gaia-intake" : "gaia-set-aside") would give it one.",
                remedy: "rabbitmqctl import_definitions configs/rabbitmq/definitions.json, or rabbitmqctl set_policy")
        ]
    }

    /// How many members quorum queues get where there are nodes enough.
    private static let membersMax = 5

    private static func members(_ traits: QueueTraits, _ place: String, _ nodes: [BrokerState.Node]) -> [Finding] {
        guard let members = traits.members else { return [] }
        let wanted = min(nodes.count, membersMax)
        guard members.count < wanted else { return [] }
        let grow = "rabbitmq-queues grow NODE all, for each node that has none"
        if members.count == 1 {
            return [
                Finding(
                    .queueSingleMember, place, "Of \(nodes.count) nodes only \(members[0]) keeps it.", remedy: grow)
            ]
        }
        return [
            Finding(
                .queueMembersFew, place, "\(members.count) of \(nodes.count) nodes keep it; it could be \(wanted).",
                remedy: grow)
        ]
    }
}
