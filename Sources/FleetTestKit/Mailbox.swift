import AMQPClient
import FleetBroker
import Foundation
import Synchronization
import TestPatience

/// What the fleet has published so far: results, events, and answers to a reply queue of the test's own.
public final class Mailbox: Sendable {
    public struct Contents: Sendable, CustomStringConvertible {
        /// From `gaia.results`.
        public var results: [Letter] = []
        /// From `gaia.events`.
        public var events: [Letter] = []
        /// From the reply queue.
        public var replies: [Letter] = []

        public var description: String { "results \(results), replies \(replies), events \(events)" }
    }

    /// What producers name as `reply_to`.
    public let replyQueue = "reply"
    private let contents = Watched(Contents())
    private let consumer: AMQPConsumer

    /// - Parameter durable: whether its queues outlive the broker.
    init(_ amqp: AMQPConfiguration, durable: Bool) {
        var topology = FleetBroker.topology(subsystems: [])
        topology.queues += ["results", "events", replyQueue].map {
            durable
                ? AMQPQueue(name: $0, arguments: ["x-queue-type": .string("quorum")])
                : AMQPQueue(name: $0, durable: false, exclusive: true)
        }
        topology.bindings += [
            AMQPBinding(queue: "results", exchange: FleetBroker.resultsExchange, routingKey: "#"),
            AMQPBinding(queue: "events", exchange: FleetBroker.eventsExchange, routingKey: "#"),
        ]
        consumer = AMQPConsumer(
            configuration: amqp,
            subscriptions: ["results", "events", replyQueue].map { AMQPSubscription(queue: $0, prefetch: 2_000) },
            topology: topology, logger: testLogger)
    }

    /// Runs until closed.
    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.consumer.run() }
            for await batch in consumer.deliveries {
                let letters = batch.map { Letter($0) }
                contents.update { contents in
                    for letter in letters {
                        switch letter.delivery.queue {
                        case "results": contents.results.append(letter)
                        case "events": contents.events.append(letter)
                        default: contents.replies.append(letter)
                        }
                    }
                }
                consumer.acknowledge(batch.map(\.tag))
            }
            try await group.waitForAll()
        }
    }

    func close() async { await consumer.close() }

    func awaitReady() async throws {
        try await eventually("the mailbox to be connected") { self.consumer.currentGeneration > 0 }
    }

    public var now: Contents { contents.value }

    @discardableResult
    public func wait(
        for what: String, within limit: Duration = patienceOfTests,
        _ condition: @escaping @Sendable (Contents) -> Bool
    ) async throws -> Contents {
        try await contents.wait(for: what, within: limit, condition)
    }

    /// The first result of the job with this key.
    @discardableResult
    public func result(of key: String, within limit: Duration = patienceOfTests) async throws -> Letter {
        let what = "the result of \(key)"
        let contents = try await wait(for: what, within: limit) { $0.results.contains { $0.key == key } }
        guard let letter = contents.results.first(where: { $0.key == key }) else { throw NotInTime(what) }
        return letter
    }

    /// The first answer with this correlation id.
    @discardableResult
    public func reply(_ correlationID: String, within limit: Duration = patienceOfTests) async throws -> Letter {
        let what = "the reply to \(correlationID)"
        let isMeant: @Sendable (Letter) -> Bool = { $0.correlationID == correlationID }
        let contents = try await wait(for: what, within: limit) { $0.replies.contains(where: isMeant) }
        guard let letter = contents.replies.first(where: isMeant) else { throw NotInTime(what) }
        return letter
    }
}

/// One message of the fleet, read.
public struct Letter: Sendable, CustomStringConvertible {
    public let delivery: AMQPDelivery
    /// The body; null when it is no JSON.
    public let document: JSONValue

    init(_ delivery: AMQPDelivery) {
        self.delivery = delivery
        document = (try? JSONValue(delivery.body)) ?? .null
    }

    public var id: String? { document["id"]?.string }
    public var type: String? { document["type"]?.string }
    public var key: String? { document["data"]?["key"]?.string }
    public var outcome: String? { document["data"]?["outcome"]?.string }
    public var attempt: Int? { document["data"]?["attempt"]?.int }
    public var output: JSONValue? { document["data"]?["output"] }
    public var errorCode: String? { document["data"]?["error"]?["code"]?.string }
    public var correlationID: String? { delivery.properties.correlationID }

    public var description: String { String(decoding: delivery.body.prefix(400), as: UTF8.self) }
}
