import AMQPClient
import FleetBroker
import FleetStore
import Logging
import PostgresClient

/// # FleetDoctor
///
/// Looks at a deployment and names what is wrong with it, each fault with its remedy. It declares nothing and changes
/// nothing.
///
/// ```
///  DatabaseProbe ──SQL─────────┐
///  SessionProbe ──AMQP─────────┼──▶ Deployment ──checks──▶ [Finding]
///  ManagementProbe ──HTTP──────┘    (a snapshot)           (a Fault, where, what, remedy)
/// ```
///
/// The probes only look, and what they could not see they say. The checks are pure functions from the snapshot to findings,
/// one file for each group. What the fleet needs stands elsewhere and is only compared with: ``FleetBroker/topology(subsystems:)``,
/// ``BrokerDefinitions/Role`` and ``FleetStore/schemaStatus()``.
public struct FleetDoctor: Sendable {
    private let configuration: DoctorConfiguration
    private let logger: Logger

    public init(_ configuration: DoctorConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
    }

    /// Looks at everything once. A server that cannot be reached is no error here: what the others show is told all the same.
    public func examine() async -> Examination {
        var unreachable: [String] = []
        var unseen: [String] = []

        var database: DatabaseState?
        do {
            database = try await DatabaseProbe(configuration.database, logger: logger).look(&unseen)
        } catch {
            unreachable.append("the database: \(error); check database.url (GAIA_DATABASE_URL)")
        }

        // A service of somebody's own has queues that this program does not know of; its workers do.
        let served = database?.fleet?.workers.flatMap(\.subsystems) ?? []
        let needs = Needs(
            subsystems: Set(configuration.subsystems).union(served), longestRuns: configuration.longestRuns,
            bounds: configuration.bounds)

        var broker: BrokerState?
        do {
            broker = try await SessionProbe(configuration.amqp).look(for: needs.topology)
        } catch {
            unreachable.append("the broker: \(error); check amqp.url (GAIA_AMQP_URL)")
        }
        if let address = configuration.management {
            do {
                let seen = try await ManagementProbe(address, virtualHost: configuration.amqp.virtualHost).look(&unseen)
                if broker == nil {
                    var alone = BrokerState(
                        endpoints: configuration.amqp.endpoints, virtualHost: configuration.amqp.virtualHost)
                    alone.addAlone(seen)
                    broker = alone
                    unseen.append("messages in queues: AMQP does not answer")
                } else {
                    broker?.add(seen)
                }
            } catch {
                unreachable.append("the management plugin: \(error); check management.url (GAIA_MANAGEMENT_URL)")
            }
        } else {
            unseen.append(
                "kinds and arguments of exchanges and queues, bindings, limits, users and rights, nodes: "
                    + "set management.url (GAIA_MANAGEMENT_URL)")
        }

        let deployment = Deployment(needs: needs, broker: broker, database: database)
        return Examination(
            seen: deployment.portrait, findings: deployment.findings, unseen: unseen, unreachable: unreachable)
    }
}

/// What came of a look at a deployment.
public struct Examination: Sendable {
    /// What was looked at, a line each.
    public let seen: [String]
    /// Errors first.
    public internal(set) var findings: [Finding]
    /// What could not be looked at, and why.
    public let unseen: [String]
    /// Servers that did not answer, or let nobody in.
    public let unreachable: [String]

    /// The same with only the faults that are wanted.
    public func keeping(_ isWanted: (Fault) -> Bool) -> Examination {
        var kept = self
        kept.findings = findings.filter { isWanted($0.fault) }
        return kept
    }
}
