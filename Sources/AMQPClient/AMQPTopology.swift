/// Exchanges, queues and bindings to declare, in that order. Declaring what is there already is harmless.
public struct AMQPTopology: Sendable, Hashable {
    public var exchanges: [AMQPExchange]
    public var queues: [AMQPQueue]
    public var bindings: [AMQPBinding]

    public init(exchanges: [AMQPExchange] = [], queues: [AMQPQueue] = [], bindings: [AMQPBinding] = []) {
        self.exchanges = exchanges
        self.queues = queues
        self.bindings = bindings
    }

    var isEmpty: Bool { exchanges.isEmpty && queues.isEmpty && bindings.isEmpty }
}

public struct AMQPExchange: Sendable, Hashable {
    public var name: String
    /// `direct`, `fanout`, `topic`, `headers`, or one of a plugin.
    public var kind: String
    public var durable: Bool
    public var autoDelete: Bool
    public var arguments: [String: AMQPValue]

    public init(
        name: String, kind: String, durable: Bool = true, autoDelete: Bool = false, arguments: [String: AMQPValue] = [:]
    ) {
        self.name = name
        self.kind = kind
        self.durable = durable
        self.autoDelete = autoDelete
        self.arguments = arguments
    }
}

public struct AMQPQueue: Sendable, Hashable {
    public var name: String
    public var durable: Bool
    public var exclusive: Bool
    public var autoDelete: Bool
    /// For example `x-queue-type`: `quorum`.
    public var arguments: [String: AMQPValue]

    public init(
        name: String, durable: Bool = true, exclusive: Bool = false, autoDelete: Bool = false,
        arguments: [String: AMQPValue] = [:]
    ) {
        self.name = name
        self.durable = durable
        self.exclusive = exclusive
        self.autoDelete = autoDelete
        self.arguments = arguments
    }
}

public struct AMQPBinding: Sendable, Hashable {
    public enum Destination: Sendable, Hashable {
        case queue(String)
        case exchange(String)
    }

    public var destination: Destination
    /// The exchange that messages come from.
    public var exchange: String
    public var routingKey: String
    public var arguments: [String: AMQPValue]

    public init(
        destination: Destination, exchange: String, routingKey: String, arguments: [String: AMQPValue] = [:]
    ) {
        self.destination = destination
        self.exchange = exchange
        self.routingKey = routingKey
        self.arguments = arguments
    }

    public init(queue: String, exchange: String, routingKey: String, arguments: [String: AMQPValue] = [:]) {
        self.init(destination: .queue(queue), exchange: exchange, routingKey: routingKey, arguments: arguments)
    }
}

/// What a passive declare tells of a queue. Neither figure counts unsettled deliveries.
public struct AMQPQueueStatus: Sendable, Hashable {
    /// Messages ready to be delivered.
    public var messages: Int
    public var consumers: Int

    public init(messages: Int, consumers: Int) {
        self.messages = messages
        self.consumers = consumers
    }

    /// Nothing to deliver, and nobody to deliver it to.
    public var isIdle: Bool { messages == 0 && consumers == 0 }
}
