import AMQPClient

/// The fleet's topology, limits and users in the form that RabbitMQ imports (`rabbitmqctl import_definitions`).
///
/// In two documents, since importing a user without a password takes the password away that it has: ``topology`` may be
/// imported again at any time, ``users`` is for the first time.
public struct BrokerDefinitions: Sendable {
    public var virtualHost: String
    /// What the users' names begin with, so that several fleets can share a broker.
    public var userPrefix: String
    public var subsystems: [String]

    public init(virtualHost: String = "gaia", userPrefix: String = "gaia", subsystems: [String]) {
        self.virtualHost = virtualHost
        self.userPrefix = userPrefix
        self.subsystems = subsystems
    }

    /// A part that somebody plays at the broker, with no more rights than it needs.
    public enum Role: String, Sendable, CaseIterable {
        case worker, dispatcher, producer, monitor, `operator`, admin

        /// Which names it may declare and delete.
        public var configure: String {
            switch self {
            case .worker, .monitor, .operator: Self.nothing
            case .dispatcher: "^gaia[.]wait[.].+$"
            case .producer: Self.replyQueues
            case .admin: Self.everything
            }
        }

        /// Which exchanges it may publish to. `amq.default` is the exchange by which answers reach a `reply_to`.
        public var write: String {
            switch self {
            case .worker: "^(amq[.]default|gaia[.](results|events|dead))$"
            case .dispatcher: "^(amq[.]default|gaia[.](jobs|events|dead))$"
            case .producer: "^gaia[.](jobs|enqueue)$"
            case .monitor, .operator: Self.nothing
            case .admin: Self.everything
            }
        }

        /// Which queues it may consume from, and so empty.
        public var read: String {
            switch self {
            case .worker: "^gaia[.]jobs[.].+$"
            case .dispatcher: "^gaia[.](enqueue|wait[.].+)$"
            case .producer: Self.replyQueues
            case .monitor: Self.nothing
            case .operator: "^gaia[.](dead|unroutable)$"
            case .admin: Self.everything
            }
        }

        /// What it may do with the management plugin.
        public var tags: [String] { self == .operator || self == .monitor ? ["monitoring"] : [] }

        private static let nothing = "^$"
        private static let everything = "^gaia[.].+$"
        /// Those that the broker names, and those of `gaia enqueue`.
        private static let replyQueues = "^(amq[.]gen-|gaia[.]reply[.]).+$"
    }

    public func user(_ role: Role) -> String { "\(userPrefix)-\(role.rawValue)" }

    /// Virtual host, policies, exchanges, queues and bindings.
    public var topology: String {
        let topology = FleetBroker.topology(subsystems: subsystems)
        let host = ("vhost", JSON.string(virtualHost))
        return Self.document([
            ("vhosts", [.object([("name", .string(virtualHost))])]),
            (
                "policies",
                Self.limits.map { limit in
                    .object([
                        host, ("name", .string(limit.name)), ("pattern", .string(limit.pattern)),
                        ("apply-to", .string("queues")), ("priority", .int(0)),
                        ("definition", .object(limit.definition)),
                    ])
                }
            ),
            (
                "exchanges",
                topology.exchanges.map { exchange in
                    .object([
                        host, ("name", .string(exchange.name)), ("type", .string(exchange.kind)),
                        ("durable", .bool(exchange.durable)), ("auto_delete", .bool(exchange.autoDelete)),
                        ("internal", .bool(false)), ("arguments", JSON(exchange.arguments)),
                    ])
                }
            ),
            (
                "queues",
                topology.queues.map { queue in
                    .object([
                        host, ("name", .string(queue.name)), ("durable", .bool(queue.durable)),
                        ("auto_delete", .bool(queue.autoDelete)), ("arguments", JSON(queue.arguments)),
                    ])
                }
            ),
            (
                "bindings",
                topology.bindings.map { binding in
                    let (kind, name) =
                        switch binding.destination {
                        case .queue(let name): ("queue", name)
                        case .exchange(let name): ("exchange", name)
                        }
                    return .object([
                        host, ("source", .string(binding.exchange)), ("destination", .string(name)),
                        ("destination_type", .string(kind)), ("routing_key", .string(binding.routingKey)),
                        ("arguments", JSON(binding.arguments)),
                    ])
                }
            ),
        ])
    }

    /// Users without passwords, who cannot log in until they are given one, and their rights.
    public var users: String {
        Self.document([
            (
                "users",
                Role.allCases.map { role in
                    .object([
                        ("name", .string(user(role))), ("tags", .array(role.tags.map { .string($0) })),
                    ])
                }
            ),
            (
                "permissions",
                Role.allCases.map { role in
                    .object([
                        ("user", .string(user(role))), ("vhost", .string(virtualHost)),
                        ("configure", .string(role.configure)), ("write", .string(role.write)),
                        ("read", .string(role.read)),
                    ])
                }
            ),
        ])
    }

    // MARK: Limits

    private struct Limit {
        let name: String
        let pattern: String
        let definition: [(String, JSON)]
    }

    /// As policies, since an operator may want to change them on a running broker, which arguments of a queue forbid.
    /// A full queue refuses what is published to it and drops nothing.
    private static let limits: [Limit] = [
        // Without it a backlog grows until the broker's disk alarm stops all that publish, the workers among them.
        Limit(
            name: "gaia-intake", pattern: "^gaia[.](jobs[.].+|enqueue)$",
            definition: [("max-length-bytes", .int(8 << 30)), ("overflow", .string("reject-publish"))]),
        Limit(
            name: "gaia-set-aside", pattern: "^gaia[.](dead|unroutable)$",
            definition: [
                ("max-length", .int(1_000_000)), ("max-length-bytes", .int(4 << 30)),
                ("overflow", .string("reject-publish")),
            ]),
    ]

    /// One line for each thing, so that a change shows as one line.
    private static func document(_ sections: [(name: String, entries: [JSON])]) -> String {
        let texts = sections.map { section in
            let lines = section.entries.map { "    \($0.text)" }.joined(separator: ",\n")
            return "  \(JSON.string(section.name).text): [\n\(lines)\n  ]"
        }
        return "{\n\(texts.joined(separator: ",\n"))\n}"
    }
}

/// JSON in the order in which it was put together.
private indirect enum JSON: Sendable {
    case string(String)
    case int(Int64)
    case bool(Bool)
    case array([JSON])
    case object([(String, JSON)])

    /// - Precondition: texts, whole numbers and truth values only, as the fleet's topology has them.
    init(_ arguments: [String: AMQPValue]) {
        self = .object(
            arguments.sorted { $0.key < $1.key }.map { name, value in
                switch value {
                case .string(let text): (name, .string(text))
                case .int(let number): (name, .int(number))
                case .bool(let truth): (name, .bool(truth))
                default: preconditionFailure("the topology's argument \(name) has no form in definitions")
                }
            })
    }

    var text: String {
        switch self {
        case .string(let text): Self.quoted(text)
        case .int(let number): "\(number)"
        case .bool(let truth): "\(truth)"
        case .array(let elements): "[" + elements.map(\.text).joined(separator: ", ") + "]"
        case .object(let members):
            "{" + members.map { "\(Self.quoted($0.0)): \($0.1.text)" }.joined(separator: ", ") + "}"
        }
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case "\u{0}"..<" ":
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
