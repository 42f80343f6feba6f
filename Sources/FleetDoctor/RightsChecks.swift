import FleetBroker

/// Whether each broker user has the rights of its part and no more.
///
/// Whose user is whose is seen in two ways: who consumes from a queue of jobs is a worker, and from `gaia.enqueue` a
/// dispatcher; and a user called `gaia-worker`, or `anything-worker`, is meant for workers.
enum RightsChecks {
    typealias Role = BrokerDefinitions.Role

    static func findings(_ deployment: Deployment) -> [Finding] {
        guard let broker = deployment.broker else { return [] }
        let atWork = rolesAtWork(broker)
        var findings = shared(atWork)
        for user in broker.users ?? [] {
            let roles = atWork[user.name, default: []].union(role(named: user.name).map { [$0] } ?? [])
            guard !roles.isEmpty else { continue }
            findings += rights(user, roles, deployment.needs) + tags(user, roles)
        }
        if broker.acceptsGuest == true {
            findings.append(
                Finding(
                    .guestPassword, "user guest", "It is let in with the password guest.",
                    remedy: "rabbitmqctl delete_user guest, once another administrator is there"))
        }
        return findings
    }

    // MARK: Who is who

    private static func rolesAtWork(_ broker: BrokerState) -> [String: Set<Role>] {
        var roles: [String: Set<Role>] = [:]
        for consumer in broker.consumers ?? [] {
            if consumer.queue == FleetBroker.enqueueQueue {
                roles[consumer.user, default: []].insert(.dispatcher)
            } else if consumer.queue.hasPrefix(FleetBroker.jobsQueue("")) {
                roles[consumer.user, default: []].insert(.worker)
            }
        }
        return roles
    }

    private static func role(named name: String) -> Role? {
        name.split(separator: "-").last.flatMap { Role(rawValue: String($0)) }
    }

    private static func shared(_ roles: [String: Set<Role>]) -> [Finding] {
        roles.filter { $0.value.count > 1 }.keys.sorted().map { name in
            Finding(
                .userShared, "user \(name)", "Both workers and dispatchers are connected as this user.",
                remedy: "users of their own: gaia topology users, then GAIA_AMQP_URL of each with its user")
        }
    }

    // MARK: What they may

    private static func rights(_ user: BrokerState.User, _ roles: Set<Role>, _ needs: Needs) -> [Finding] {
        let part = roles.map(\.rawValue).sorted().joined(separator: " and ")
        let names = Names(needs)
        var missing: [String] = []
        var wide: [String] = []
        for aspect in Aspect.allCases {
            let granted = names.all.filter { matches(aspect.pattern(of: user), $0) }
            let allowed = names.all.filter { name in roles.contains { matches(aspect.pattern(of: $0), name) } }
            let excess = granted.filter { !allowed.contains($0) }
            if !excess.isEmpty { wide.append("\(aspect.rawValue) \(Self.list(excess))") }
            let lacking = roles.filter(\.needsAll).flatMap { role in
                lacks(role, aspect, names.own.filter { matches(aspect.pattern(of: role), $0) }, granted)
            }
            if !lacking.isEmpty { missing.append("\(aspect.rawValue) \(Self.list(lacking))") }
        }
        let remedy =
            roles.count == 1
            ? roles.map { role in
                "rabbitmqctl set_permissions --vhost NAME \(user.name) '\(role.configure)' '\(role.write)' '\(role.read)'"
            }[0] : "give each part a user of its own: gaia topology users"
        var findings: [Finding] = []
        if !missing.isEmpty {
            findings.append(
                Finding(
                    .permissionMissing, "user \(user.name)",
                    "As a \(part) it needs to, and may not: \(missing.joined(separator: "; ")).", remedy: remedy))
        }
        if !wide.isEmpty {
            findings.append(
                Finding(
                    .permissionWide, "user \(user.name)",
                    "As a \(part) it need not, and may: \(wide.joined(separator: "; ")).", remedy: remedy))
        }
        return findings
    }

    /// Of what a role needs, what was not granted. A worker may be confined to the queues of some subsystems.
    private static func lacks(_ role: Role, _ aspect: Aspect, _ needed: [String], _ granted: [String]) -> [String] {
        if role == .worker, aspect == .read {
            return needed.contains { granted.contains($0) } ? [] : ["gaia.jobs.*"]
        }
        return needed.filter { !granted.contains($0) }
    }

    private static func tags(_ user: BrokerState.User, _ roles: Set<Role>) -> [Finding] {
        // An admin of the fleet may be one of the broker too.
        guard !roles.contains(.admin) else { return [] }
        let allowed = roles.reduce(into: Set<String>()) { $0.formUnion($1.tags) }
        let wide = user.tags.filter { tag in !allowed.contains(tag) && (tag != "management" || allowed.isEmpty) }
        guard !wide.isEmpty else { return [] }
        return [
            Finding(
                .tagWide, "user \(user.name)", "It has the tag \(wide.joined(separator: ", ")).",
                remedy: "rabbitmqctl set_user_tags \(user.name) \(allowed.sorted().joined(separator: " "))")
        ]
    }

    // MARK: Names and patterns

    private enum Aspect: String, CaseIterable {
        case configure, write, read

        func pattern(of role: Role) -> String {
            switch self {
            case .configure: role.configure
            case .write: role.write
            case .read: role.read
            }
        }

        func pattern(of user: BrokerState.User) -> String {
            switch self {
            case .configure: user.configure
            case .write: user.write
            case .read: user.read
            }
        }
    }

    /// Names to try patterns with.
    private struct Names {
        /// The fleet's exchanges and queues, and the default exchange.
        let own: [String]
        /// Besides, what stands for reply queues, queues of jobs of somebody's own, and what is not the fleet's.
        let all: [String]

        init(_ needs: Needs) {
            let topology = needs.topology
            own = Set(topology.exchanges.map(\.name) + topology.queues.map(\.name) + ["amq.default"]).sorted()
            all =
                own + [
                    FleetBroker.replyPrefix + "x", FleetBroker.waitPrefix + "x", "amq.gen-x", "amq.topic",
                    "another.queue",
                ]
        }
    }

    /// As RabbitMQ does: anywhere in the name, and an empty pattern matches nothing. One that cannot be read matches nothing
    /// either.
    private static func matches(_ pattern: String, _ name: String) -> Bool {
        guard !pattern.isEmpty, let expression = try? Regex(pattern) else { return false }
        return name.firstMatch(of: expression) != nil
    }

    /// The first few of many.
    private static func list(_ names: [String]) -> String {
        let shown = names.prefix(4).joined(separator: ", ")
        return names.count > 4 ? "\(shown) and \(names.count - 4) more" : shown
    }
}

extension BrokerDefinitions.Role {
    /// Whether the part cannot be played with fewer rights. Others may be confined further.
    fileprivate var needsAll: Bool { self == .worker || self == .dispatcher || self == .admin }
}
