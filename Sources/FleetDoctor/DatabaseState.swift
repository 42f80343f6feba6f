import FleetStore

/// The database at one moment.
struct DatabaseState: Sendable {
    /// Host, port and name.
    var target: String
    var server: Server
    var schema: SchemaStatus
    /// The roles of workers, dispatchers and monitors. Empty without a schema.
    var roles: [Role] = []
    /// Nil without a current schema.
    var fleet: Fleet?

    struct Server: Sendable {
        /// As `server_version_num` has it: 150008 is 15.8.
        var version: Int
        var isStandby = false
        var encoding = "UTF8"
        var fsync = true
        var fullPageWrites = true
        /// Of this session, and so of the database unless a role has its own.
        var synchronousCommit = "on"
        var autovacuum = true
        var connections = Usage(used: 0, limit: 100)
        /// The same of this database alone; its limit is -1 when it has none.
        var ownConnections = Usage(used: 0, limit: -1)
        /// Of the oldest transaction in this database. Nil when there is none, or its age could not be seen.
        var oldestTransaction: Duration?
        /// Whether this session came from another machine.
        var isRemote = false
        var isEncrypted = false
        /// How far its clock is ahead of this machine's.
        var clockAhead: Duration = .zero
    }

    struct Usage: Sendable {
        var used: Int
        var limit: Int
    }

    struct Role: Sendable {
        var name: String
        /// `worker`, `dispatcher` or `monitor`.
        var part: String
        /// What it may beyond its part, as in `is a superuser`.
        var wide: [String] = []
        /// What it lacks, as in `insert on gaia.job`.
        var missing: [String] = []
        /// Whether it was told to commit without waiting for the disk.
        var commitsLoosely = false
    }

    /// What the ledger says of who is at work.
    struct Fleet: Sendable {
        /// Those that live.
        var workers: [Worker]
        /// Who leads at this moment.
        var leader: String?
        /// Types and subsystems that rest; ``Pauses/fleet`` for all.
        var pauses: [String] = []
        /// Deliveries that are due, and for how long the first of them has been.
        var overdue = 0
        var overdueFor: Duration = .zero
    }

    struct Worker: Sendable {
        var name: String
        var subsystems: [String]
    }

    var schemaText: String {
        switch schema {
        case .current(let version): "schema version \(version)"
        case .behind(version: 0, _): "no schema"
        case .behind(let version, let needed): "schema version \(version) of \(needed)"
        case .ahead(let version, let known): "schema version \(version), later than \(known)"
        }
    }
}
