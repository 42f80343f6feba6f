import AMQPClient
import FleetModel
import FleetStore
import Foundation
import Logging
import PostgresClient

/// A virtual host and a database that nobody else uses.
public struct Isolated: Sendable {
    /// Of the virtual host and of the database.
    public let name: String
    public let amqpURL: String
    public let databaseURL: String
    public let amqp: AMQPConfiguration
    public let database: PostgresConfiguration
    public let stack: TestStack

    /// Tests run at once by the dozen, and each has some threads and connections: more than this many do not go faster.
    private static let turnstile = Turnstile(5)

    /// Makes the place, runs `body`, and removes the place.
    ///
    /// - Parameters:
    ///   - stack: where; the stack of this process when nil.
    ///   - migrated: whether the database has the ledger's schema.
    public static func use<Value>(
        on stack: TestStack? = nil, migrated: Bool = true, isolation: isolated (any Actor)? = #isolation,
        _ body: (Isolated) async throws -> Value
    ) async throws -> Value {
        await turnstile.enter()
        defer { turnstile.leave() }
        let stack = if let stack { stack } else { try await TestStack.shared() }
        let name = newName()
        return try await use(try Isolated(name, TestStack.url(stack.amqpURL, path: name), on: stack), migrated) {
            place in
            try await stack.management.createVirtualHost(name, user: stack.user)
            let result: Result<Value, any Error>
            do { result = .success(try await body(place)) } catch { result = .failure(error) }
            try await stack.management.deleteVirtualHost(name)
            return try result.get()
        }
    }

    /// The same with a broker of the test's own, on which nothing is made or removed. It waits for no other test, which
    /// would be with the broker running.
    ///
    /// - Parameter amqpURL: the broker, of one host or several, and the virtual host.
    public static func use<Value>(
        amqpURL: String, isolation: isolated (any Actor)? = #isolation, _ body: (Isolated) async throws -> Value
    ) async throws -> Value {
        try await use(try Isolated(newName(), amqpURL, on: try await TestStack.shared()), true, body)
    }

    private static func use<Value>(
        _ place: Isolated, _ migrated: Bool, isolation: isolated (any Actor)? = #isolation,
        _ body: (Isolated) async throws -> Value
    ) async throws -> Value {
        try await place.stack.administer("create database \(place.name)")
        let result: Result<Value, any Error>
        do {
            if migrated { try await place.withStore { _ = try await $0.migrate() } }
            result = .success(try await body(place))
        } catch {
            result = .failure(error)
        }
        try await place.stack.administer("drop database \(place.name) with (force)")
        return try result.get()
    }

    private static func newName() -> String { "test_\(getpid())_\(UUID().uuidString.prefix(8).lowercased())" }

    private init(_ name: String, _ amqpURL: String, on stack: TestStack) throws {
        self.name = name
        self.stack = stack
        self.amqpURL = amqpURL
        databaseURL = TestStack.url(stack.databaseURL, path: name)
        amqp = try AMQPConfiguration(url: amqpURL)
        var database = try PostgresConfiguration(url: databaseURL)
        database.poolSize = 2
        self.database = database
    }

    /// A pool that lives as long as `body`.
    public func withPool<Value: Sendable>(
        isolation: isolated (any Actor)? = #isolation, _ body: (PostgresPool) async throws -> Value
    ) async throws -> Value {
        try await FleetTestKit.withPool(database, body)
    }

    /// A store whose pool lives as long as `body`.
    public func withStore<Value: Sendable>(
        isolation: isolated (any Actor)? = #isolation, _ body: (FleetStore) async throws -> Value
    ) async throws -> Value {
        try await withPool { try await body(FleetStore(pool: $0)) }
    }

    /// A connection for looking into queues.
    public func withBroker<Value>(_ body: (AMQPSession) async throws -> Value) async throws -> Value {
        try await AMQPSession.withConnection(amqp, body)
    }

    /// What the programs of the fleet are told. Servers of tests listen on this machine, so jobs may call it.
    public var environment: [String: String] {
        ["GAIA_AMQP_URL": amqpURL, "GAIA_DATABASE_URL": databaseURL, "GAIA_API_ALLOW": "127.0.0.1"]
    }
}

/// A pool that lives as long as `body`.
public func withPool<Value: Sendable>(
    _ configuration: PostgresConfiguration, isolation: isolated (any Actor)? = #isolation,
    _ body: (PostgresPool) async throws -> Value
) async throws -> Value {
    let pool = PostgresPool(configuration: configuration, logger: testLogger)
    let running = Task { try await pool.run() }
    let result: Result<Value, any Error>
    do { result = .success(try await body(pool)) } catch { result = .failure(error) }
    await pool.close()
    try await running.value
    return try result.get()
}
