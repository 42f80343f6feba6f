/// A value in a header or argument table. Whole numbers of any width arrive as ``int(_:)``, floats and decimals as
/// ``double(_:)``, and long strings that are not UTF-8 as ``bytes(_:)``.
public enum AMQPValue: Sendable, Hashable {
    case null
    case bool(Bool)
    case int(Int64)
    case double(Double)
    case string(String)
    case bytes([UInt8])
    /// Seconds since 1970.
    case timestamp(UInt64)
    case array([AMQPValue])
    case table([String: AMQPValue])
}

/// The properties of a message, as AMQP 0-9-1 names them. Texts are at most 255 bytes long on the wire.
public struct AMQPProperties: Sendable, Hashable {
    public var contentType: String?
    public var contentEncoding: String?
    /// Delivery mode 2 when true, 1 when false. A message that came without a mode reads as false.
    public var persistent: Bool
    public var priority: UInt8?
    public var correlationID: String?
    public var replyTo: String?
    /// Time to live in milliseconds, in decimal digits.
    public var expiration: String?
    public var messageID: String?
    /// Seconds since 1970.
    public var timestamp: UInt64?
    public var type: String?
    /// The broker insists that it is the connection's own user.
    public var userID: String?
    public var appID: String?
    public var headers: [String: AMQPValue]

    public init(
        contentType: String? = nil, contentEncoding: String? = nil, persistent: Bool = true, priority: UInt8? = nil,
        correlationID: String? = nil, replyTo: String? = nil, expiration: String? = nil, messageID: String? = nil,
        timestamp: UInt64? = nil, type: String? = nil, userID: String? = nil, appID: String? = nil,
        headers: [String: AMQPValue] = [:]
    ) {
        self.contentType = contentType
        self.contentEncoding = contentEncoding
        self.persistent = persistent
        self.priority = priority
        self.correlationID = correlationID
        self.replyTo = replyTo
        self.expiration = expiration
        self.messageID = messageID
        self.timestamp = timestamp
        self.type = type
        self.userID = userID
        self.appID = appID
        self.headers = headers
    }
}

/// Names one delivery for settling. Only good on the object that delivered it, and only within its generation.
public struct AMQPDeliveryTag: Sendable, Hashable {
    /// Which connect of the consumer it came over, from 1.
    public var generation: UInt32
    public var channel: UInt16
    public var value: UInt64

    public init(generation: UInt32, channel: UInt16, value: UInt64) {
        self.generation = generation
        self.channel = channel
        self.value = value
    }
}

/// What was wrong with a delivery that is handed over all the same, so that somebody can set it aside.
public struct AMQPDeliveryFlaws: OptionSet, Sendable, Hashable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// The body is larger than `maxBodyBytes` and was left out; `bodyBytes` tells its size.
    public static let oversize = AMQPDeliveryFlaws(rawValue: 1)
    /// Headers nested deeper than 8 levels were dropped.
    public static let headersTooDeep = AMQPDeliveryFlaws(rawValue: 2)
    /// A property or header name was not UTF-8; what was bad in it is now U+FFFD.
    public static let invalidUTF8 = AMQPDeliveryFlaws(rawValue: 4)
}

/// One arrival from the broker, to be settled exactly once.
public struct AMQPDelivery: Sendable {
    public var tag: AMQPDeliveryTag
    /// The queue it was consumed or got from.
    public var queue: String
    public var exchange: String
    public var routingKey: String
    /// Whether the broker has, or may have, delivered it before.
    public var redelivered: Bool
    public var properties: AMQPProperties
    public var body: [UInt8]
    /// Size of the body as published, also when it was left out.
    public var bodyBytes: UInt64
    public var flaws: AMQPDeliveryFlaws

    public init(
        tag: AMQPDeliveryTag, queue: String, exchange: String, routingKey: String, redelivered: Bool,
        properties: AMQPProperties, body: [UInt8], bodyBytes: UInt64, flaws: AMQPDeliveryFlaws = []
    ) {
        self.tag = tag
        self.queue = queue
        self.exchange = exchange
        self.routingKey = routingKey
        self.redelivered = redelivered
        self.properties = properties
        self.body = body
        self.bodyBytes = bodyBytes
        self.flaws = flaws
    }
}

/// A message to publish.
public struct AMQPMessage: Sendable, Hashable {
    /// Empty for the default exchange, where the routing key is a queue's name.
    public var exchange: String
    public var routingKey: String
    /// Whether the broker must say when no queue takes it; the outcome then is ``AMQPPublishOutcome/returned(code:reason:)``.
    public var mandatory: Bool
    public var properties: AMQPProperties
    public var body: [UInt8]

    public init(
        exchange: String, routingKey: String, mandatory: Bool = false, properties: AMQPProperties = AMQPProperties(),
        body: [UInt8]
    ) {
        self.exchange = exchange
        self.routingKey = routingKey
        self.mandatory = mandatory
        self.properties = properties
        self.body = body
    }
}

/// What became of one published message.
public enum AMQPPublishOutcome: Sendable, Equatable {
    /// The broker has taken responsibility for it.
    case confirmed
    /// It was mandatory and no queue takes it (code 312).
    case returned(code: Int, reason: String)
    /// The broker would not take it, for example because a queue is full and rejects: try again later.
    case refused
    /// It was sent, and the answer is lost: it may have arrived. Publish again under the same identity.
    case unknown(reason: String)
    /// It certainly has not arrived.
    case notSent(reason: String)
}

/// Messages by their outcome.
public struct AMQPPublishCounts: Sendable, Equatable {
    public var confirmed = 0
    public var returned = 0
    public var refused = 0
    public var unknown = 0
    public var notSent = 0

    mutating func count(_ outcome: AMQPPublishOutcome) {
        switch outcome {
        case .confirmed: confirmed += 1
        case .returned: returned += 1
        case .refused: refused += 1
        case .unknown: unknown += 1
        case .notSent: notSent += 1
        }
    }
}

/// What happens to a link. Told on the link's own IO thread: return at once.
public enum AMQPLinkEvent: Sendable {
    case connected(generation: UInt32, endpoint: AMQPEndpoint)
    case disconnected(AMQPError)
    case retrying(after: Duration, AMQPError)
    /// The queue was deleted or its leader lost; the consumer declares the topology and subscribes again with backoff.
    case consumerCancelled(queue: String)
    /// When the link came up, a queue to consume from held no message and had no consumer: it may be new, and what was in
    /// one of its name before be lost.
    case queueFoundIdle(queue: String)
    /// An alarm (memory, disk) stops the broker from reading this connection.
    case blocked(reason: String)
    case unblocked
    /// Messages were refused for a while, so the publishing channel was opened anew.
    case channelRenewed
}

/// A queue to consume from.
public struct AMQPSubscription: Sendable, Hashable {
    public var queue: String
    /// How many deliveries may be unsettled at a time, at least 1; it bounds the consumer's memory.
    public var prefetch: UInt16
    /// nil lets the broker choose.
    public var consumerTag: String?
    public var exclusive: Bool
    public var arguments: [String: AMQPValue]

    public init(
        queue: String, prefetch: UInt16, consumerTag: String? = nil, exclusive: Bool = false,
        arguments: [String: AMQPValue] = [:]
    ) {
        self.queue = queue
        // Zero means "no limit" to the broker, which would leave nothing to bound the buffer.
        self.prefetch = max(prefetch, 1)
        self.consumerTag = consumerTag
        self.exclusive = exclusive
        self.arguments = arguments
    }
}
