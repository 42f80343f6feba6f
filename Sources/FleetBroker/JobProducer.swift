import AMQPClient
import FleetModel
import Logging

/// Publishes jobs with confirms: what a Swift service uses to give work to the fleet.
///
/// ```swift
/// let producer = JobProducer(configuration, logger: logger)
/// async let link: Void = producer.run()
/// let outcomes = await producer.enqueue([try Job(Greet(name: "Ada"), key: "greet-ada")])
/// await producer.close()
/// ```
public final class JobProducer: Sendable {
    private let publisher: AMQPPublisher

    /// - Parameter topology: declared at each connect when given; a producer without the right to declare leaves it out.
    public init(
        _ configuration: AMQPConfiguration, topology: AMQPTopology = AMQPTopology(),
        publishTimeout: Duration = .seconds(30), logger: Logger
    ) {
        publisher = AMQPPublisher(
            configuration: configuration, topology: topology, publishTimeout: publishTimeout, logger: logger)
    }

    /// Keeps the connection until `close()`. Throws only what waiting cannot mend.
    public func run() async throws(AMQPError) { try await publisher.run() }

    public func close() async { await publisher.close() }

    /// Publishes a batch and waits for the broker's word on each.
    ///
    /// - Returns: an outcome for each job, in order. After `unknown` the job may be in the queue or not: enqueue it again
    ///   under the same key.
    public func enqueue(_ jobs: [Job]) async -> [EnqueueOutcome] {
        let now = WallClock.milliseconds
        return await publisher.publish(jobs.map { $0.message(publishedAt: now) }).map { EnqueueOutcome($0) }
    }
}

/// The broker's word on a job.
public enum EnqueueOutcome: Sendable, Equatable {
    /// Safe in the broker.
    case queued
    /// Certainly not in the broker: publish it again when the cause is mended.
    case failed(String)
    /// The link was lost before the answer: it may be in the broker. A repeat under the same key is harmless.
    case unknown(String)

    public init(_ outcome: AMQPPublishOutcome) {
        switch outcome {
        case .confirmed: self = .queued
        case .returned(let code, let reason): self = .failed("no queue takes it: \(code) \(reason)")
        case .refused: self = .failed("the broker refused it: the queue is full or lost its majority")
        case .unknown(let reason): self = .unknown(reason)
        case .notSent(let reason): self = .failed(reason)
        }
    }
}
