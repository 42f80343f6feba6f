import AMQPClient
import FleetStack
import Foundation
import TestPatience
import Testing

/// One broker for the tests that break it, started and removed around the suite.
struct BreakableBroker: SuiteTrait, TestScoping {
    @TaskLocal static var current: PrivateBroker?

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        let directory = temporaryDirectory("breakable")
        let broker = try await PrivateBroker.start(.init(directory: directory, tls: true))
        do {
            try await Self.$current.withValue(broker) { try await function() }
            try await broker.stop()
        } catch {
            try await broker.stop()
            throw error
        }
        try FileManager.default.removeItem(atPath: directory)
    }
}

/// The broker dies, hangs and chokes; one test at a time.
@Suite(BreakableBroker(), .serialized, .timeLimit(.minutes(5))) struct DisruptionTests {
    private let broker: PrivateBroker
    private let topology = AMQPTopology(queues: [.quorum("q")])

    init() throws { broker = try #require(BreakableBroker.current) }

    /// Impatient, so that the tests are short.
    private func configuration(_ name: String = #function, tls: Bool = false) async throws -> AMQPConfiguration {
        let url = try await broker.createVirtualHost("host-\(UUID().uuidString)")
        var configuration = try AMQPConfiguration(url: url)
        configuration.backoff = AMQPBackoff(initial: .milliseconds(20), max: .milliseconds(300))
        configuration.heartbeat = .seconds(1)
        configuration.stallTimeout = .seconds(2)
        configuration.connectTimeout = .seconds(2)
        if tls {
            let secure = try AMQPConfiguration(url: try #require(broker.amqpsURL))
            // librabbitmq matches a certificate's names, not its addresses.
            configuration.endpoints = secure.endpoints.map { AMQPEndpoint(host: "localhost", port: $0.port, tls: true) }
            configuration.tls.caFile = broker.tlsAuthorityFile
        }
        return configuration
    }

    private func connected(_ generation: UInt32) -> @Sendable (AMQPLinkEvent) -> Bool {
        { if case .connected(generation, _) = $0 { true } else { false } }
    }

    @Test
    func `after a restart the publisher publishes again, and unsettled deliveries come again under a new generation`()
        async throws
    {
        let configuration = try await configuration()
        let publisherEvents = EventLog()
        let consumerEvents = EventLog()
        try await withPublisher(
            configuration, topology: topology, publishTimeout: .seconds(90), events: publisherEvents
        ) { publisher in
            #expect(await publisher.publish((0..<10).map { message("q", "\($0)") }).allSatisfy { $0 == .confirmed })
            try await withConsumer(
                configuration, [AMQPSubscription(queue: "q", prefetch: 20)], topology: topology, events: consumerEvents
            ) { consumer in
                let first = try await consumer.take(10)
                #expect(first.allSatisfy { $0.tag.generation == 1 })
                consumer.acknowledge(first[..<3].map(\.tag))
                try await eventually("the three to be gone") {
                    try await broker.control([
                        "list_queues", "--vhost", configuration.virtualHost, "messages", "--silent",
                    ])
                    .contains("7")
                }
                try await broker.stop()
                #expect(
                    try await publisherEvents.has(
                        { if case .disconnected = $0 { true } else { false } }))
                // Published while there is no broker: it waits.
                async let waiting = publisher.publish([message("q", "10")])
                try await broker.startAgain()
                #expect(await waiting == [.confirmed])
                #expect(try await consumerEvents.has(connected(2)))

                // Were they not dropped, they would name tags of the new link and take its messages away.
                consumer.acknowledge(first.map(\.tag))
                let second = try await consumer.take(8)
                #expect(second.allSatisfy { $0.tag.generation == 2 })
                #expect(second.map(\.properties.messageID).sorted { Int($0!)! < Int($1!)! } == (3...10).map { "\($0)" })
                #expect(second.filter(\.redelivered).count == 7)
            }
        }
        // All eight were left unsettled, in spite of the stale acknowledgements.
        try await eventually("all eight to be ready") { try await status("q", configuration)?.messages == 8 }
        try await withConsumer(configuration, [AMQPSubscription(queue: "q", prefetch: 20)]) { consumer in
            consumer.acknowledge(try await consumer.take(8).map(\.tag))
        }
        try await eventually("the queue to be empty") { try await status("q", configuration)?.messages == 0 }
    }

    @Test func `what was on its way when the broker was killed is unknown or confirmed, never lost silently`()
        async throws
    {
        let configuration = try await configuration()
        // A young quorum queue is no use here: RabbitMQ 3.10 finds no leader for one after a kill.
        let topology = AMQPTopology(queues: [AMQPQueue(name: "q")])
        let events = EventLog()
        try await withPublisher(configuration, topology: topology, publishTimeout: .seconds(90), events: events) {
            publisher in
            #expect(await publisher.publish([message("q", "first")]) == [.confirmed])
            // RabbitMQ writes down new queues some seconds late, and with a queue that it forgot it loses what it confirmed.
            _ = try await broker.control(["eval", "mnesia:sync_log()."])
            let batch = (0..<1000).map { message("q", "\($0)", mandatory: true) }
            var (confirmed, unknown) = (1, 0)
            // A machine may be so busy that nothing was on its way in just that moment.
            for _ in 1...10 where unknown == 0 {
                let before = events.disconnections.count
                async let outcomes = withTaskGroup { callers in
                    for _ in 0..<4 {
                        callers.addTask {
                            var outcomes: [AMQPPublishOutcome] = []
                            while events.disconnections.count == before, !Task.isCancelled {
                                outcomes += await publisher.publish(batch)
                            }
                            return outcomes
                        }
                    }
                    return await callers.reduce(into: []) { $0 += $1 }
                }
                let target = confirmed + 2000
                try await eventually("two thousand to be there") {
                    try await status("q", configuration)?.messages ?? 0 > target
                }
                try broker.kill()
                try await eventually("the link to be lost") { events.disconnections.count > before }
                try await broker.startAgain()
                let all = await outcomes
                #expect(all.allSatisfy { $0 == .confirmed || $0.isUnknown })
                unknown += all.count(where: \.isUnknown)
                confirmed += all.count { $0 == .confirmed }
            }
            // Only what the window held can be in doubt; the rest waited and went over the next link.
            #expect(unknown > 0 && unknown <= 2000)
            // The whole is there: each confirmed message once, each doubtful one at most once.
            let (least, most) = (confirmed, confirmed + unknown)
            try await eventually("the whole to be there") {
                let messages = try await status("q", configuration)?.messages ?? 0
                return messages >= least && messages <= most
            }
        }
    }

    @Test func `an alarm holds publishing up and lets it go again`() async throws {
        let configuration = try await configuration()
        let events = EventLog()
        try await withPublisher(configuration, topology: topology, publishTimeout: .seconds(8), events: events) {
            publisher in
            #expect(await publisher.publish([message("q", "free")]) == [.confirmed])
            _ = try await broker.control(["set_vm_memory_high_watermark", "0.00001"])
            do {
                // The broker tells of an alarm when it gets the next publish, which it still takes in or holds.
                // Too much for the socket, so that it waits half sent.
                let body = [UInt8](repeating: 1, count: 1 << 20)
                async let held = publisher.publish(
                    (0..<24).map { _ in AMQPMessage(exchange: "", routingKey: "q", body: body) })
                #expect(try await events.has({ if case .blocked = $0 { true } else { false } }))
                #expect(publisher.isBlocked)
                async let waiting = publisher.publish([message("q", "waiting")])
                #expect(await waiting.allSatisfy(\.isNotSent))
                _ = await held
                // Longer than heartbeat and stall timeout together: an alarm is no reason to break the link off.
                #expect(events.disconnections.isEmpty)
                #expect(publisher.isConnected)

                async let patient = publisher.publish([message("q", "patient")])
                _ = try await broker.control(["set_vm_memory_high_watermark", "0.4"])
                #expect(await patient == [.confirmed])
                #expect(!publisher.isBlocked)
            } catch {
                _ = try await broker.control(["set_vm_memory_high_watermark", "0.4"])
                throw error
            }
        }
        #expect(events.generations == [1])
    }

    @Test(arguments: [false, true])
    func `a stalled broker is noticed by an idle consumer, and consumed from again once it goes on`(tls: Bool)
        async throws
    {
        let configuration = try await configuration(tls: tls)
        let events = EventLog()
        try await withConsumer(
            configuration, [AMQPSubscription(queue: "q", prefetch: 20)], topology: topology, events: events
        ) { consumer in
            #expect(try await events.has(connected(1)))
            try await broker.pause()
            let paused = ContinuousClock.now
            do {
                #expect(
                    try await events.has(
                        { if case .disconnected(let error) = $0 { error.kind == .timeout } else { false } }))
                #expect(ContinuousClock.now - paused < .seconds(12))
                try broker.resume()
            } catch {
                try broker.resume()
                throw error
            }
            #expect(try await events.has(connected(2)))
            try await withPublisher(configuration) { publisher in
                #expect(await publisher.publish([message("q", "1")]) == [.confirmed])
            }
            let got = try await consumer.take(1)
            #expect(got.first?.tag.generation == 2)
            consumer.acknowledge(got.map(\.tag))
        }
    }

    @Test(arguments: [false, true])
    func `a broker that stalls in the middle of big bodies is noticed, and what never left is sent again`(tls: Bool)
        async throws
    {
        var configuration = try await configuration(tls: tls)
        // Without heartbeats only the send itself can tell.
        configuration.heartbeat = .zero
        let events = EventLog()
        try await withPublisher(configuration, topology: topology, publishTimeout: .seconds(60), events: events) {
            publisher in
            #expect(await publisher.publish([message("q", "first")]) == [.confirmed])
            try await broker.pause()
            let paused = ContinuousClock.now
            let bodies = (0..<64).map { _ in
                AMQPMessage(exchange: "", routingKey: "q", body: [UInt8](repeating: 1, count: 1 << 20))
            }
            async let outcomes = publisher.publish(bodies)
            do {
                #expect(
                    try await events.has(
                        {
                            if case .disconnected(let error) = $0 {
                                error.kind == .timeout || error.kind == .connectionLost
                            } else {
                                false
                            }
                        }))
                #expect(ContinuousClock.now - paused < .seconds(15))
                try broker.resume()
            } catch {
                try broker.resume()
                throw error
            }
            let all = await outcomes
            #expect(all.allSatisfy { $0 == .confirmed || $0.isUnknown })
            // What never left went over the next link, long before its time was up.
            #expect(ContinuousClock.now - paused < .seconds(40))
            // The socket takes only some mebibytes, so most of it had not left.
            #expect(all.count { $0 == .confirmed } > 32)
        }
    }

    @Test func `closing does not wait for a broker that hangs`() async throws {
        let configuration = try await configuration()
        let events = EventLog()
        let publisher = AMQPPublisher(
            configuration: configuration, topology: topology, logger: testLogger, onEvent: events.record)
        async let running: Void = publisher.run()
        #expect(try await events.has(connected(1)))
        try await broker.pause()
        async let outcomes = publisher.publish([message("q", "1")])
        let began = ContinuousClock.now
        await publisher.close()
        let took = ContinuousClock.now - began
        try broker.resume()
        #expect(took < .seconds(15))
        #expect(await outcomes.allSatisfy { $0.isUnknown || $0.isNotSent })
        try await running
    }

    @Test func `TLS works with the right authority and is refused with a wrong one`() async throws {
        let configuration = try await configuration(tls: true)
        let big = [UInt8](repeating: 3, count: 400_000)
        try await withPublisher(configuration, topology: topology) { publisher in
            let outcomes = await publisher.publish(
                (0..<500).map { message("q", "\($0)") } + [AMQPMessage(exchange: "", routingKey: "q", body: big)])
            #expect(outcomes.allSatisfy { $0 == .confirmed })
        }
        try await withConsumer(configuration, [AMQPSubscription(queue: "q", prefetch: 600)]) { consumer in
            let got = try await consumer.take(501)
            #expect(got.map(\.properties.messageID) == (0..<500).map { "\($0)" } + [nil])
            #expect(got.last?.body == big)
            consumer.acknowledge(got.map(\.tag))
        }
        try await eventually("the queue to be empty") { try await status("q", configuration)?.messages == 0 }

        var wrong = configuration
        // An authority that nobody here has signed with, or the system's when there is one.
        wrong.tls.caFile = nil
        let untrusting = AMQPPublisher(configuration: wrong, logger: testLogger)
        await #expect {
            try await untrusting.run()
        } throws: { error in
            (error as? AMQPError)?.kind == .tls && (error as? AMQPError)?.isPermanent == true
        }
        wrong.tls.caFile = "/nowhere/ca.pem"
        let unreadable = AMQPPublisher(configuration: wrong, logger: testLogger)
        await #expect {
            try await unreadable.run()
        } throws: { error in
            (error as? AMQPError)?.message.contains("/nowhere/ca.pem") == true
        }
        wrong.tls.caFile = nil
        wrong.tls.verifyPeer = false
        #expect(try await AMQPSession.withConnection(wrong) { try await $0.queueStatus("q") } != nil)
    }
}
