import AMQPClient
import Dispatch
import FleetStack
import Foundation
import Logging
import PostgresClient
import Synchronization

/// The broker and the database that the tests of this process share.
public struct TestStack: Sendable {
    public let amqpURL: String
    public let managementURL: String
    public let databaseURL: String
    let management: ManagementAPI
    /// The user whom the broker knows.
    let user: String
    private let administration: PostgresPool

    /// The stack of this process; started at the first call when the environment names none.
    public static func shared() async throws -> TestStack { try await starting.value }

    private static let starting = Task { () async throws -> TestStack in
        let environment = ProcessInfo.processInfo.environment
        if let amqpURL = environment["GAIA_TEST_AMQP_URL"], let managementURL = environment["GAIA_TEST_MANAGEMENT_URL"],
            let databaseURL = environment["GAIA_TEST_DATABASE_URL"]
        {
            return try TestStack(amqpURL: amqpURL, managementURL: managementURL, databaseURL: databaseURL)
        }
        let directory = temporaryDirectory("stack")
        let stack = try await Stack.up(directory: directory)
        OwnStack.directory.withLock { $0 = directory }
        atexit { OwnStack.down() }
        guard let managementURL = stack.broker.managementURL else {
            throw StackError(.startFailed, "the test stack has no management plugin")
        }
        return try TestStack(
            amqpURL: stack.broker.amqpURL, managementURL: managementURL, databaseURL: stack.database.url)
    }

    private init(amqpURL: String, managementURL: String, databaseURL: String) throws {
        self.amqpURL = amqpURL
        self.managementURL = managementURL
        self.databaseURL = databaseURL
        let broker = try AMQPConfiguration(url: amqpURL)
        guard let port = URL(string: managementURL)?.port.flatMap({ UInt16(exactly: $0) }) else {
            throw StackError(.refused, "GAIA_TEST_MANAGEMENT_URL names no port: \(managementURL)")
        }
        user = broker.user
        management = ManagementAPI(port: port, user: broker.user, password: broker.password)
        var configuration = try PostgresConfiguration(url: databaseURL)
        configuration.poolSize = 2
        configuration.applicationName = "gaia tests"
        administration = PostgresPool(configuration: configuration, logger: testLogger)
        // Runs for as long as the process does, which is how long the stack is needed.
        Task { [administration] in try await administration.run() }
    }

    /// A statement outside of any test's database.
    func administer(_ sql: String) async throws { try await administration.script(sql) }

    /// Asks the management plugin, as it escapes names: for what tests must see as an operator would.
    public func ask(_ method: String, _ path: String, body: String = "") async throws -> String {
        try await management.send(method, path, body: body)
    }

    static func url(_ url: String, path: String) -> String {
        guard let slash = url.lastIndex(of: "/") else { return url }
        return url[...slash] + path
    }
}

/// The stack that was started for this process.
private enum OwnStack {
    static let directory = Mutex<String?>(nil)

    /// Called when the process exits: the servers would end with it anyway, but not their files.
    static func down() {
        guard let directory = directory.withLock({ $0 }) else { return }
        let done = DispatchSemaphore(value: 0)
        Task {
            do { try await Stack.down(directory: directory, remove: true) } catch {
                fputs("the test stack in \(directory) could not be taken down: \(error)\n", stderr)
            }
            done.signal()
        }
        _ = done.wait(timeout: .now() + 60)
    }
}

/// Logs what `GAIA_TEST_LOG` asks for.
public let testLogger: Logger = {
    var logger = Logger(label: "test") { StreamLogHandler.standardError(label: $0) }
    logger.logLevel = ProcessInfo.processInfo.environment["GAIA_TEST_LOG"].flatMap { Logger.Level(rawValue: $0) } ?? .critical
    return logger
}()

/// A path below which the servers' users can reach; nothing is there yet.
public func temporaryDirectory(_ purpose: String) -> String {
    "/var/tmp/gaia-test-\(getpid())-\(purpose)-\(UUID().uuidString.prefix(8).lowercased())"
}
