/// The broker of a stack: one node, or a cluster.
enum StackBroker: Sendable {
    case node(PrivateBroker)
    case cluster(PrivateCluster)

    /// What is in a directory, whether or not it runs; nil when there has never been a broker.
    static func load(in path: String) throws -> StackBroker? {
        let directory = try StateDirectory(path)
        if directory.exists(ClusterRecord.fileName) { return .cluster(try PrivateCluster.load(directory: path)) }
        if directory.exists(BrokerRecord.fileName) { return .node(try PrivateBroker.load(directory: path)) }
        return nil
    }

    /// Starts what is there, or as many nodes as asked for.
    static func start(in path: String, _ options: Stack.Options) async throws -> StackBroker {
        let present = try load(in: path)?.all.count
        let count = options.nodes ?? present ?? 1
        guard present ?? count == count else {
            throw StackError(
                .directory,
                "The broker in \(path) has \(present ?? 0) nodes, not \(count): choose another directory, or remove it "
                    + "with `gaia stack down --remove`."
            )
        }
        if count != 1 {
            return .cluster(
                try await PrivateCluster.start(
                    PrivateCluster.Options(
                        directory: path,
                        nodes: count,
                        settings: options.brokerSettings,
                        detached: options.detached,
                        prefix: options.prefix,
                        startLimit: options.startLimit
                    )
                )
            )
        }
        return .node(
            try await PrivateBroker.start(
                PrivateBroker.Options(
                    directory: path,
                    management: options.management,
                    tls: options.tls,
                    settings: options.brokerSettings,
                    detached: options.detached,
                    prefix: options.prefix,
                    startLimit: options.startLimit
                )
            )
        )
    }

    /// Attaches to what runs there already.
    static func attach(in path: String) throws -> StackBroker {
        if case .cluster? = try load(in: path) { return .cluster(try PrivateCluster.attach(directory: path)) }
        return .node(try PrivateBroker.attach(directory: path))
    }

    static func status(in path: String) throws -> [Stack.Status.Node] {
        let nodes = try load(in: path)?.all ?? []
        return nodes.map { node in
            Stack.Status.Node(name: node.nodeName, processID: node.isRunning ? node.processID : nil)
        }
    }

    var all: [PrivateBroker] {
        switch self {
        case .node(let node): [node]
        case .cluster(let cluster): cluster.nodes
        }
    }

    var first: PrivateBroker { all[0] }

    /// With all nodes.
    var amqpURL: String {
        switch self {
        case .node(let node): node.amqpURL
        case .cluster(let cluster): cluster.amqpURL
        }
    }

    func stop() async throws {
        switch self {
        case .node(let node): try await node.stop()
        case .cluster(let cluster): try await cluster.stop()
        }
    }
}
