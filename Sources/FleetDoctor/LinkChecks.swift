import FleetModel

/// How the parts are connected: encryption beyond the machine itself, and clocks.
enum LinkChecks {
    static func findings(_ deployment: Deployment) -> [Finding] { encryption(deployment) + clocks(deployment) }

    private static func encryption(_ deployment: Deployment) -> [Finding] {
        var findings: [Finding] = []
        if let broker = deployment.broker {
            for endpoint in broker.endpoints where !endpoint.tls && !isLoopback(endpoint.host) {
                findings.append(
                    Finding(
                        .brokerWithoutTLS, "broker \(endpoint)", "It is reached by amqp:// over a network.",
                        remedy: "amqps:// with ?cacertfile=…, and configs/rabbitmq/tls.conf on the broker"))
            }
            if let management = broker.management, !management.isEncrypted, !isLoopback(management.host) {
                findings.append(
                    Finding(
                        .managementWithoutTLS, "management plugin", "\(management) is reached over a network.",
                        remedy: "https://, and configs/rabbitmq/tls.conf on the broker"))
            }
        }
        if let database = deployment.database, database.server.isRemote, !database.server.isEncrypted {
            findings.append(
                Finding(
                    .databaseWithoutTLS, "database", "\(database.target) is reached over a network.",
                    remedy: "sslmode=verify-full&sslrootcert=… in GAIA_DATABASE_URL, and ssl = on in postgresql.conf"))
        }
        return findings
    }

    /// Each pair of clocks, as far as they told their time.
    private static func clocks(_ deployment: Deployment) -> [Finding] {
        let bound = deployment.needs.bounds.clockApartMax
        var ahead: [(name: String, by: Duration)] = [("this machine", .zero)]
        if let database = deployment.database { ahead.append(("the database", database.server.clockAhead)) }
        if let broker = deployment.broker?.server?.clockAhead { ahead.append(("the broker", broker)) }
        guard let first = ahead.min(by: { $0.by < $1.by }), let last = ahead.max(by: { $0.by < $1.by }),
            last.by - first.by > bound
        else { return [] }
        let apart = Int((last.by - first.by).inSeconds.rounded())
        return [
            Finding(
                .clockApart, "clocks", "The clock of \(last.name) is \(apart) s ahead of that of \(first.name).",
                remedy: "let all machines keep time by NTP, such as with chrony")
        ]
    }
}
