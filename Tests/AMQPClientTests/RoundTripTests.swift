import AMQPClient
import FleetModel
import TestPatience
import Testing

/// What goes through a real broker comes out as it went in.
@Suite(.timeLimit(.minutes(2))) struct RoundTripTests {
    @Test func `every property and a binary body come back as they were sent`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let sent = AMQPMessage(
                exchange: "", routingKey: "q",
                properties: AMQPProperties(
                    contentType: "application/json", contentEncoding: "identity", persistent: true, priority: 9,
                    correlationID: "correlation ü", replyTo: "answers", expiration: "60000", messageID: "id-1",
                    timestamp: 1_700_000_000, type: "api.request.v1", userID: configuration.user, appID: "tests",
                    headers: [
                        "null": .null, "yes": .bool(true), "int": .int(-5), "big": .int(.max), "double": .double(1.5),
                        "text": .string("täxt"), "bytes": .bytes([0xFF, 0]), "time": .timestamp(123),
                        "array": .array([.int(1), .string("two"), .array([])]),
                        "table": .table(["inner": .table(["deep": .bool(false)])]),
                    ]), body: (0...255).map { UInt8($0) })
            let topology = AMQPTopology(queues: [AMQPQueue(name: "q")])
            let outcomes = try await withPublisher(configuration, topology: topology) { await $0.publish([sent]) }
            #expect(outcomes == [.confirmed])
            try await withConsumer(configuration, [AMQPSubscription(queue: "q", prefetch: 10)]) { consumer in
                let got = try #require(try await consumer.take(1).first)
                #expect(got.properties == sent.properties)
                #expect(got.body == sent.body)
                #expect(got.bodyBytes == 256)
                #expect(got.queue == "q")
                #expect(got.exchange == "")
                #expect(got.routingKey == "q")
                #expect(!got.redelivered)
                #expect(got.flaws == [])
                #expect(got.tag == AMQPDeliveryTag(generation: consumer.currentGeneration, channel: 1, value: 1))
            }
        }
    }

    @Test func `a message without properties or body comes back empty and transient`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let topology = AMQPTopology(queues: [AMQPQueue(name: "q")])
            let sent = AMQPMessage(
                exchange: "", routingKey: "q", properties: AMQPProperties(persistent: false), body: [])
            #expect(
                try await withPublisher(configuration, topology: topology) { await $0.publish([sent]) } == [.confirmed])
            try await AMQPSession.withConnection(configuration) { session in
                let got = try #require(try await session.get("q"))
                #expect(got.properties == sent.properties)
                #expect(got.body.isEmpty)
                try await session.acknowledge(got.tag)
            }
        }
    }

    @Test func `bodies of a mebibyte are cut up and put together again`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            var random = SplitMix64(seed: 7)
            let bodies = (0..<8).map { extra in
                (0..<(1 << 20) + extra).map { _ in UInt8.random(in: 0...255, using: &random) }
            }
            let topology = AMQPTopology(queues: [AMQPQueue(name: "q")])
            let outcomes = try await withPublisher(configuration, topology: topology) { publisher in
                await publisher.publish(bodies.map { AMQPMessage(exchange: "", routingKey: "q", body: $0) })
            }
            #expect(outcomes.allSatisfy { $0 == .confirmed })
            try await withConsumer(configuration, [AMQPSubscription(queue: "q", prefetch: 3)]) { consumer in
                var got: [[UInt8]] = []
                while got.count < bodies.count {
                    let batch = try await consumer.take(1)
                    got += batch.map(\.body)
                    consumer.acknowledge(batch.map(\.tag))
                }
                #expect(got == bodies)
            }
        }
    }

    @Test func `ten thousand messages are confirmed, consumed in order, and all acknowledged`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let total = 10_000
            let topology = AMQPTopology(queues: [.quorum("q")])
            let outcomes = try await withPublisher(configuration, topology: topology, maxUnconfirmed: 500) {
                publisher in
                await publisher.publish((0..<total).map { message("q", "\($0)") })
            }
            #expect(outcomes.count == total)
            #expect(outcomes.allSatisfy { $0 == .confirmed })
            try await withConsumer(
                configuration, [AMQPSubscription(queue: "q", prefetch: 700)], maxBatch: 300
            ) { consumer in
                var order: [String] = []
                while order.count < total {
                    let batch = try await consumer.take(1)
                    #expect(batch.count <= 300)
                    order += batch.map { String(decoding: $0.body, as: UTF8.self) }
                    // Out of order, so that prefixes, gaps and held acknowledgements all occur.
                    consumer.acknowledge(batch.map(\.tag).shuffled())
                }
                #expect(order == (0..<total).map(String.init))
            }
            // What closing left unacknowledged would be ready again, for good. The figures of a quorum queue lag a little.
            try await eventually("the queue to be empty") {
                try await status("q", configuration) == AMQPQueueStatus(messages: 0, consumers: 0)
            }
        }
    }

    @Test func `a delivery that stays unsettled does not keep its neighbours unacknowledged`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let topology = AMQPTopology(queues: [AMQPQueue(name: "q")])
            try await withPublisher(configuration, topology: topology) { publisher in
                _ = await publisher.publish((0..<100).map { message("q", "\($0)") })
            }
            try await withConsumer(configuration, [AMQPSubscription(queue: "q", prefetch: 10)]) { consumer in
                // With a prefetch of 10 the rest only comes if what is behind the first is acknowledged one by one.
                var seen = 0
                var first: AMQPDeliveryTag?
                while seen < 100 {
                    var tags = try await consumer.take(1).map(\.tag)
                    seen += tags.count
                    if first == nil { first = tags.removeFirst() }
                    consumer.acknowledge(tags)
                }
                #expect(seen == 100)
            }
            #expect(try await status("q", configuration)?.messages == 1)
        }
    }

    @Test func `rejecting puts back or drops`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let topology = AMQPTopology(queues: [AMQPQueue(name: "q")])
            try await withPublisher(configuration, topology: topology) { publisher in
                _ = await publisher.publish([message("q", "drop"), message("q", "again")])
            }
            try await withConsumer(configuration, [AMQPSubscription(queue: "q", prefetch: 10)]) { consumer in
                let both = try await consumer.take(2)
                consumer.reject([both[0].tag], requeue: false)
                consumer.reject([both[1].tag], requeue: true)
                let again = try #require(try await consumer.take(1).first)
                #expect(again.properties.messageID == "again")
                #expect(again.redelivered)
                consumer.acknowledge([again.tag])
            }
            #expect(try await status("q", configuration)?.messages == 0)
        }
    }

    @Test func `several subscriptions share a connection and keep their tags apart`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let names = ["a", "b", "c"]
            let topology = AMQPTopology(
                exchanges: [AMQPExchange(name: "all", kind: "topic")], queues: names.map { AMQPQueue(name: $0) },
                bindings: names.map { AMQPBinding(queue: $0, exchange: "all", routingKey: "x.#") })
            try await withPublisher(configuration, topology: topology) { publisher in
                _ = await publisher.publish(
                    (0..<50).map {
                        AMQPMessage(exchange: "all", routingKey: "x.\($0)", body: [UInt8($0)])
                    })
            }
            try await withConsumer(configuration, names.map { AMQPSubscription(queue: $0, prefetch: 100) }) {
                consumer in
                let all = try await consumer.take(150)
                for name in names {
                    let mine = all.filter { $0.queue == name }
                    #expect(mine.map(\.body) == (0..<50).map { [UInt8($0)] })
                    #expect(mine.allSatisfy { $0.exchange == "all" })
                }
                consumer.acknowledge(all.map(\.tag))
            }
            for name in names { #expect(try await status(name, configuration)?.messages == 0) }
        }
    }

    @Test func `after stopping nothing new comes, and what came can still be acknowledged`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let topology = AMQPTopology(queues: [AMQPQueue(name: "q")])
            try await withPublisher(configuration, topology: topology) { publisher in
                _ = await publisher.publish((0..<20).map { message("q", "\($0)") })
                try await withConsumer(configuration, [AMQPSubscription(queue: "q", prefetch: 20)]) { consumer in
                    let taken = try await consumer.take(5)
                    await consumer.stopConsuming()
                    _ = await publisher.publish([message("q", "late")])
                    let rest = try await within(.seconds(10)) {
                        var rest: [AMQPDelivery] = []
                        for await batch in consumer.deliveries { rest += batch }
                        return rest
                    }
                    #expect(taken.count + rest.count == 20)
                    consumer.acknowledge((taken + rest).map(\.tag))
                }
            }
            #expect(try await status("q", configuration)?.messages == 1)
        }
    }

    @Test func `a cancelled reader gets the end and loses no delivery`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let topology = AMQPTopology(queues: [AMQPQueue(name: "q")])
            try await withPublisher(configuration, topology: topology) { publisher in
                try await withConsumer(configuration, [AMQPSubscription(queue: "q", prefetch: 20)], topology: topology)
                { consumer in
                    let reader = Task {
                        var batches = 0
                        for await _ in consumer.deliveries { batches += 1 }
                        return batches
                    }
                    reader.cancel()
                    #expect(await reader.value == 0)
                    #expect(await publisher.publish([message("q", "1")]) == [.confirmed])
                    let got = try await consumer.take(1)
                    #expect(got.count == 1)
                }
            }
        }
    }
}

func status(_ queue: String, _ configuration: AMQPConfiguration) async throws -> AMQPQueueStatus? {
    try await AMQPSession.withConnection(configuration) { try await $0.queueStatus(queue) }
}
