import FoundationEssentials
import Glibc

/// A RabbitMQ cluster of our own: several nodes on the loopback address, each a ``PrivateBroker`` that can be killed,
/// paused, stopped and started again by itself.
///
/// ```
/// cluster.json  processes.json  output.log     ours: names and secrets of all, and the one port mapper
/// node-1/ node-2/ node-3/                      a broker's directory each
/// ```
///
/// All nodes boot at once and find each other by name; the first that gets their common lock begins the cluster. Three
/// of them serve after 6 s on two idle cores, and take 120 MB each: measure with `time gaia stack up --nodes 3`. No node
/// has the management plugin, which would make that twice as long.
public final class PrivateCluster: Sendable {
    public struct Options: Sendable {
        /// Where all its files live; made when absent. One that was used before is started again with its data.
        public var directory: String
        /// How many nodes, 2 to 7. Of an even number no more may be lost than of one less.
        public var nodes: Int
        /// Lines of each node's rabbitmq.conf, which win over ours.
        public var settings: [String: String]
        /// Whether it stays when this process ends.
        public var detached: Bool
        /// Where packages are installed.
        public var prefix: String
        /// How long it may take to serve.
        public var startLimit: Duration

        public init(
            directory: String,
            nodes: Int = 3,
            settings: [String: String] = [:],
            detached: Bool = false,
            prefix: String = "/usr",
            startLimit: Duration = .seconds(180)
        ) {
            self.directory = directory
            self.nodes = nodes
            self.settings = settings
            self.detached = detached
            self.prefix = prefix
            self.startLimit = startLimit
        }
    }

    /// How many nodes there may be.
    public static let nodeCounts = 2...7

    /// Kill, pause, stop and start each of them as you like; `stop()` lets a node leave in order (SIGTERM).
    public let nodes: [PrivateBroker]
    private let place: Place

    private init(_ place: Place, nodes: [PrivateBroker]) {
        self.place = place
        self.nodes = nodes
    }

    /// Starts all nodes, or those that do not run of a cluster that is there already. They serve, and are one cluster,
    /// when this returns.
    ///
    /// - Throws: ``StackError``, with the end of a node's log when that did not come up.
    public static func start(_ options: Options) async throws -> PrivateCluster {
        guard nodeCounts.contains(options.nodes) else {
            throw StackError(
                .refused,
                "A cluster has \(nodeCounts.lowerBound) to \(nodeCounts.upperBound) nodes, not \(options.nodes)."
            )
        }
        _ = try BrokerPackage.locate(prefix: options.prefix)
        let directory = try StateDirectory(options.directory)
        try directory.claim(for: try Account.forServer("rabbitmq", package: "rabbitmq-server"))
        return try await directory.withLock(within: options.startLimit) {
            guard directory.exists(ClusterRecord.fileName) else { return try await startAnew(directory, options) }
            let place = try Place(directory)
            guard place.record.names.count == options.nodes else {
                throw StackError(
                    .directory,
                    "The cluster in \(directory.path) has \(place.record.names.count) nodes, not \(options.nodes): "
                        + "choose another directory, or remove it."
                )
            }
            return try await start(place, options)
        }
    }

    /// Attaches to a cluster of which all nodes run.
    ///
    /// - Throws: ``StackError`` of kind `notRunning` when one does not.
    public static func attach(directory path: String) throws -> PrivateCluster {
        let cluster = try load(directory: path)
        if let missing = cluster.nodes.first(where: { !$0.isRunning }) {
            throw StackError(
                .notRunning,
                "The node \(missing.nodeName) in \(path) does not run: start it with `gaia stack up`."
            )
        }
        return cluster
    }

    /// The cluster of a directory, whether or not it runs.
    static func load(directory path: String) throws -> PrivateCluster {
        let directory = try StateDirectory(path)
        guard directory.exists(ClusterRecord.fileName) else {
            throw StackError(.notRunning, "There is no cluster in \(path): start one with `gaia stack up --nodes 3`.")
        }
        let place = try Place(directory)
        return PrivateCluster(
            place,
            nodes: try place.record.directories.map { try PrivateBroker.load(directory: directory.file($0)) }
        )
    }

    // MARK: Addresses

    /// All nodes in one URL, from which an ``AMQPConfiguration`` takes one that answers.
    public var amqpURL: String { url(virtualHost: "") }

    private func url(virtualHost: String) -> String {
        PrivateBroker.url(
            "amqp",
            nodes.map(\.layout.record.amqpPort),
            password: password,
            virtualHost: virtualHost
        )
    }

    /// Of the user `gaia`, on every node.
    public var password: String { place.record.secrets.password }

    /// The node of this name.
    public func node(_ name: String) -> PrivateBroker? { nodes.first { $0.nodeName == name } }

