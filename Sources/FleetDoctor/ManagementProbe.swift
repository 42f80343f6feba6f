import Foundation

/// What the management plugin shows of one virtual host and of the whole broker.
struct ManagementView: Sendable {
    var address: ManagementAddress
    var exchanges: [String: BrokerState.Exchange.Traits]
    var queues: [String: QueueTraits]
    var bindings: Set<BrokerState.Binding>
    var consumers: [BrokerState.Consumer]
    var users: [BrokerState.User]?
    var acceptsGuest: Bool
    var server: BrokerState.Server
}

/// Looks at the broker with the management plugin.
struct ManagementProbe: Sendable {
    private let address: ManagementAddress
    private let host: String

    init(_ address: ManagementAddress, virtualHost: String) {
        self.address = address
        host = ManagementClient.escaped(virtualHost)
    }

    /// - Parameter unseen: gets what this user may not see.
    func look(_ unseen: inout [String]) async throws -> ManagementView {
        var notes: [String] = []
        let view = try await ManagementClient.with(address) { client in
            let server = try await lookAtServer(client, &notes)
            let exchanges: [ManagementDocument.Exchange] = try await client.get("exchanges/\(host)").content
            let queues: [ManagementDocument.Queue] = try await client.get(
                "queues/\(host)?columns=name,type,arguments,effective_policy_definition,members"
            ).content
            return ManagementView(
                address: address,
                exchanges: Dictionary(
                    exchanges.map {
                        (
                            $0.name,
                            BrokerState.Exchange.Traits(
                                kind: $0.type, isDurable: $0.durable,
                                alternate: $0.arguments.values["alternate-exchange"]?.text)
                        )
                    }, uniquingKeysWith: { $1 }),
                queues: Dictionary(
                    queues.map {
                        (
                            $0.name,
                            QueueTraits(
                                kind: $0.type ?? "classic", arguments: $0.arguments.values,
                                policy: $0.policy?.values ?? [:],
                                members: $0.members)
                        )
                    }, uniquingKeysWith: { $1 }),
                bindings: try await lookAtBindings(client), consumers: try await lookAtConsumers(client),
                users: try await lookAtUsers(client, &notes),
                acceptsGuest: try await client.accepts(user: "guest", password: "guest"), server: server)
        }
        unseen += notes
        return view
    }

    // MARK: The virtual host

    private func lookAtBindings(_ client: ManagementClient) async throws -> Set<BrokerState.Binding> {
        let bindings: [ManagementDocument.Binding] = try await client.get("bindings/\(host)").content
        return Set(
            bindings.filter { $0.destinationType == "queue" }.map {
                BrokerState.Binding(exchange: $0.source, queue: $0.destination, routingKey: $0.routingKey)
            })
    }

    private func lookAtConsumers(_ client: ManagementClient) async throws -> [BrokerState.Consumer] {
        let consumers: [ManagementDocument.Consumer] = try await client.get("consumers/\(host)").content
        return consumers.compactMap { consumer in
            consumer.channel.values["user"]?.text.map { BrokerState.Consumer(queue: consumer.queue.name, user: $0) }
        }
    }

    /// Nil when the one who asks is no administrator.
    private func lookAtUsers(
        _ client: ManagementClient, _ unseen: inout [String]
    ) async throws -> [BrokerState.User]? {
        do {
            let users: [ManagementDocument.User] = try await client.get("users").content
            let permissions: [ManagementDocument.Permission] = try await client.get("vhosts/\(host)/permissions")
                .content
            let tags = Dictionary(users.map { ($0.name, $0.tags.words) }, uniquingKeysWith: { $1 })
            return permissions.map {
                BrokerState.User(
                    name: $0.user, tags: tags[$0.user] ?? [], configure: $0.configure, write: $0.write, read: $0.read)
            }
        } catch ManagementError.denied(let user) {
            unseen.append("users and their rights: \(user) would need the tag administrator")
            return nil
        }
    }

    // MARK: The server

    private func lookAtServer(
        _ client: ManagementClient, _ unseen: inout [String]
    ) async throws -> BrokerState.Server {
        let overview: ManagementClient.Answer<ManagementDocument.Overview> = try await client.get("overview")
        let nodes: [ManagementDocument.Node] = try await client.get("nodes").content
        var flags: [ManagementDocument.FeatureFlag]?
        do { flags = try await client.get("feature-flags").content } catch ManagementError.denied(let user) {
            unseen.append("feature flags: \(user) would need the tag administrator")
        }
        let timeout = readConsumerTimeout(nodes)
        if timeout == nil {
            unseen.append(
                "the broker's consumer_timeout, which it tells nobody from afar: on a node, "
                    + "rabbitmqctl eval 'application:get_env(rabbit, consumer_timeout).'")
        }
        return BrokerState.Server(
            version: overview.content.version, nodes: nodes.map(BrokerState.Node.init),
            disabledFlags: flags?.filter { $0.stability != "experimental" && $0.state == "disabled" }.map(\.name),
            clockAhead: overview.date.map {
                ClockReading(shown: $0...$0.addingTimeInterval(1), asked: overview.asked, answered: overview.answered)
                    .ahead
            },
            consumerTimeout: timeout)
    }

    /// From the nodes' own files, where they are on this machine and may be read.
    private func readConsumerTimeout(_ nodes: [ManagementDocument.Node]) -> ConsumerTimeout? {
        guard isLoopback(address.host) else { return nil }
        var found: [ConsumerTimeout] = []
        for node in nodes where node.running != false {
            guard let timeout = ConsumerTimeout(readingFrom: node.configurationFiles ?? []) else { return nil }
            found.append(timeout)
        }
        return found.min()
    }
}

extension BrokerState.Node {
    init(_ document: ManagementDocument.Node) {
        self.init(
            name: document.name, isRunning: document.running ?? true, hasMemoryAlarm: document.memoryAlarm ?? false,
            hasDiskAlarm: document.diskAlarm ?? false, memoryUsed: document.memoryUsed?.value,
            memoryLimit: document.memoryLimit?.value, diskFree: document.diskFree?.value,
            diskFreeLimit: document.diskFreeLimit?.value, partitions: document.partitions ?? [])
    }
}
