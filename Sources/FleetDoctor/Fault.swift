/// Everything that the doctor can find. The raw value is the code, which never changes.
public enum Fault: String, Sendable, CaseIterable {
    // Exchanges and queues
    case exchangeMissing = "exchange-missing"
    case exchangeKind = "exchange-kind"
    case alternateExchangeMissing = "alternate-exchange-missing"
    case queueMissing = "queue-missing"
    case queueKind = "queue-kind"
    case bindingMissing = "binding-missing"
    case deliveryLimitMissing = "delivery-limit-missing"
    case deliveryLimitLow = "delivery-limit-low"
    case deadLetterExchange = "dead-letter-exchange"
    case deadLetterStrategy = "dead-letter-strategy"
    case overflowDrops = "overflow-drops"
    case queueUnlimited = "queue-unlimited"
    // Users and rights
    case userShared = "user-shared"
    case permissionMissing = "permission-missing"
    case permissionWide = "permission-wide"
    case tagWide = "tag-wide"
    case guestPassword = "guest-password"
    // The broker's nodes
    case brokerVersion = "broker-version"
    case featureFlag = "feature-flag"
    case consumerTimeoutShort = "consumer-timeout-short"
    case consumerTimeoutTight = "consumer-timeout-tight"
    case memoryAlarm = "memory-alarm"
    case memoryHigh = "memory-high"
    case diskAlarm = "disk-alarm"
    case diskLow = "disk-low"
    case nodeDown = "node-down"
    case clusterPartition = "cluster-partition"
    case queueSingleMember = "queue-single-member"
    case queueMembersFew = "queue-members-few"
    // Links
    case brokerWithoutTLS = "broker-without-tls"
    case managementWithoutTLS = "management-without-tls"
    case databaseWithoutTLS = "database-without-tls"
    case clockApart = "clock-apart"
    // The fleet at work
    case workerAbsent = "worker-absent"
    case leaderAbsent = "leader-absent"
    case consumerMissing = "consumer-missing"
    case queueUnserved = "queue-unserved"
    case deadMany = "dead-many"
    case unroutableMany = "unroutable-many"
    case agendaOverdue = "agenda-overdue"
    // The database
    case schemaBehind = "schema-behind"
    case schemaAhead = "schema-ahead"
    case databaseVersion = "database-version"
    case databaseStandby = "database-standby"
    case databaseEncoding = "database-encoding"
    case fsyncOff = "fsync-off"
    case fullPageWritesOff = "full-page-writes-off"
    case synchronousCommitOff = "synchronous-commit-off"
    case autovacuumOff = "autovacuum-off"
    case connectionsNearLimit = "connections-near-limit"
    case transactionOld = "transaction-old"
    case databaseRoleShared = "database-role-shared"
    case databaseRoleWide = "database-role-wide"
    case grantMissing = "grant-missing"

    public var code: String { rawValue }
    public var level: Level { facts.level }
    /// What it means where it is found, a sentence.
    public var summary: String { facts.summary }