    /// Makes a virtual host and returns its address, with all nodes.
    public func createVirtualHost(_ name: String) async throws -> String {
        _ = try await anyNode().createVirtualHost(name)
        return url(virtualHost: ManagementAPI.escaped(name))
    }

    // MARK: Life

    /// Whether every node runs.
    public var isRunning: Bool { nodes.allSatisfy(\.isRunning) }

    /// Shuts all nodes down in order and at once; when this returns no process is left and the ports are free. The data
    /// stays.
    public func stop() async throws {
        try await place.directory.withLock(within: .seconds(120)) { try await end() }
    }

    /// Starts those that do not run, after ``stop()`` or the end of single nodes.
    public func startAgain(within limit: Duration = .seconds(180)) async throws {
        try await place.directory.withLock(within: limit) {
            _ = try await Self.boot(place) { index in
                try await self.nodes[index].startAgain()
                return self.nodes[index]
            }
        }
    }

    private func end() async throws {
        // One that will not end must not keep the others from it.
        let failures = await withTaskGroup(of: (any Error)?.self) { group -> [any Error] in
            for node in nodes {
                group.addTask {
                    do {
                        try await node.stop()
                        return nil
                    } catch {
                        return error
                    }
                }
            }
            var failures: [any Error] = []
            for await failure in group { if let failure { failures.append(failure) } }
            return failures
        }
        try await place.mapper.end()
        try await place.processes.endStragglers()
        if let first = failures.first { throw first }
        try await place.processes.awaitFree([place.record.mapperPort])
        try place.processes.forgetAll()
    }

    private func anyNode() throws -> PrivateBroker {
        guard let node = nodes.first(where: \.isRunning) else {
            throw StackError(.notRunning, "No node of the cluster in \(place.directory.path) runs.")
        }
        return node
    }
}

// MARK: - Starting

extension PrivateCluster {
    /// Starts in a directory that held nothing. A start that fails for want of a port is tried again with others.
    private static func startAnew(_ directory: StateDirectory, _ options: Options) async throws -> PrivateCluster {
        // The same in each attempt: data that one has left behind knows them.
        let secrets = BrokerSecrets()
        var attemptsLeft = 5
        while true {
            attemptsLeft -= 1
            var ports = try Ports(count: 1 + options.nodes * BrokerRecord.portCount)
            let numbers = ports.numbers
            let record = ClusterRecord(options, mapperPort: numbers[0], secrets: secrets)
            for index in record.names.indices {
                let first = 1 + index * BrokerRecord.portCount
                try PrivateBroker.layOut(
                    record.member(index, in: directory, options),
                    ports: Array(numbers[first..<first + BrokerRecord.portCount]),
                    mapperPort: record.mapperPort
                )
            }
            try writeFile(directory.file(ClusterRecord.fileName), try encoded(record), mode: 0o600)
            ports.release()
            do {
                return try await start(try Place(directory), options)
            } catch {
                guard attemptsLeft > 0, numbers.contains(where: { !Ports.isFree($0) }) else { throw error }
            }
        }
    }

    private static func start(_ place: Place, _ options: Options) async throws -> PrivateCluster {
        let nodes = try await boot(place) { index in
            try await PrivateBroker.start(place.record.member(index, in: place.directory, options))
        }
        return PrivateCluster(place, nodes: nodes)
    }

    /// Starts what does not run, all at once. When nothing ran before, nothing runs after a failure either.
    private static func boot(
        _ place: Place,
        _ start: @escaping @Sendable (_ index: Int) async throws -> PrivateBroker
    ) async throws -> [PrivateBroker] {
        let isFirst = try !load(directory: place.directory.path).nodes.contains(where: \.isRunning)
        do {
            if !place.mapper.isAlive, isFirst { try await place.processes.endStragglers() }
            try await place.mapper.start()
            let started = try await withThrowingTaskGroup(of: (Int, PrivateBroker).self) { group in
                for index in place.record.names.indices { group.addTask { (index, try await start(index)) } }
                return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
            }
            let nodes = started.sorted { $0.key < $1.key }.map(\.value)
            // Each serves; that they know each other is another matter.
            try await awaitOnline(nodes)
            return nodes
        } catch {
            if isFirst { try await load(directory: place.directory.path).end() }
            throw error
        }
    }

    private static func awaitOnline(_ nodes: [PrivateBroker]) async throws {
        let deadline = ContinuousClock.now + onlineLimit
        let limit = "\(onlineLimit.components.seconds)"
        while true {
            do {
                _ = try await nodes[0].control(["await_online_nodes", "\(nodes.count)", "--timeout", limit])
                return
            } catch is StackError where ContinuousClock.now < deadline && !Task.isCancelled {
                // A node that was left in the minority has paused: its process lives, and comes back by itself when it sees
                // the others.
                try await Task.sleep(for: .milliseconds(500))
            }
        }
    }

    /// How long nodes that serve may take to have heard of each other.
    private static let onlineLimit: Duration = .seconds(50)
}

