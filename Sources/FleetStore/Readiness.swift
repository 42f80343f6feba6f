import FleetModel
import Logging
import PostgresClient

/// A process cannot begin: what it needs is not there. The text says what to do.
public struct NotReady: Error, Sendable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

extension FleetStore {
    /// Waits until the database answers and its schema is current. The pool must be running.
    ///
    /// - Parameter limit: how long to wait for a database that does not answer. What waiting cannot mend, such as a
    ///   refused password, ends it at once.
    public func awaitReady(_ configuration: PostgresConfiguration, limit: Duration, logger: Logger) async throws {
        // A connection of its own says at once why there is none; a statement would wait for one in the pool's line.
        let probe = PostgresDedicated(configuration: configuration, logger: logger)
        let status: SchemaStatus
        do {
            try await Patience(initial: .milliseconds(200), limit: limit)(
                isHopeless: { !(($0 as? PostgresError)?.isTransient ?? false) },
                onFailure: { error, count, _ in
                    if count == 1 || count % 10 == 0 {
                        logger.warning("waiting for the database, at most \(limit): \(error)")
                    }
                },
                { _ = try await probe.connect() })
            await probe.close()
            status = try await schemaStatus()
        } catch let error as PostgresError {
            throw NotReady(
                "the database cannot be used: \(error); check that it runs, and database.url (GAIA_DATABASE_URL)")
        }
        switch status {
        case .current: break
        case .behind(let version, let needed):
            throw NotReady(
                "the database schema is at version \(version), this program needs \(needed); run: gaia migrate")
        case .ahead(let version, let known):
            logger.notice("the database schema is at version \(version), newer than this program's \(known)")
        }
    }
}
