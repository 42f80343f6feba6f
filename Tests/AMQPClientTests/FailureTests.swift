import AMQPClient
import TestPatience
import Testing

/// What time cannot mend is thrown; what it can is waited for.
@Suite(.timeLimit(.minutes(2))) struct FailureTests {
    private func runError(_ configuration: AMQPConfiguration, topology: AMQPTopology = AMQPTopology()) async throws
        -> AMQPError?
    {
        let publisher = AMQPPublisher(configuration: configuration, topology: topology, logger: testLogger)
        let waiting = Task { await publisher.publish([message("q", "1")]) }
        do throws(AMQPError) {
            try await publisher.run()
            return nil
        } catch {
            // Whoever waited must not wait for ever.
            #expect(await waiting.value.allSatisfy(\.isNotSent))
            return error
        }
    }

    private func consumeError(_ configuration: AMQPConfiguration, topology: AMQPTopology = AMQPTopology()) async throws
        -> AMQPError?
    {
        let consumer = AMQPConsumer(
            configuration: configuration, subscriptions: [AMQPSubscription(queue: "q", prefetch: 1)],
            topology: topology,
            logger: testLogger)
        do throws(AMQPError) {
            try await consumer.run()
            return nil
        } catch {
            for await _ in consumer.deliveries { Issue.record("nothing can have been delivered") }
            return error
        }
    }

    @Test func `a wrong password ends with a typed error that does not show it`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            var wrong = configuration
            wrong.password = "not-the-pa55word"
            for error in [try await runError(wrong), try await consumeError(wrong)] {
                #expect(error?.kind == .credentialsRefused)
                #expect(error?.isPermanent == true)
                #expect(error?.message.contains("pa55word") == false)
                #expect(error?.message.contains(configuration.user) == true)
            }
            await #expect(throws: AMQPError.self) { try await AMQPSession.withConnection(wrong) { _ in } }
        }
    }

    @Test func `an unknown virtual host ends with a typed error`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            var wrong = configuration
            wrong.virtualHost = "no-such-host"
            for error in [try await runError(wrong), try await consumeError(wrong)] {
                #expect(error?.kind == .virtualHostNotFound)
            }
        }
    }

    @Test func `a topology that contradicts the broker's ends with a typed error`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let topology = AMQPTopology(queues: [AMQPQueue(name: "q")])
            try await AMQPSession.withConnection(configuration) { try await $0.declare(topology) }
            let other = AMQPTopology(queues: [AMQPQueue(name: "q", arguments: ["x-max-length": .int(5)])])
            for error in [
                try await runError(configuration, topology: other),
                try await consumeError(configuration, topology: other),
            ] {
                guard case .channelClosed(code: 406, let reason) = error?.kind else {
                    Issue.record("\(String(describing: error))")
                    continue
                }
                #expect(reason.contains("x-max-length"))
                #expect(error?.isPermanent == true)
            }
        }
    }

    @Test func `a broker that is absent is tried until close, which ends it at once`() async throws {
        var configuration = AMQPConfiguration(endpoints: [
            AMQPEndpoint(host: "127.0.0.1", port: 1), AMQPEndpoint(host: "127.0.0.1", port: 2),
        ])
        // Whoever sleeps through this instead of listening is found out by the time limit.
        configuration.backoff = AMQPBackoff(initial: .seconds(3600), max: .seconds(3600))
        let events = EventLog()
        let consumer = AMQPConsumer(
            configuration: configuration, subscriptions: [AMQPSubscription(queue: "q", prefetch: 1)],
            logger: testLogger,
            onEvent: events.record)
        async let running: Void = consumer.run()
        #expect(
            try await events.has(
                { if case .retrying(_, let error) = $0 { error.kind == .unreachable } else { false } }))
        #expect(consumer.currentGeneration == 0)
        let began = ContinuousClock.now
        await consumer.close()
        try await running
        #expect(ContinuousClock.now - began < .seconds(30))
        for await _ in consumer.deliveries { Issue.record("nothing can have been delivered") }
    }

    @Test func `cancelling the task that runs it closes it`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let events = EventLog()
            let publisher = AMQPPublisher(configuration: configuration, logger: testLogger, onEvent: events.record)
            let running = Task { try await publisher.run() }
            #expect(try await events.has({ if case .connected = $0 { true } else { false } }))
            running.cancel()
            try await running.value
            #expect(!publisher.isConnected)
        }
    }

    @Test func `a queue that is missing is waited for`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let events = EventLog()
            try await withConsumer(configuration, [AMQPSubscription(queue: "q", prefetch: 1)], events: events) {
                consumer in
                #expect(
                    try await events.has(
                        {
                            if case .retrying(_, let error) = $0, case .channelClosed(code: 404, _) = error.kind {
                                true
                            } else {
                                false
                            }
                        }))
                let topology = AMQPTopology(queues: [AMQPQueue(name: "q")])
                try await withPublisher(configuration, topology: topology) { publisher in
                    #expect(await publisher.publish([message("q", "1")]) == [.confirmed])
                }
                let got = try await consumer.take(1)
                #expect(got.count == 1)
            }
        }
    }

    @Test func `a queue with neither messages nor consumers is told of when the link comes up`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let topology = AMQPTopology(queues: ["new", "full", "shared"].map { AMQPQueue(name: $0) })
            try await AMQPSession.withConnection(configuration) { try await $0.declare(topology) }
            try await withPublisher(configuration) { publisher in
                #expect(await publisher.publish([message("full", "1")]) == [.confirmed])
            }
            let isUp: @Sendable (AMQPLinkEvent) -> Bool = { if case .connected = $0 { true } else { false } }
            let (first, second) = (EventLog(), EventLog())
            let shared = [AMQPSubscription(queue: "shared", prefetch: 10)]
            try await withConsumer(configuration, shared, events: first) { (_: AMQPConsumer) async throws -> Void in
                #expect(try await first.has(isUp))
                let all = ["new", "full", "shared"].map { AMQPSubscription(queue: $0, prefetch: 10) }
                try await withConsumer(configuration, all, events: second) { (_: AMQPConsumer) async throws -> Void in
                    #expect(try await second.has(isUp))
                }
            }
            #expect(first.foundIdle == ["shared"])
            #expect(second.foundIdle == ["new"])
        }
    }

    @Test func `a queue deleted under its consumer is declared and consumed again`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let topology = AMQPTopology(queues: [AMQPQueue(name: "q"), AMQPQueue(name: "other")])
            let events = EventLog()
            let subscriptions = ["q", "other"].map { AMQPSubscription(queue: $0, prefetch: 10) }
            try await withConsumer(configuration, subscriptions, topology: topology, events: events) { consumer in
                try await withPublisher(configuration) { publisher in
                    #expect(
                        try await events.has({ if case .connected = $0 { true } else { false } }))
                    #expect(await publisher.publish([message("q", "before", mandatory: true)]) == [.confirmed])
                    let before = try await consumer.take(1)
                    try await AMQPSession.withConnection(configuration) { try await $0.deleteQueue("q") }
                    #expect(
                        try await events.has(
                            { if case .consumerCancelled(queue: "q") = $0 { true } else { false } }))
                    try await eventually("the consumer to be back") {
                        try await status("q", configuration)?.consumers == 1
                    }
                    // Its queue is gone, and the broker takes no offence.
                    consumer.acknowledge(before.map(\.tag))
                    #expect(
                        await publisher.publish([message("q", "after", mandatory: true), message("other", "x")]) == [
                            .confirmed, .confirmed,
                        ])
                    let after = try await consumer.take(2)
                    #expect(Set(after.map(\.properties.messageID)) == ["after", "x"])
                    consumer.acknowledge(after.map(\.tag))
                }
            }
            // All of it over one and the same link.
            #expect(events.generations == [1])
        }
    }

    @Test func `who may not declare uses what is there, and waits for what is not`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let topology = AMQPTopology(
                exchanges: [AMQPExchange(name: "e", kind: "fanout")], queues: [AMQPQueue(name: "q")],
                bindings: [AMQPBinding(queue: "q", exchange: "e", routingKey: "")])
            let all = ".*"
            try await SharedBroker.withUser(configuration, configure: "^$", write: all, read: all) { limited in
                // Nothing is there: a session says what is missing, a consumer waits for it.
                let error = await #expect(throws: AMQPError.self) {
                    try await AMQPSession.withConnection(limited) { try await $0.provide(topology) }
                }
                #expect(error?.kind == .topologyMissing)
                #expect(error?.message.contains("the exchange e is missing") == true)
                let events = EventLog()
                let subscriptions = [AMQPSubscription(queue: "q", prefetch: 10)]
                try await withConsumer(limited, subscriptions, topology: topology, events: events) { consumer in
                    let isWaiting: @Sendable (AMQPLinkEvent) -> Bool = {
                        if case .retrying(_, let error) = $0 { error.kind == .topologyMissing } else { false }
                    }
                    #expect(try await events.has(isWaiting))
                    try await AMQPSession.withConnection(configuration) { try await $0.declare(topology) }
                    try await eventually("the consumer to find its queue") {
                        try await status("q", configuration)?.consumers == 1
                    }

                    // A queue that goes and comes back is consumed again.
                    try await AMQPSession.withConnection(configuration) { try await $0.deleteQueue("q") }
                    #expect(
                        try await events.has(
                            { if case .consumerCancelled(queue: "q") = $0 { true } else { false } }))
                    try await AMQPSession.withConnection(configuration) { try await $0.declare(topology) }
                    try await eventually("the consumer to find its queue again") {
                        try await status("q", configuration)?.consumers == 1
                    }
                    try await withPublisher(limited, topology: topology) { publisher in
                        let fanned = AMQPMessage(exchange: "e", routingKey: "", mandatory: true, body: [1])
                        #expect(await publisher.publish([fanned]) == [.confirmed])
                    }
                    let taken = try await consumer.take(1)
                    consumer.acknowledge(taken.map(\.tag))
                }
                try await AMQPSession.withConnection(limited) { session in
                    try await session.provide(topology)
                    // Declaring itself is refused all the same.
                    let error = await #expect(throws: AMQPError.self) { try await session.declare(topology) }
                    #expect(error?.kind == .accessRefused)
                }
            }
        }
    }

    @Test func `a session survives what the broker refuses`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            try await AMQPSession.withConnection(configuration) { session in
                #expect(try await session.queueStatus("missing") == nil)
                await #expect {
                    _ = try await session.get("missing")
                } throws: { error in
                    if case .channelClosed(code: 404, _) = (error as? AMQPError)?.kind { true } else { false }
                }
                try await session.declare(AMQPTopology(queues: [AMQPQueue(name: "q")]))
                #expect(try await session.queueStatus("q") == AMQPQueueStatus(messages: 0, consumers: 0))
                let none = try await session.get("q")
                #expect(none == nil)
                try await withPublisher(configuration) { publisher in
                    _ = await publisher.publish([message("q", "1"), message("q", "2"), message("q", "3")])
                }
                let first = try #require(try await session.get("q"))
                #expect(first.properties.messageID == "1")
                // A refusal puts back what was got, and its tag is void.
                #expect(try await session.queueStatus("missing") == nil)
                await #expect(throws: AMQPError.self) { try await session.acknowledge(first.tag) }
                let again = try #require(try await session.get("q"))
                #expect(again.properties.messageID == "1")
                #expect(again.redelivered)
                try await session.acknowledge(again.tag)
                let second = try #require(try await session.get("q"))
                try await session.reject(second.tag, requeue: false)
                #expect(try await session.queueStatus("q")?.messages == 1)
                try await session.purge("q")
                #expect(try await session.queueStatus("q")?.messages == 0)
                try await session.deleteQueue("q")
                try await session.deleteExchange("never-was")
            }
        }
    }
}
