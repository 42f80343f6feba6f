import AMQPClient
import Foundation
import PostgresClient

/// What to look at, and what it is measured by.
public struct DoctorConfiguration: Sendable {
    public var amqp: AMQPConfiguration
    public var database: PostgresConfiguration
    /// Nil leaves out what only the management plugin can tell.
    public var management: ManagementAddress?
    /// Whose queues must be there. Those that live workers serve are added.
    public var subsystems: [String]
    /// The longest that a job of each subsystem may run in one attempt.
    public var longestRuns: [String: Duration]
    public var bounds = Bounds()

    public init(
        amqp: AMQPConfiguration, database: PostgresConfiguration, management: ManagementAddress? = nil,
        subsystems: [String], longestRuns: [String: Duration] = [:]
    ) {
        self.amqp = amqp
        self.database = database
        self.management = management
        self.subsystems = subsystems
        self.longestRuns = longestRuns
    }
}

/// From where on something is a fault.
public struct Bounds: Sendable {
    /// Messages in `gaia.dead`, and in `gaia.unroutable`.
    public var setAsideMax = 100
    /// How far two clocks may be apart. The broker tells its time in whole seconds.
    public var clockApartMax: Duration = .seconds(5)
    /// Free bytes of disk above the broker's limit, at least.
    public var diskHeadroomBytesMin = 1 << 30
    /// Of the broker's memory limit.
    public var memoryShareMax = 0.9
    /// Of the database's connections.
    public var connectionShareMax = 0.8
    /// How long a transaction may be open.
    public var transactionAgeMax: Duration = .seconds(600)
    /// How long a delivery may have been due.
    public var overdueMax: Duration = .seconds(60)

    public init() {}
}

/// Where RabbitMQ's management plugin is, and who asks it.
public struct ManagementAddress: Sendable, CustomStringConvertible {
    /// Without user, password and trailing slash.
    let url: String
    let host: String
    let isEncrypted: Bool
    let user: String
    let password: String
    /// A PEM file of the authorities to trust instead of the system's.
    let caFile: String?

    /// - Parameter fallback: whose user, password and authorities count where the URL names none.
    /// - Throws: ``ManagementAddressError``, without the password.
    public init(url text: String, fallback: AMQPConfiguration) throws(ManagementAddressError) {
        guard var parts = URLComponents(string: text), let scheme = parts.scheme?.lowercased(),
            ["http", "https"].contains(scheme), let host = parts.host, !host.isEmpty
        else { throw ManagementAddressError() }
        // A user without a password is one whose password is empty, not that of another.
        let (user, password) = (parts.user, parts.password)
        (self.user, self.password) = user.map { ($0, password ?? "") } ?? (fallback.user, fallback.password)
        (parts.user, parts.password, parts.query, parts.fragment) = (nil, nil, nil, nil)
        guard let bare = parts.string else { throw ManagementAddressError() }
        url = String(bare.reversed().drop { $0 == "/" }.reversed())
        self.host = host
        isEncrypted = scheme == "https"
        caFile = fallback.tls.caFile
    }

    public var description: String { url }
}

public struct ManagementAddressError: Error, Sendable, CustomStringConvertible {
    public let description = "it must be an address as in http://user:password@host:15672"
}