// MARK: - Quorum queues

extension PrivateCluster {
    /// A node's part in a quorum queue.
    public struct QuorumMember: Sendable, Hashable, Decodable {
        public let node: String
        /// `leader`, `follower`, or why there is none of it, such as `noproc` or `nodedown` with the node's name.
        public let state: String
        /// How much of the queue's log is known to be safe here; nil where the node does not say.
        public let commitIndex: Int?

        private enum CodingKeys: String, CodingKey {
            case node = "Node Name"
            case state = "Raft State"
            case commitIndex = "Commit Index"
        }

        public init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            node = try container.decode(String.self, forKey: .node)
            // A term of Erlang's with more than a word comes as a list of its parts.
            state =
                try (try? container.decode(String.self, forKey: .state))
                ?? container.decode([String].self, forKey: .state).joined(separator: " ")
            // Text where there is no number.
            commitIndex = try? container.decode(Int.self, forKey: .commitIndex)
        }
    }

    /// Who holds a quorum queue, as the first node that runs says it (`rabbitmq-queues quorum_status`).
    public func quorum(of queue: String, virtualHost: String = "/") async throws -> [QuorumMember] {
        let text = try await anyNode().tool(
            "rabbitmq-queues",
            ["quorum_status", queue, "--vhost", virtualHost, "--formatter", "json"]
        )
        do {
            return try JSONDecoder().decode([QuorumMember].self, from: Data(text.utf8))
        } catch {
            throw StackError(.refused, "rabbitmq-queues quorum_status printed what is no such table: \(text)")
        }
    }

    /// Waits until a quorum queue has a member on every node, all as far as their leader, and each node has noted it on
    /// disk: from then on any one node may be killed.
    ///
    /// RabbitMQ 3.10 notes which queue is which in a file that it writes a moment later. A node that is killed before
    /// comes back without its member.
    ///
    /// - Returns: the leader's node.
    @discardableResult
    public func awaitQuorum(
        of queue: String,
        virtualHost: String = "/",
        within limit: Duration = .seconds(30)
    ) async throws -> PrivateBroker {
        var members: [QuorumMember] = []
        let found: PrivateBroker? = try await polling(within: limit, every: .milliseconds(100)) {
            members = try await quorum(of: queue, virtualHost: virtualHost)
            guard members.count == nodes.count, members.allSatisfy({ ["leader", "follower"].contains($0.state) }),
                let leader = members.first(where: { $0.state == "leader" }), let index = leader.commitIndex,
                members.allSatisfy({ ($0.commitIndex ?? -1) >= index })
            else { return nil }
            return node(leader.node)
        }
        guard let leader = found else {
            throw StackError(.deadline, "\(queue) has no member in step on every node within \(limit): \(members)")
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for node in nodes {
                group.addTask { _ = try await node.control(["eval", "[dets:sync(T) || T <- dets:all()]."]) }
            }
            try await group.waitForAll()
        }
        return leader
    }
}

// MARK: - Place

/// What a cluster's directory remembers between starts.
struct ClusterRecord: Sendable, Codable {
    static let fileName = "cluster.json"

    let names: [String]
    let directories: [String]
    let mapperPort: UInt16
    let secrets: BrokerSecrets
    let detached: Bool
    let prefix: String

    init(_ options: PrivateCluster.Options, mapperPort: UInt16, secrets: BrokerSecrets) {
        names = (1...options.nodes).map { "gaia-\($0)@localhost" }
        directories = (1...options.nodes).map { "node-\($0)" }
        self.secrets = secrets
        detached = options.detached
        prefix = options.prefix
        self.mapperPort = mapperPort
    }

    /// What a node is told.
    func member(_ index: Int, in directory: StateDirectory, _ options: PrivateCluster.Options) -> PrivateBroker.Options
    {
        var member = PrivateBroker.Options(
            directory: directory.file(directories[index]),
            management: false,
            settings: options.settings,
            detached: options.detached,
            prefix: options.prefix,
            startLimit: options.startLimit
        )
        member.membership = ClusterMembership(name: names[index], nodes: names, secrets: secrets)
        return member
    }
}

/// A cluster's directory, and what is there besides the nodes.
private struct Place: Sendable {
    let directory: StateDirectory
    let record: ClusterRecord
    let processes: ServerProcesses
    let mapper: PortMapper

    init(_ directory: StateDirectory) throws {
        self.directory = directory
        record = try decoded(ClusterRecord.self, from: directory.file(ClusterRecord.fileName))
        processes = try ServerProcesses(directory)
        mapper = PortMapper(
            port: record.mapperPort,
            package: try BrokerPackage.locate(prefix: record.prefix),
            account: try Account.forServer("rabbitmq", package: "rabbitmq-server"),
            processes: processes,
            detached: record.detached
        )
    }
}