    private var facts: (level: Level, summary: String) {
        switch self {
        case .exchangeMissing: (.error, "An exchange of the fleet is missing: what is published to it is refused.")
        case .exchangeKind: (.error, "An exchange has another type, or does not outlive the broker.")
        case .alternateExchangeMissing:
            (.error, "gaia.jobs has no alternate exchange: jobs that fit no queue are dropped without a word.")
        case .queueMissing: (.error, "A queue of the fleet is missing: its messages go to gaia.unroutable, or nowhere.")
        case .queueKind: (.error, "A queue is no quorum queue: it is lost with its node, and has no delivery limit.")
        case .bindingMissing: (.error, "A queue is not bound to its exchange: nothing arrives in it.")
        case .deliveryLimitMissing:
            (.error, "A queue has no delivery limit: a message that kills its workers does so for ever.")
        case .deliveryLimitLow:
            (.warning, "A delivery limit is so low that losses of workers push innocent jobs over it.")
        case .deadLetterExchange:
            (.error, "A queue does not dead-letter to gaia.dead: what the broker sets aside is dropped.")
        case .deadLetterStrategy:
            (.error, "A queue dead-letters at most once: a message may be lost on its way to gaia.dead.")
        case .overflowDrops: (.error, "A full queue drops messages in place of refusing them.")
        case .queueUnlimited:
            (.warning, "A queue has no length limit: a backlog ends at the disk alarm, which stops all that publish.")
        case .userShared: (.warning, "Workers and dispatchers use one broker user: each has the rights of both.")
        case .permissionMissing: (.error, "A user may not do what its part needs.")
        case .permissionWide: (.warning, "A user may do more than its part needs.")
        case .tagWide: (.warning, "A user has a tag that its part does not need.")
        case .guestPassword: (.warning, "The user guest is let in with its well-known password.")
        case .brokerVersion: (.error, "RabbitMQ is older than 3.10: no dead-lettering at least once.")
        case .featureFlag:
            (.warning, "A stable feature flag is disabled: the next upgrade of RabbitMQ may refuse to start.")
        case .consumerTimeoutShort:
            (
                .error,
                "The broker takes deliveries back before the longest job may end, and closes the worker's channel."
            )
        case .consumerTimeoutTight:
            (.warning, "The broker may take a delivery back that waited behind one long job and then runs as long.")
        case .memoryAlarm: (.error, "A node is out of memory: all that publish are blocked.")
        case .memoryHigh: (.warning, "A node is near its memory limit.")
        case .diskAlarm: (.error, "A node is out of disk: all that publish are blocked.")
        case .diskLow: (.warning, "A node's disk is near its limit.")
        case .nodeDown: (.error, "A node of the cluster does not run.")
        case .clusterPartition: (.error, "Nodes of the cluster do not see each other.")
        case .queueSingleMember: (.error, "A queue in a cluster has one member: it stands still with that node.")
        case .queueMembersFew: (.warning, "A queue has fewer members than the cluster has nodes for it.")
        case .brokerWithoutTLS: (.warning, "Jobs and passwords go over the network in the clear.")
        case .managementWithoutTLS: (.warning, "The management user's password goes over the network in the clear.")
        case .databaseWithoutTLS: (.warning, "The ledger goes over the network in the clear.")
        case .clockApart: (.warning, "Two clocks are apart: logs, certificates and times in results mislead.")
        case .workerAbsent: (.error, "No worker lives: no job runs.")
        case .leaderAbsent:
            (.error, "No dispatcher leads: retries, jobs for later and jobs of lost workers stand still.")
        case .consumerMissing: (.error, "A process lives, and does not consume from its queue.")
        case .queueUnserved: (.error, "Jobs wait in a queue that no worker serves.")
        case .deadMany: (.warning, "Many messages are set aside in gaia.dead.")
        case .unroutableMany: (.warning, "Many messages are in gaia.unroutable.")
        case .agendaOverdue: (.warning, "Deliveries that were due long ago are not published.")
        case .schemaBehind: (.error, "The database's schema is missing or older than this program.")
        case .schemaAhead: (.warning, "The database's schema is of a later release than this program.")
        case .databaseVersion: (.error, "PostgreSQL is older than 15.")
        case .databaseStandby: (.error, "The database is a standby: nothing can be written.")
        case .databaseEncoding: (.error, "The database's encoding is not UTF8: payloads cannot be stored.")
        case .fsyncOff: (.error, "fsync is off: a crash of the machine can destroy the ledger.")
        case .fullPageWritesOff:
            (.error, "full_page_writes is off: a crash of the machine can tear pages of the ledger.")
        case .synchronousCommitOff:
            (.error, "synchronous_commit is off: a completion that was answered may be lost, and its job run again.")
        case .autovacuumOff: (.warning, "autovacuum is off: the ledger grows without end.")
        case .connectionsNearLimit: (.warning, "The database has few connections left.")
        case .transactionOld:
            (.warning, "A transaction has been open for long: what it could see cannot be cleaned up.")
        case .databaseRoleShared: (.warning, "Workers and dispatchers use one database role.")
        case .databaseRoleWide: (.warning, "A role may do more than its part needs, such as change the schema.")
        case .grantMissing: (.error, "A role lacks a right on a table or function of the fleet.")
        }
    }
}
