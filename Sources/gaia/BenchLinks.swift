import AMQPClient
import FleetBroker
import FleetConfiguration
import FleetModel
import FleetService

/// Runs `body` with a producer, and with a queue that gets the results of all jobs of some subsystems and is there when it
/// begins. A link that fails for good ends it.
func withBenchLinks<Value: Sendable>(
    _ configuration: FleetConfiguration, subsystems: [String] = [NoopParameters.type.subsystem],
    _ body: @escaping @Sendable (AMQPConsumer, JobProducer) async throws -> Value
) async throws -> Value {
    let amqp = try configuration.amqp("gaia bench")
    let results = ReplyQueue(
        amqp, bindings: subsystems.map { (FleetBroker.resultsExchange, "\($0).#") }, prefetch: 2_000,
        logger: configuration.logger
    ).consumer
    let producer = JobProducer(amqp, logger: configuration.logger)
    return try await withThrowingTaskGroup(of: Value?.self) { group in
        group.addTask {
            try await results.run()
            return nil
        }
        group.addTask {
            try await producer.run()
            return nil
        }
        group.addTask {
            while results.currentGeneration == 0 { try await Task.sleep(for: .milliseconds(5)) }
            let value = try await body(results, producer)
            await results.close()
            await producer.close()
            return value
        }
        var value: Value?
        for try await part in group { value = part ?? value }
        guard let value else { throw CancellationError() }
        return value
    }
}

/// Without a result for so long, there will be no more: a process has ended.
let benchStall: Duration = .seconds(60)

/// Ends the deliveries once no result has rung `life` for so long, so that whoever reads them does not wait for ever.
func endStalled(_ results: AMQPConsumer, _ life: Bell) async {
    while await life.wait(atMost: benchStall) {}
    await results.close()
}

/// What a result's id says: `SUBSYSTEM/KEY/OUTCOME`. Keys of benchmarks have no slash in them.
struct ResultID {
    let key: String
    let outcome: Substring

    /// Nil for what is no result.
    init?(_ delivery: AMQPDelivery) {
        let parts = delivery.properties.messageID?.split(separator: "/") ?? []
        guard parts.count == 3 else { return nil }
        key = String(parts[1])
        outcome = parts[2]
    }

    var hasSucceeded: Bool { outcome == "succeeded" }
}
