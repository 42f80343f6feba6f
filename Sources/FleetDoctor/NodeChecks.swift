import FleetModel

/// The broker's nodes: version, alarms, cluster, and how long they let a delivery be.
enum NodeChecks {
    static func findings(_ deployment: Deployment) -> [Finding] {
        guard let server = deployment.broker?.server else { return [] }
        return version(server) + server.nodes.flatMap { node($0, deployment.needs.bounds) }
            + timeouts(deployment, server)
    }

    // MARK: Version

    static let oldestVersion = [3, 10]

    private static func version(_ server: BrokerState.Server) -> [Finding] {
        var findings: [Finding] = []
        let parts = server.version.split(separator: ".").prefix(2).map { Int($0.prefix { $0.isNumber }) ?? 0 }
        if parts.lexicographicallyPrecedes(oldestVersion) {
            findings.append(
                Finding(
                    .brokerVersion, "broker", "It is RabbitMQ \(server.version).", remedy: "upgrade it to 3.10 or later"
                ))
        }
        if let disabled = server.disabledFlags, !disabled.isEmpty {
            findings.append(
                Finding(
                    .featureFlag, "broker", "Disabled: \(disabled.joined(separator: ", ")).",
                    remedy: "rabbitmqctl enable_feature_flag all, once every node has the same version"))
        }
        return findings
    }

    // MARK: Nodes

    private static func node(_ node: BrokerState.Node, _ bounds: Bounds) -> [Finding] {
        let place = "node \(node.name)"
        guard node.isRunning else {
            return [
                Finding(
                    .nodeDown, place, "The cluster knows it, and it does not run.",
                    remedy: "start it, or rabbitmqctl forget_cluster_node \(node.name) if it never comes back")
            ]
        }
        var findings: [Finding] = []
        if !node.partitions.isEmpty {
            findings.append(
                Finding(
                    .clusterPartition, place, "It has lost sight of \(node.partitions.joined(separator: ", ")).",
                    remedy: "mend the network; with cluster_partition_handling = pause_minority it heals by itself"))
        }
        return findings + memory(node, place, bounds) + disk(node, place, bounds)
    }

    private static func memory(_ node: BrokerState.Node, _ place: String, _ bounds: Bounds) -> [Finding] {
        let (used, limit) = (node.memoryUsed ?? 0, node.memoryLimit ?? 0)
        let figures = "\(megabytes(used)) of \(megabytes(limit)) are used."
        let remedy = "give it more memory, or raise vm_memory_high_watermark; look for queues that grow: gaia status"
        if node.hasMemoryAlarm { return [Finding(.memoryAlarm, place, figures, remedy: remedy)] }
        guard limit > 0, used > limit * bounds.memoryShareMax else { return [] }
        return [Finding(.memoryHigh, place, figures, remedy: remedy)]
    }

    private static func disk(_ node: BrokerState.Node, _ place: String, _ bounds: Bounds) -> [Finding] {
        guard let free = node.diskFree, let limit = node.diskFreeLimit else {
            return node.hasDiskAlarm
                ? [Finding(.diskAlarm, place, "Its disk is full.", remedy: "free disk, or give it a larger one")] : []
        }
        let figures = "\(megabytes(free)) are free, at \(megabytes(limit)) it stops all that publish."
        let remedy = "free disk, or give it a larger one; look for queues that grow: gaia status"
        if node.hasDiskAlarm { return [Finding(.diskAlarm, place, figures, remedy: remedy)] }
        guard free < limit + Double(bounds.diskHeadroomBytesMin) else { return [] }
        return [Finding(.diskLow, place, figures, remedy: remedy)]
    }

    // MARK: Consumer timeout

    /// The timeout of each subsystem's queue beside the longest run of its jobs. A delivery counts from its arrival in the
    /// worker, where it may wait for a slot as long as another job runs.
    private static func timeouts(_ deployment: Deployment, _ server: BrokerState.Server) -> [Finding] {
        var worst: [Fault: (finding: Finding, longest: Duration)] = [:]
        for (subsystem, longest) in deployment.needs.longestRuns where isServed(subsystem, deployment) {
            guard let timeout = timeout(subsystem, deployment, server), case .after(let limit) = timeout,
                limit < longest * 2
            else { continue }
            let fault: Fault = limit < longest ? .consumerTimeoutShort : .consumerTimeoutTight
            guard longest > worst[fault]?.longest ?? .zero else { continue }
            let needed = Int((longest * 2).inSeconds.rounded(.up)) * 1_000
            worst[fault] = (
                Finding(
                    fault, "broker",
                    "It takes deliveries back after \(seconds(limit)); a job of \(subsystem) may run for \(seconds(longest)).",
                    remedy: "consumer_timeout = \(needed) in rabbitmq.conf, or more"),
                longest
            )
        }
        return [.consumerTimeoutShort, .consumerTimeoutTight].compactMap { worst[$0]?.finding }
    }

    /// A subsystem that nobody serves needs no time. Without a look at the ledger all count.
    private static func isServed(_ subsystem: String, _ deployment: Deployment) -> Bool {
        guard let fleet = deployment.database?.fleet, !fleet.workers.isEmpty else { return true }
        return fleet.workers.contains { $0.subsystems.contains(subsystem) }
    }

    private static func timeout(
        _ subsystem: String, _ deployment: Deployment, _ server: BrokerState.Server
    ) -> ConsumerTimeout? {
        // From RabbitMQ 3.12 on a queue may have its own.
        let own = deployment.broker?.queues["gaia.jobs.\(subsystem)"]?.traits?.least("consumer-timeout")
        return own.map { .after(.milliseconds(Int($0))) } ?? server.consumerTimeout
    }

    private static func seconds(_ duration: Duration) -> String { "\(Int(duration.inSeconds.rounded())) s" }

    private static func megabytes(_ bytes: Double) -> String { "\(Int((bytes / 1e6).rounded())) MB" }
}
