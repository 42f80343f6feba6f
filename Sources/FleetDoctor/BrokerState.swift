import AMQPClient

/// The broker at one moment. What only the management plugin tells is nil without it.
struct BrokerState: Sendable {
    /// Where clients go.
    var endpoints: [AMQPEndpoint]
    var virtualHost: String
    /// By name. Those of the fleet's that are there; with the management plugin all.
    var exchanges: [String: Exchange] = [:]
    var queues: [String: Queue] = [:]
    var bindings: Set<Binding>?
    var consumers: [Consumer]?
    /// Who may do something in this virtual host. Nil unless an administrator asks.
    var users: [User]?
    /// Whether `guest` is let in with the password `guest`.
    var acceptsGuest: Bool?
    var server: Server?
    var management: ManagementAddress?

    struct Exchange: Sendable {
        var traits: Traits?

        struct Traits: Sendable {
            var kind: String
            var isDurable: Bool
            var alternate: String?
        }
    }

    struct Queue: Sendable {
        var messages: Int
        var consumers: Int
        var traits: QueueTraits?
    }

    struct Binding: Sendable, Hashable {
        var exchange: String
        var queue: String
        var routingKey: String
    }

    struct Consumer: Sendable {
        var queue: String
        var user: String
    }

    struct User: Sendable {
        var name: String
        var tags: [String]
        /// Patterns of names in this virtual host.
        var configure: String
        var write: String
        var read: String
    }

    struct Server: Sendable {
        var version: String
        var nodes: [Node]
        /// Stable feature flags that are disabled. Nil when they could not be seen.
        var disabledFlags: [String]?
        /// How far its clock is ahead of this machine's; nil when it told no time.
        var clockAhead: Duration?
        /// Nil when it could not be seen: RabbitMQ tells it to nobody who asks from afar.
        var consumerTimeout: ConsumerTimeout?
    }

    struct Node: Sendable {
        var name: String
        var isRunning = true
        var hasMemoryAlarm = false
        var hasDiskAlarm = false
        var memoryUsed: Double?
        var memoryLimit: Double?
        var diskFree: Double?
        var diskFreeLimit: Double?
        /// Nodes that it has lost sight of.
        var partitions: [String] = []
    }
}

/// When the broker takes a delivery back that was not settled.
enum ConsumerTimeout: Sendable, Equatable {
    case after(Duration)
    case never

    /// What counts in every RabbitMQ since 3.8.17 unless it is told otherwise.
    static let byDefault = ConsumerTimeout.after(.seconds(1_800))
}

/// What the management plugin tells of a queue.
struct QueueTraits: Sendable {
    /// `quorum`, `classic` or `stream`.
    var kind: String
    var arguments: [String: ManagementValue] = [:]
    /// What policies say of it.
    var policy: [String: ManagementValue] = [:]
    /// The nodes that keep it. Nil until the broker has counted them.
    var members: [String]?

    /// What holds of a property: the queue's own argument goes before a policy.
    ///
    /// - Parameter name: as in policies, without `x-`.
    func value(_ name: String) -> ManagementValue? { arguments["x-\(name)"] ?? policy[name] }

    /// Of a limit the lower counts, whoever set it.
    func least(_ name: String) -> Double? {
        [arguments["x-\(name)"], policy[name]].compactMap { $0?.number }.min()
    }
}

extension BrokerState {
    /// What the management plugin saw, beside what was seen already: counts of messages and consumers stay those of AMQP,
    /// since the plugin's are some seconds old.
    /// What the management plugin tells when AMQP does not answer: all but the messages.
    mutating func addAlone(_ seen: ManagementView) {
        for name in seen.exchanges.keys { exchanges[name] = Exchange() }
        for name in seen.queues.keys {
            queues[name] = Queue(messages: 0, consumers: seen.consumers.count { $0.queue == name })
        }
        add(seen)
    }

    mutating func add(_ seen: ManagementView) {
        for (name, traits) in seen.exchanges { exchanges[name, default: Exchange()].traits = traits }
        // One that appeared in between counts as missing still, as all of it was seen at one moment.
        for (name, traits) in seen.queues { queues[name]?.traits = traits }
        bindings = seen.bindings
        consumers = seen.consumers
        users = seen.users
        acceptsGuest = seen.acceptsGuest
        server = seen.server
        management = seen.address
    }
}
