import AMQPClient
import RawAMQP
import Testing

/// Messages that no decent client would send must not hurt the one who gets them.
@Suite(.timeLimit(.minutes(2))) struct HostileInputTests {
    private let topology = AMQPTopology(queues: [AMQPQueue(name: "q")])

    private func receive(
        _ configuration: AMQPConfiguration, flags: UInt16, properties: [UInt8]
    ) async throws -> AMQPDelivery {
        try await AMQPSession.withConnection(configuration) { try await $0.declare(topology) }
        try await RawPublisher(configuration).publish(
            exchange: "", routingKey: "q", properties: Wire.int16(flags) + properties, body: [1, 2])
        return try await withConsumer(configuration, [AMQPSubscription(queue: "q", prefetch: 1)]) { consumer in
            let delivery = try #require(try await consumer.take(1).first)
            consumer.acknowledge([delivery.tag])
            return delivery
        }
    }

    private func bigEndian(_ number: Int) -> [UInt8] { (0..<4).reversed().map { UInt8(number >> ($0 * 8) & 0xFF) } }

    /// Each level costs 6 bytes as a table with an empty name, 5 as an array; a frame holds 131,072.
    @Test(arguments: [10_000, 20_000]) func `headers nested in tables as deep as a frame holds are dropped, not fatal`(
        depth: Int
    ) async throws {
        try await SharedBroker.withVirtualHost { configuration in
            var header: [UInt8] = []
            header.reserveCapacity(depth * 6 + 4)
            for level in 0..<depth { header += bigEndian((depth - level) * 6) + [0, UInt8(ascii: "F")] }
            header += bigEndian(0)
            let delivery = try await receive(configuration, flags: PropertyFlag.headers, properties: header)
            #expect(delivery.flaws == .headersTooDeep)
            #expect(delivery.body == [1, 2])
        }
    }

    @Test func `headers nested in arrays as deep as a frame holds are dropped, not fatal`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let depth = 25_000
            var array: [UInt8] = []
            for level in 0..<depth { array += [UInt8(ascii: "A")] + bigEndian((depth - 1 - level) * 5) }
            let header = bigEndian(array.count + 2) + [1, UInt8(ascii: "h")] + array
            let delivery = try await receive(configuration, flags: PropertyFlag.headers, properties: header)
            #expect(delivery.flaws == .headersTooDeep)
        }
    }

    @Test func `headers of eight levels are kept and a ninth is dropped with a flag`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            func nested(_ levels: Int) -> [String: AMQPValue] {
                levels == 1 ? ["leaf": .int(1)] : ["down": .table(nested(levels - 1))]
            }
            try await withPublisher(configuration, topology: topology) { publisher in
                for levels in [8, 9] {
                    let properties = AMQPProperties(headers: nested(levels))
                    let message = AMQPMessage(exchange: "", routingKey: "q", properties: properties, body: [])
                    #expect(await publisher.publish([message]) == [.confirmed])
                }
            }
            try await withConsumer(configuration, [AMQPSubscription(queue: "q", prefetch: 2)]) { consumer in
                let both = try await consumer.take(2)
                #expect(both[0].properties.headers == nested(8))
                #expect(both[0].flaws == [])
                #expect(both[1].flaws == .headersTooDeep)
            }
        }
    }

    @Test func `text that is not UTF-8 is repaired and flagged`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let delivery = try await receive(
                configuration, flags: PropertyFlag.contentType | PropertyFlag.messageID,
                properties: [3, 0x61, 0xFF, 0x62, 4] + Array("good".utf8))
            #expect(delivery.properties.contentType == "a\u{FFFD}b")
            #expect(delivery.properties.messageID == "good")
            #expect(delivery.flaws == .invalidUTF8)
        }
    }

    @Test func `long text that comes often is told apart by every byte`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let types = (0..<600).map { "a.type.with.a.long.name.\($0 % 300)" }
            try await withPublisher(configuration, topology: topology) { publisher in
                _ = await publisher.publish(
                    types.map {
                        AMQPMessage(exchange: "", routingKey: "q", properties: AMQPProperties(type: $0), body: [])
                    })
            }
            try await withConsumer(configuration, [AMQPSubscription(queue: "q", prefetch: 600)]) { consumer in
                let got = try await consumer.take(600)
                #expect(got.map(\.properties.type) == types)
            }
        }
    }

    @Test func `a body over the limit comes without it, flagged, and the next message is whole`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let big = [UInt8](repeating: 1, count: 300_000)
            try await withPublisher(configuration, topology: topology) { publisher in
                #expect(
                    await publisher.publish([
                        AMQPMessage(exchange: "", routingKey: "q", body: big), message("q", "small"),
                    ]) == [.confirmed, .confirmed])
            }
            var limited = configuration
            limited.maxBodyBytes = 200_000
            try await withConsumer(limited, [AMQPSubscription(queue: "q", prefetch: 2)]) { consumer in
                let both = try await consumer.take(2)
                #expect(both[0].flaws == .oversize)
                #expect(both[0].body == [])
                #expect(both[0].bodyBytes == 300_000)
                #expect(both[1].body == Array("small".utf8))
                consumer.acknowledge(both.map(\.tag))
            }
            try await withPublisher(limited) { publisher in
                let outcomes = await publisher.publish([
                    AMQPMessage(exchange: "", routingKey: "q", body: big), message("q", "small"),
                ])
                #expect(outcomes[0].isNotSent)
                #expect(outcomes[1] == .confirmed)
            }
        }
    }
}

extension AMQPPublishOutcome {
    var isNotSent: Bool { if case .notSent = self { true } else { false } }
    var isUnknown: Bool { if case .unknown = self { true } else { false } }
}
