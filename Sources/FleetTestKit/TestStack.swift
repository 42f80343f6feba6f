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
    /// What Prometheus scrapes.
    public let brokerMetricsURL: String
    public let databaseURL: String
    let management: ManagementAPI
    /// The user whom the broker knows.
    let user: String
    private let administration: PostgresPool

    /// The servers themselves, when this process started them.
    public let own: Stack?

    /// The stack of this process; started at the first call when the environment names none.
    public static func shared() async throws -> TestStack { try await starting.value }

    /// A stack that tests may kill, pause and restart. It goes when the process ends.
    ///
    /// - Parameter brokerSettings: lines of rabbitmq.conf.
    public static func start(
        _ purpose: String, brokerSettings: [String: String] = [:]
    ) async throws -> TestStack {
        let directory = temporaryDirectory(purpose)
        OwnStacks.willStart(in: directory)
        let stack = try await Stack.up(Stack.Options(directory: directory, brokerSettings: brokerSettings))
        guard let managementURL = stack.broker.managementURL, let metricsURL = stack.broker.metricsURL else {
            throw StackError(.startFailed, "the test stack has no management plugin")
        }
        return try TestStack(
            amqpURL: stack.broker.amqpURL, managementURL: managementURL, brokerMetricsURL: metricsURL,
            databaseURL: stack.database.url, own: stack)
    }

    private static let starting = Task { () async throws -> TestStack in
        let environment = ProcessInfo.processInfo.environment
        if let amqpURL = environment["GAIA_TEST_AMQP_URL"], let managementURL = environment["GAIA_TEST_MANAGEMENT_URL"],
            let metricsURL = environment["GAIA_TEST_BROKER_METRICS_URL"],
            let databaseURL = environment["GAIA_TEST_DATABASE_URL"]
        {
            return try TestStack(
                amqpURL: amqpURL, managementURL: managementURL, brokerMetricsURL: metricsURL, databaseURL: databaseURL,
                own: nil)
        }
        return try await start("shared")
    }

    private init(
        amqpURL: String, managementURL: String, brokerMetricsURL: String, databaseURL: String, own: Stack?
    ) throws {
        self.own = own
        self.brokerMetricsURL = brokerMetricsURL
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
    public func administer(_ sql: String) async throws { try await administration.script(sql) }

    /// Asks the management plugin, as it escapes names: for what tests must see as an operator would.
    public func ask(_ method: String, _ path: String, body: String = "") async throws -> String {
        try await management.send(method, path, body: body)
    }

    static func url(_ url: String, path: String) -> String {
        guard let slash = url.lastIndex(of: "/") else { return url }
        return url[...slash] + path
    }
}

/// The stacks that were started for this process.
private enum OwnStacks {
    private static let directories = Mutex<[String]>([])

    static func willStart(in directory: String) {
        let isFirst = directories.withLock { directories in
            directories.append(directory)
            return directories.count == 1
        }
        // The servers end with the process anyway, but not their files.
        if isFirst { atexit { OwnStacks.down() } }
    }

    private static func down() {
        let directories = directories.withLock { $0 }
        let done = DispatchSemaphore(value: 0)
        Task {
            await withDiscardingTaskGroup { group in
                for directory in directories {
                    group.addTask {
                        do { try await Stack.down(directory: directory, remove: true) } catch {
                            testLogger.critical("the test stack in \(directory) could not be taken down: \(error)")
                        }
                    }
                }
            }
            done.signal()
        }
        _ = done.wait(timeout: .now() + 60)
    }
}

/// Logs what `GAIA_TEST_LOG` asks for.
public let testLogger: Logger = {
    var logger = Logger(label: "test") { StreamLogHandler.standardError(label: $0) }
    logger.logLevel =
        ProcessInfo.processInfo.environment["GAIA_TEST_LOG"].flatMap { Logger.Level(rawValue: $0) } ?? .critical
    return logger
}()

/// A path below which the servers' users can reach; nothing is there yet.
public func temporaryDirectory(_ purpose: String) -> String {
    "/var/tmp/gaia-test-\(getpid())-\(purpose)-\(UUID().uuidString.prefix(8).lowercased())"
}
