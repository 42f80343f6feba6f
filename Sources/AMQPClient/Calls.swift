/// A synchronous method with its encoded arguments, and the methods that may answer it.
package struct Call {
    package let method: UInt32
    package let replies: [UInt32]
    package let arguments: WireBuffer

    private init(_ method: UInt32, _ replies: UInt32...) {
        self.method = method
        self.replies = replies
        arguments = WireBuffer()
    }

    package static func openChannel() -> Call {
        let call = Call(MethodID.channelOpen, MethodID.channelOpenOk)
        call.arguments.append(UInt8(0))
        return call
    }

    package static func closeChannel() -> Call {
        let call = Call(MethodID.channelClose, MethodID.channelCloseOk)
        call.arguments.append(UInt16(ReplyCode.success))
        call.arguments.append(UInt8(0))
        call.arguments.append(UInt32(0))
        return call
    }

    package static func closeConnection() -> Call {
        let call = Call(MethodID.connectionClose, MethodID.connectionCloseOk)
        call.arguments.append(UInt16(ReplyCode.success))
        call.arguments.append(UInt8(0))
        call.arguments.append(UInt32(0))
        return call
    }

    package static func selectConfirms() -> Call {
        let call = Call(MethodID.confirmSelect, MethodID.confirmSelectOk)
        call.arguments.append(UInt8(0))
        return call
    }

    package static func limitPrefetch(_ messages: UInt16) -> Call {
        let call = Call(MethodID.basicQos, MethodID.basicQosOk)
        call.arguments.append(UInt32(0))
        call.arguments.append(messages)
        call.arguments.append(UInt8(0))
        return call
    }

    package static func consume(_ subscription: AMQPSubscription) throws(EncodingFailure) -> Call {
        let call = Call(MethodID.basicConsume, MethodID.basicConsumeOk)
        call.arguments.append(UInt16(0))
        try MethodEncoder.shortString(subscription.queue, "the queue's name", into: call.arguments)
        try MethodEncoder.shortString(subscription.consumerTag ?? "", "the consumer tag", into: call.arguments)
        call.arguments.append(UInt8(subscription.exclusive ? 0b100 : 0))
        try MethodEncoder.table(subscription.arguments, depth: 1, into: call.arguments)
        return call
    }

    package static func get(queue: String) throws(EncodingFailure) -> Call {
        let call = Call(MethodID.basicGet, MethodID.basicGetOk, MethodID.basicGetEmpty)
        call.arguments.append(UInt16(0))
        try MethodEncoder.shortString(queue, "the queue's name", into: call.arguments)
        call.arguments.append(UInt8(0))
        return call
    }

    package static func declare(_ exchange: AMQPExchange, passive: Bool = false) throws(EncodingFailure) -> Call {
        let call = Call(MethodID.exchangeDeclare, MethodID.exchangeDeclareOk)
        call.arguments.append(UInt16(0))
        try MethodEncoder.shortString(exchange.name, "the exchange's name", into: call.arguments)
        try MethodEncoder.shortString(exchange.kind, "the exchange's kind", into: call.arguments)
        let bits = (passive ? 1 : 0) | (exchange.durable ? 0b10 : 0) | (exchange.autoDelete ? 0b100 : 0)
        call.arguments.append(UInt8(bits))
        try MethodEncoder.table(exchange.arguments, depth: 1, into: call.arguments)
        return call
    }

    package static func declare(_ queue: AMQPQueue, passive: Bool = false) throws(EncodingFailure) -> Call {
        let call = Call(MethodID.queueDeclare, MethodID.queueDeclareOk)
        call.arguments.append(UInt16(0))
        try MethodEncoder.shortString(queue.name, "the queue's name", into: call.arguments)
        let bits =
            (passive ? 1 : 0) | (queue.durable ? 0b10 : 0) | (queue.exclusive ? 0b100 : 0)
            | (queue.autoDelete ? 0b1000 : 0)
        call.arguments.append(UInt8(bits))
        try MethodEncoder.table(queue.arguments, depth: 1, into: call.arguments)
        return call
    }

    package static func bind(_ binding: AMQPBinding) throws(EncodingFailure) -> Call {
        let call: Call
        let destination: String
        switch binding.destination {
        case .queue(let name):
            call = Call(MethodID.queueBind, MethodID.queueBindOk)
            destination = name
        case .exchange(let name):
            call = Call(MethodID.exchangeBind, MethodID.exchangeBindOk)
            destination = name
        }
        call.arguments.append(UInt16(0))
        try MethodEncoder.shortString(destination, "the binding's destination", into: call.arguments)
        try MethodEncoder.shortString(binding.exchange, "the exchange's name", into: call.arguments)
        try MethodEncoder.shortString(binding.routingKey, "the binding's routing key", into: call.arguments)
        call.arguments.append(UInt8(0))
        try MethodEncoder.table(binding.arguments, depth: 1, into: call.arguments)
        return call
    }

    package static func purge(queue: String) throws(EncodingFailure) -> Call {
        let call = Call(MethodID.queuePurge, MethodID.queuePurgeOk)
        call.arguments.append(UInt16(0))
        try MethodEncoder.shortString(queue, "the queue's name", into: call.arguments)
        call.arguments.append(UInt8(0))
        return call
    }

    package static func delete(queue: String) throws(EncodingFailure) -> Call {
        let call = Call(MethodID.queueDelete, MethodID.queueDeleteOk)
        call.arguments.append(UInt16(0))
        try MethodEncoder.shortString(queue, "the queue's name", into: call.arguments)
        call.arguments.append(UInt8(0))
        return call
    }

    package static func delete(exchange: String) throws(EncodingFailure) -> Call {
        let call = Call(MethodID.exchangeDelete, MethodID.exchangeDeleteOk)
        call.arguments.append(UInt16(0))
        try MethodEncoder.shortString(exchange, "the exchange's name", into: call.arguments)
        call.arguments.append(UInt8(0))
        return call
    }
}
