import AMQPClient

/// A message as a consumer would get it.
public func delivery(
    _ message: AMQPMessage, queue: String = "gaia.jobs.api", generation: UInt32 = 1, number: UInt64 = 1,
    redelivered: Bool = false, flaws: AMQPDeliveryFlaws = []
) -> AMQPDelivery {
    AMQPDelivery(
        tag: AMQPDeliveryTag(generation: generation, channel: 1, value: number), queue: queue,
        exchange: message.exchange, routingKey: message.routingKey, redelivered: redelivered,
        properties: message.properties, body: message.body, bodyBytes: UInt64(message.body.count), flaws: flaws)
}
