import AMQPClient
import FleetStack
import Foundation
import Logging
import Synchronization
import TestPatience
import Testing

/// The broker that tests share: the one the environment names, else one started for this run.
enum SharedBroker {
    private static let started = Task { () async throws -> (url: String, management: String) in
        let environment = ProcessInfo.processInfo.environment
        if let url = environment["GAIA_TEST_AMQP_URL"], let management = environment["GAIA_TEST_MANAGEMENT_URL"] {
            return (url, management)
        }
        let broker = try await PrivateBroker.start(.init(directory: temporaryDirectory("shared")))
        return (broker.amqpURL, try #require(broker.managementURL))
    }

    /// Runs `body` as a user of its own, with these rights in the virtual host of a configuration.
    static func withUser<Result>(
        _ configuration: AMQPConfiguration, configure: String, write: String, read: String,
        _ body: (AMQPConfiguration) async throws -> Result
    ) async throws -> Result {
        let (_, management) = try await started.value
        let port = try #require(UInt16(management.split(separator: ":").last ?? ""))
        let api = ManagementAPI(port: port, user: configuration.user, password: configuration.password)
        var limited = configuration
        (limited.user, limited.password) = ("amqp-test-\(UUID().uuidString)", UUID().uuidString)
        let user = #"{"password": "\#(limited.password)", "tags": ""}"#
        _ = try await api.send("PUT", "/api/users/\(limited.user)", body: user)
        let rights = #"{"configure": "\#(configure)", "write": "\#(write)", "read": "\#(read)"}"#
        let result: Swift.Result<Result, any Error>
        do {
            _ = try await api.send(
                "PUT", "/api/permissions/\(configuration.virtualHost)/\(limited.user)", body: rights)
            result = .success(try await body(limited))
        } catch {
            result = .failure(error)
        }
        _ = try await api.send("DELETE", "/api/users/\(limited.user)")
        return try result.get()
    }

    /// Runs `body` with a virtual host of its own.
    static func withVirtualHost<Result>(_ body: (AMQPConfiguration) async throws -> Result) async throws -> Result {
        let (url, management) = try await started.value
        var configuration = try AMQPConfiguration(url: url)
        let port = try #require(UInt16(management.split(separator: ":").last ?? ""))
        let api = ManagementAPI(port: port, user: configuration.user, password: configuration.password)
        configuration.virtualHost = "amqp-test-\(UUID().uuidString)"
        configuration.backoff = AMQPBackoff(initial: .milliseconds(10), max: .milliseconds(200))
        try await api.createVirtualHost(configuration.virtualHost, user: configuration.user)
        do {
            let result = try await body(configuration)
            try await api.deleteVirtualHost(configuration.virtualHost)
            return result
        } catch {
            try await api.deleteVirtualHost(configuration.virtualHost)
            throw error
        }
    }
}

func temporaryDirectory(_ name: String) -> String {
    "\(NSTemporaryDirectory())/gaia-amqp-\(name)-\(ProcessInfo.processInfo.processIdentifier)"
}

let testLogger: Logger = {
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    return logger
}()

struct TookTooLong: Error, CustomStringConvertible {
    let limit: Duration
    var description: String { "nothing came within \(limit)" }
}

/// Runs `body`, cancelled and failed once `limit` is over.
func within<Result: Sendable>(
    _ limit: Duration, _ body: @escaping @Sendable () async throws -> Result
) async throws -> Result {
    try await withThrowingTaskGroup(of: Result?.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await Task.sleep(for: limit)
            return nil
        }
        defer { group.cancelAll() }
        guard let first = try await group.next(), let result = first else { throw TookTooLong(limit: limit) }
        return result
    }
}

/// Collects what happens to a link.
final class EventLog: Sendable {
    private let events = Mutex<[AMQPLinkEvent]>([])

    var record: @Sendable (AMQPLinkEvent) -> Void {
        { event in self.events.withLock { $0.append(event) } }
    }

    func has(
        _ fits: @escaping @Sendable (AMQPLinkEvent) -> Bool, within limit: Duration = patienceOfTests
    ) async throws -> Bool {
        do {
            try await eventually("an event of the link", within: limit) {
                events.withLock { $0.contains(where: fits) }
            }
            return true
        } catch is NotInTime { return false }
    }

    var generations: [UInt32] {
        events.withLock { events in
            events.compactMap { if case .connected(let generation, _) = $0 { generation } else { nil } }
        }
    }

    var foundIdle: [String] {
        events.withLock { events in events.compactMap { if case .queueFoundIdle(let queue) = $0 { queue } else { nil } }
        }
    }

    var disconnections: [AMQPError] {
        events.withLock { events in events.compactMap { if case .disconnected(let error) = $0 { error } else { nil } } }
    }
}

/// Runs a publisher around `body` and closes it.
func withPublisher<Result>(
    _ configuration: AMQPConfiguration, topology: AMQPTopology = AMQPTopology(), maxUnconfirmed: Int = 2000,
    publishTimeout: Duration = .seconds(30), refusalPatience: Duration = .seconds(5), events: EventLog = EventLog(),
    _ body: (AMQPPublisher) async throws -> Result
) async throws -> Result {
    let publisher = AMQPPublisher(
        configuration: configuration, topology: topology, maxUnconfirmed: maxUnconfirmed,
        publishTimeout: publishTimeout, refusalPatience: refusalPatience,
        logger: testLogger, onEvent: events.record)
    async let running: Void = publisher.run()
    do {
        let result = try await body(publisher)
        await publisher.close()
        try await running
        return result
    } catch {
        await publisher.close()
        throw error
    }
}

/// Runs a consumer around `body` and closes it.
func withConsumer<Result>(
    _ configuration: AMQPConfiguration, _ subscriptions: [AMQPSubscription], topology: AMQPTopology = AMQPTopology(),
    maxBatch: Int = AMQPConsumer.defaultMaxBatch, events: EventLog = EventLog(),
    _ body: (AMQPConsumer) async throws -> Result
) async throws -> Result {
    let consumer = AMQPConsumer(
        configuration: configuration, subscriptions: subscriptions, topology: topology, maxBatch: maxBatch,
        logger: testLogger, onEvent: events.record)
    async let running: Void = consumer.run()
    do {
        let result = try await body(consumer)
        await consumer.close()
        try await running
        return result
    } catch {
        await consumer.close()
        throw error
    }
}

extension AMQPConsumer {
    /// The next deliveries, at least `count`, without settling them.
    func take(_ count: Int, within limit: Duration = .seconds(120)) async throws -> [AMQPDelivery] {
        try await AMQPClientTests.within(limit) { [self] in
            var taken: [AMQPDelivery] = []
            for await batch in deliveries {
                taken += batch
                if taken.count >= count { break }
            }
            return taken
        }
    }
}

extension AMQPQueue {
    static func quorum(_ name: String, _ arguments: [String: AMQPValue] = [:]) -> AMQPQueue {
        AMQPQueue(name: name, arguments: arguments.merging(["x-queue-type": .string("quorum")]) { $1 })
    }
}

func message(_ queue: String, _ text: String, mandatory: Bool = false) -> AMQPMessage {
    AMQPMessage(
        exchange: "", routingKey: queue, mandatory: mandatory, properties: AMQPProperties(messageID: text),
        body: Array(text.utf8))
}
