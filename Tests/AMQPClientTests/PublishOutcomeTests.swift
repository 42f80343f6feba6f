import AMQPClient
import Testing

/// Every way a publish can end, short of a broker that is down.
@Suite(.timeLimit(.minutes(2))) struct PublishOutcomeTests {
    @Test func `an unroutable mandatory message is returned, and its neighbours are confirmed`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let topology = AMQPTopology(queues: [AMQPQueue(name: "q")])
            let outcomes = try await withPublisher(configuration, topology: topology) { publisher in
                await publisher.publish([
                    message("q", "1", mandatory: true), message("nowhere", "2", mandatory: true),
                    message("nowhere", "3"), message("nowhere", "2", mandatory: true),
                    message("q", "4", mandatory: true),
                ])
            }
            #expect(outcomes[0] == .confirmed)
            #expect(outcomes[1] == .returned(code: 312, reason: "NO_ROUTE"))
            // Nobody asked to be told.
            #expect(outcomes[2] == .confirmed)
            #expect(outcomes[3] == .returned(code: 312, reason: "NO_ROUTE"))
            #expect(outcomes[4] == .confirmed)
        }
    }

    @Test func `a full queue that rejects refuses`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let full = AMQPQueue(
                name: "q", arguments: ["x-max-length": .int(1), "x-overflow": .string("reject-publish")])
            let outcomes = try await withPublisher(configuration, topology: AMQPTopology(queues: [full])) { publisher in
                var outcomes: [AMQPPublishOutcome] = []
                for number in 0..<3 { outcomes += await publisher.publish([message("q", "\(number)")]) }
                return outcomes
            }
            #expect(outcomes == [.confirmed, .refused, .refused])
        }
    }

    @Test func `a channel on which messages are refused is opened anew, without harm to others`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let full = AMQPQueue(
                name: "full", arguments: ["x-max-length": .int(1), "x-overflow": .string("reject-publish")])
            let topology = AMQPTopology(queues: [full, AMQPQueue(name: "q")])
            let events = EventLog()
            let isRenewed: @Sendable (AMQPLinkEvent) -> Bool = { if case .channelRenewed = $0 { true } else { false } }
            try await withPublisher(
                configuration, topology: topology, refusalPatience: .milliseconds(50), events: events
            ) { publisher in
                // One caller is refused again and again while another publishes without a pause.
                async let others = {
                    var outcomes: [AMQPPublishOutcome] = []
                    for number in 0..<200 {
                        outcomes += await publisher.publish((0..<20).map { message("q", "\(number)-\($0)") })
                    }
                    return outcomes
                }()
                #expect(await publisher.publish([message("full", "first")]) == [.confirmed])
                var refusals = 0
                while try await !events.has(isRenewed, within: .zero), refusals < 10_000 {
                    refusals += 1
                    #expect(await publisher.publish([message("full", "more")]) == [.refused])
                }
                #expect(try await events.has(isRenewed, within: .zero))
                #expect(await others.allSatisfy { $0 == .confirmed })
                try await AMQPSession.withConnection(configuration) { try await $0.purge("full") }
                #expect(await publisher.publish([message("full", "at last")]) == [.confirmed])
                #expect(try await status("q", configuration)?.messages == 4_000)
            }
            #expect(events.generations == [1])
        }
    }

    @Test func `an exchange that does not exist takes down no other publish`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let topology = AMQPTopology(queues: [AMQPQueue(name: "q")])
            let events = EventLog()
            try await withPublisher(configuration, topology: topology, events: events) { publisher in
                #expect(await publisher.publish([message("q", "1")]) == [.confirmed])
                let lost = await publisher.publish([AMQPMessage(exchange: "missing", routingKey: "k", body: [])])
                #expect(lost.first?.isNotSent == true)
                #expect(await publisher.publish([message("q", "2")]) == [.confirmed])
            }
            // The channel was opened again within the same connection.
            #expect(events.generations == [1])
        }
    }

    @Test func `concurrent callers are served side by side, each in its order`() async throws {
        try await SharedBroker.withVirtualHost { configuration in
            let topology = AMQPTopology(queues: [AMQPQueue(name: "q")])
            try await withPublisher(configuration, topology: topology, maxUnconfirmed: 100) { publisher in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for caller in 0..<20 {
                        group.addTask {
                            for round in 0..<5 {
                                let batch = (0..<50).map { message("q", "\(caller):\(round * 50 + $0)") }
                                let outcomes = await publisher.publish(batch)
                                #expect(outcomes.allSatisfy { $0 == .confirmed })
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            }
            try await withConsumer(configuration, [AMQPSubscription(queue: "q", prefetch: 2000)]) { consumer in
                var next = [Int](repeating: 0, count: 20)
                var seen = 0
                while seen < 5000 {
                    let batch = try await consumer.take(1)
                    seen += batch.count
                    for delivery in batch {
                        let parts = String(decoding: delivery.body, as: UTF8.self).split(separator: ":").compactMap {
                            Int($0)
                        }
                        #expect(next[parts[0]] == parts[1])
                        next[parts[0]] += 1
                    }
                    consumer.acknowledge(batch.map(\.tag))
                }
            }
        }
    }

    @Test func `publishing after close, and before a link, ends as not sent`() async throws {
        var configuration = AMQPConfiguration(endpoints: [AMQPEndpoint(host: "127.0.0.1", port: 1)])
        configuration.backoff = AMQPBackoff(initial: .milliseconds(10), max: .milliseconds(50))
        let events = EventLog()
        let publisher = AMQPPublisher(
            configuration: configuration, publishTimeout: .milliseconds(300), logger: testLogger, onEvent: events.record
        )
        async let running: Void = publisher.run()
        // The broker is absent: it is tried again and again while the publish waits for its time.
        let outcomes = await publisher.publish([message("q", "1"), message("q", "2")])
        #expect(outcomes.count == 2 && outcomes.allSatisfy(\.isNotSent))
        #expect(try await events.has({ if case .retrying = $0 { true } else { false } }))
        #expect(!publisher.isConnected)

        let waiting = Task { await publisher.publish([message("q", "3")]) }
        waiting.cancel()
        #expect(await waiting.value.allSatisfy(\.isNotSent))

        await publisher.close()
        try await running
        #expect(await publisher.publish([message("q", "4")]).allSatisfy(\.isNotSent))
    }

    @Test func `a publisher that was never run can be cancelled and closed`() async throws {
        let publisher = AMQPPublisher(
            configuration: AMQPConfiguration(endpoints: [AMQPEndpoint(host: "127.0.0.1", port: 1)]), logger: testLogger)
        let cancelled = Task { await publisher.publish([message("q", "1")]) }
        cancelled.cancel()
        #expect(await cancelled.value.allSatisfy(\.isNotSent))
        let waiting = Task { await publisher.publish([message("q", "2")]) }
        await publisher.close()
        #expect(await waiting.value.allSatisfy(\.isNotSent))
        try await publisher.run()
    }

    @Test
    func `a broker that confirms nothing gets a new link once the callers have given up, so that the window empties`()
        async throws
    {
        let broker = try MuteBroker()
        var configuration = AMQPConfiguration(endpoints: [AMQPEndpoint(host: "127.0.0.1", port: broker.port)])
        configuration.heartbeat = .zero
        // Long enough for the handshake on a busy machine, short enough to be waited for.
        configuration.stallTimeout = .seconds(2)
        configuration.backoff = AMQPBackoff(initial: .milliseconds(10), max: .milliseconds(50))
        let events = EventLog()
        try await withPublisher(configuration, maxUnconfirmed: 2, publishTimeout: .seconds(2), events: events) {
            publisher in
            let isConnected = try await events.has(
                { if case .connected(1, _) = $0 { true } else { false } })
            #expect(isConnected)
            let outcomes = await publisher.publish((0..<5).map { message("q", "\($0)") })
            #expect(outcomes.map(\.isUnknown) == [true, true, false, false, false])
            #expect(outcomes.map(\.isNotSent) == [false, false, true, true, true])
            let isReplaced = try await events.has(
                { if case .connected(2, _) = $0 { true } else { false } })
            #expect(isReplaced)
            #expect(events.disconnections.map(\.kind) == [.timeout])
            // There is room in the window again.
            #expect(await publisher.publish([message("q", "5")]).allSatisfy(\.isUnknown))
        }
    }
}
