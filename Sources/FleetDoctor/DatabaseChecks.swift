import FleetModel
import FleetStore

/// The database: schema, what keeps it from losing commits, room, and what roles may.
enum DatabaseChecks {
    static func findings(_ deployment: Deployment) -> [Finding] {
        guard let database = deployment.database else { return [] }
        return schema(database) + server(database.server) + commits(database)
            + load(database.server, deployment.needs.bounds) + roles(database.roles)
    }

    private static func schema(_ database: DatabaseState) -> [Finding] {
        switch database.schema {
        case .current: []
        case .behind(let version, let needed):
            [
                Finding(
                    .schemaBehind, "database",
                    version == 0
                        ? "It has no schema of the fleet."
                        : "Its schema has version \(version), this program needs \(needed).",
                    remedy: "gaia migrate, as the schema's owner")
            ]
        case .ahead(let version, let known):
            [
                Finding(
                    .schemaAhead, "database", "Its schema has version \(version), this program knows \(known).",
                    remedy: "upgrade this program; older ones go on working, as steps only add")
            ]
        }
    }

    static let oldestVersion = 150_000

    private static func server(_ server: DatabaseState.Server) -> [Finding] {
        var findings: [Finding] = []
        if server.version < oldestVersion {
            findings.append(
                Finding(
                    .databaseVersion, "database", "It is PostgreSQL \(server.version / 10_000).",
                    remedy: "upgrade it to 15 or later"))
        }
        if server.isStandby {
            findings.append(
                Finding(
                    .databaseStandby, "database", "It is in recovery.",
                    remedy: "name the primary, or all hosts with target_session_attrs=read-write, in GAIA_DATABASE_URL")
            )
        }
        if server.encoding != "UTF8" {
            findings.append(
                Finding(
                    .databaseEncoding, "database", "Its encoding is \(server.encoding).",
                    remedy: "make the database anew: create database … encoding 'UTF8' template template0"))
        }
        return findings
    }

    // MARK: Commits

    private static func commits(_ database: DatabaseState) -> [Finding] {
        let server = database.server
        var findings: [Finding] = []
        func setting(_ fault: Fault, _ name: String) {
            findings.append(
                Finding(
                    fault, "database", "\(name) = off.", remedy: "\(name) = on in postgresql.conf, then reload"))
        }
        if !server.fsync { setting(.fsyncOff, "fsync") }
        if !server.fullPageWrites { setting(.fullPageWritesOff, "full_page_writes") }
        if !server.autovacuum { setting(.autovacuumOff, "autovacuum") }
        if server.synchronousCommit == "off" {
            findings.append(
                Finding(
                    .synchronousCommitOff, "database", "synchronous_commit = off.",
                    remedy: "synchronous_commit = on in postgresql.conf, and alter database … reset synchronous_commit")
            )
        }
        for role in database.roles where role.commitsLoosely {
            findings.append(
                Finding(
                    .synchronousCommitOff, "role \(role.name)", "The role has synchronous_commit = off.",
                    remedy: "alter role \(role.name) reset synchronous_commit, also in the database"))
        }
        return findings
    }

    // MARK: Load

    private static func load(_ server: DatabaseState.Server, _ bounds: Bounds) -> [Finding] {
        var findings: [Finding] = []
        for (usage, what) in [
            (server.connections, "max_connections"), (server.ownConnections, "the database's own limit"),
        ]
        where usage.limit >= 0 && Double(usage.used) > Double(usage.limit) * bounds.connectionShareMax {
            findings.append(
                Finding(
                    .connectionsNearLimit, "database",
                    "\(usage.used) of \(usage.limit) connections are used (\(what)).",
                    remedy:
                        "raise the limit, or database.pool_size down: a worker holds pool_size + 2, a dispatcher + 2"))
        }
        if let age = server.oldestTransaction, age > bounds.transactionAgeMax {
            findings.append(
                Finding(
                    .transactionOld, "database", "A transaction has been open for \(Int(age.inSeconds)) s.",
                    remedy: "select pid, usename, query from pg_stat_activity order by xact_start; end it, and set "
                        + "idle_in_transaction_session_timeout"))
        }
        return findings
    }

    // MARK: Roles

    private static func roles(_ roles: [DatabaseState.Role]) -> [Finding] {
        Dictionary(grouping: roles, by: \.name).sorted { $0.key < $1.key }.flatMap { name, entries -> [Finding] in
            let place = "role \(name)"
            let part = Set(entries.map(\.part)).sorted().joined(separator: " and ")
            var findings: [Finding] = []
            if Set(entries.map(\.part)).count > 1 {
                findings.append(
                    Finding(
                        .databaseRoleShared, place, "Both workers and dispatchers are connected as this role.",
                        remedy: "roles of their own: configs/postgresql/roles.sql, then GAIA_DATABASE_URL of each"))
            }
            let wide = Set(entries.flatMap(\.wide)).sorted()
            if !wide.isEmpty {
                findings.append(
                    Finding(
                        .databaseRoleWide, place, "As a \(part) it \(wide.joined(separator: ", ")).",
                        remedy: "a role that does not own the schema: configs/postgresql/roles.sql"))
            }
            let missing = Set(entries.flatMap(\.missing)).sorted()
            if !missing.isEmpty {
                let more = missing.count > 3 ? " and \(missing.count - 3) more" : ""
                findings.append(
                    Finding(
                        .grantMissing, place,
                        "As a \(part) it lacks \(missing.prefix(3).joined(separator: ", "))\(more).",
                        remedy: "run configs/postgresql/roles.sql again"))
            }
            return findings
        }
    }
}
