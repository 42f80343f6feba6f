import AMQPClient
import FleetBroker
import FleetModel
import FleetStack
import FoundationEssentials
import Glibc
import Logging
import PostgresClient

/// Faults of broker and database.
extension Injector {
    func strikeBroker(_ fault: Fault, for length: Duration) async throws -> String {
        let broker = stack.broker
        switch fault {
        case .brokerRestart:
            let old = broker.processID
            try await broker.restart()
            return "process \(old) ended in order, \(broker.processID) serves"
        case .brokerKill:
            let old = broker.processID
            try broker.kill()
            try await broker.startAgain()
            return "process \(old) killed, \(broker.processID) serves"
        case .brokerFreeze:
            return try await freeze(broker, for: length)
        case .memoryAlarm:
            // What is used is always more than a millionth of the machine.
            _ = try await broker.control(["set_vm_memory_high_watermark", "0.000001"])
            let alarms = try await broker.control(["eval", "rabbit_alarm:get_alarms()."])
            try await Task.sleep(for: length)
            _ = try await broker.control(["set_vm_memory_high_watermark", "0.4"])
            guard alarms.contains("memory") else { throw ChaosError("the broker raised no alarm: \(alarms)") }
            return "alarm raised and cleared"
        case .consumerTimeout: return try await shortenConsumerTimeout(for: length)
        default: return try await deleteQueue()
        }
    }

    /// Lets the broker be patient with a delivery for a second only. A channel reads its limits when it is opened, so all
    /// connections are closed, before and after.
    private func shortenConsumerTimeout(for length: Duration) async throws -> String {
        func set(timeout: Int, tick: Int) async throws {
            _ = try await stack.broker.control([
                "eval",
                "application:set_env(rabbit, consumer_timeout, \(timeout)), "
                    + "application:set_env(rabbit, channel_tick_interval, \(tick)).",
            ])
            _ = try await stack.broker.control(["close_all_connections", "chaos"])
        }
        func count() -> Int {
            (ProcessStatus.read(stack.broker.logFile) ?? "").split(separator: "\n")
                .count { $0.contains("delivery acknowledgement") || $0.contains("acknowledgement timed out") }
        }
        let before = count()
        try await set(timeout: 1_000, tick: 500)
        try await Task.sleep(for: length)
        // What takes longer than a second is drawn, as everything, and may keep one waiting.
        try await chaosEventually("the broker to take a delivery back", within: .seconds(60)) { count() > before }
        let cut = count() - before
        try await set(timeout: 1_800_000, tick: 60_000)
        return "\(cut) lines of the broker's log tell of deliveries taken back"
    }

    private func freeze(_ node: PrivateBroker, for length: Duration) async throws -> String {
        let result: Result<Void, any Error>
        do {
            try await node.pause()
            result = .success(try await Task.sleep(for: length))
        } catch {
            result = .failure(error)
        }
        try node.resume()
        try result.get()
        return "\(node.nodeName) stopped for \(length.milliseconds) ms"
    }

    /// Deletes the jobs' queue, and puts back what went to nowhere meanwhile, as an operator would.
    private func deleteQueue() async throws -> String {
        let queue = FleetBroker.jobsQueue(ChaosSubsystem.name)
        let lost = try await observer.waiting(in: queue) ?? 0
        try await AMQPSession.withConnection(observer.amqp) { try await $0.deleteQueue(queue) }
        // Workers declare it anew when their consumers are cancelled.
        try await chaosEventually("\(queue) to be there again", within: .seconds(60)) {
            try await observer.waiting(in: queue) != nil
        }
        // A node of RabbitMQ 3.10 that is killed sooner after a declaration has the queue, and no leader for it, for good.
        try await Task.sleep(for: .seconds(4))
        return "\(queue) deleted with \(lost) messages that nobody had"
    }

    // MARK: Cluster

    func strikeCluster(_ strike: Strike, for length: Duration) async throws -> String {
        guard let cluster = stack.cluster else { throw ChaosError("the broker is no cluster") }
        let node = cluster.nodes[strike.choice % cluster.nodes.count]
        switch strike.fault {
        case .nodeKill:
            let id = node.processID
            try node.kill()
            try await Task.sleep(for: length)
            let note = try await bringBack([node]) { try await node.startAgain() }
            return "\(node.nodeName), process \(id), killed and started again\(note)"
        case .nodeFreeze:
            return try await freeze(node, for: length)
        case .nodePartition:
            return try await partition(node, of: cluster, silently: strike.choice.isMultiple(of: 2), for: length)
        default:
            let lost = cluster.nodes.filter { $0.nodeName != node.nodeName }.prefix(cluster.nodes.count / 2 + 1)
            for node in lost { try node.kill() }
            try await Task.sleep(for: length)
            let note = try await bringBack(Array(lost)) { try await cluster.startAgain() }
            return lost.map(\.nodeName).joined(separator: " and ") + " killed and started again\(note)"
        }
    }

    /// Starts nodes, and once more, as an operator does, when they do not come up: one that starts while the others' links
    /// come and go may wait for them for ever.
    ///
    /// - Returns: a note of it.
    private func bringBack(_ nodes: [PrivateBroker], _ start: () async throws -> Void) async throws -> String {
        do {
            try await start()
            return ""
        } catch let error as StackError where error.kind == .deadline {
            for node in nodes where node.isRunning { try node.kill() }
            for node in nodes { try await node.startAgain() }
            return ", in vain at first"
        }
    }

    /// Cuts a node off from the others: the kernel drops or refuses the packets between them. Clients still reach all nodes,
    /// which is the harder case for a client.
    private func partition(
        _ node: PrivateBroker, of cluster: PrivateCluster, silently: Bool, for length: Duration
    ) async throws -> String {
        let others = cluster.nodes.filter { $0.nodeName != node.nodeName }
        let result: Result<(stopped: Int, seen: String), any Error>
        do {
            for other in others { try await PrivateNetwork.cut(node, other, silently: silently) }
            try await Task.sleep(for: length)
            result = .success(
                (try await PrivateNetwork.packetsStopped(), try await node.control(["eval", "nodes()."])))
        } catch {
            result = .failure(error)
        }
        try await PrivateNetwork.mend()
        let (stopped, seen) = try result.get()
        guard stopped > 0 else { throw ChaosError("no packet was stopped between \(node.nodeName) and the others") }
        guard silently || others.allSatisfy({ !seen.contains($0.nodeName) }) else {
            throw ChaosError("\(node.nodeName) still saw \(seen)")
        }
        // RabbitMQ stays apart by itself once it has seen a partition; somebody has to decide.
        let note = try await bringBack([node]) { try await node.restart() }
        return "\(node.nodeName) cut off from \(others.count) nodes for \(length.milliseconds) ms, \(stopped) packets "
            + (silently ? "dropped" : "refused") + ", it saw \(seen.filter { !$0.isWhitespace }), then restarted\(note)"
    }

    // MARK: Database

    func strikeDatabase(_ fault: Fault, for length: Duration) async throws -> String {
        let database = stack.database
        switch fault {
        case .databaseRestart:
            let old = database.processID
            try await database.restart()
            return "process \(old) ended in order, \(database.processID) serves"
        case .databaseCrash:
            let old = database.processID
            try await database.stopImmediately()
            try await database.startAgain()
            return "process \(old) ended at once, \(database.processID) serves after recovery"
        case .commitCut: return try await cutCommits()
        case .databaseLock:
            try await observer.pool.withTransaction { session in
                try await session.execute(
                    PostgresStatement(name: "chaos-lock", sql: "lock table gaia.job in access exclusive mode"))
                try await Task.sleep(for: length)
            }
            return "gaia.job locked for \(length.milliseconds) ms"
        case .commitDelay: return try await delayCommits(for: length)
        case .connectionsFull: return try await takeConnections(for: length)
        default: return try await fillDisk()
        }
    }

    /// Ends server processes that are writing a commit at this moment.
    private func cutCommits() async throws -> String {
        var ended = 0
        // There may be little to commit, as when the broker is struck too.
        let limit: Duration = .seconds(90)
        let deadline = ContinuousClock.now + limit
        while ended < 3 {
            // A connection of our own may be one that an earlier strike has cut; then the next is asked.
            let found = try? await observer.ask(
                """
                select count(pg_terminate_backend(pid)) from pg_stat_activity
                where backend_type = 'client backend' and application_name not like 'chaos%' and state = 'active'
                    and wait_event in ('WALSync', 'WALWrite', 'WALWriteLock', 'SyncRep')
                """)
            ended += Int(try found?.single().get(0, as: Int64.self) ?? 0)
            guard ContinuousClock.now < deadline else {
                throw ChaosError("in \(limit) only \(ended) server processes were met while they wrote a commit")
            }
        }
        return "\(ended) server processes ended while they wrote a commit"
    }

    /// By which a delayed commit is known.
    private static let commitTook: Duration = .milliseconds(80)

    private func delayCommits(for length: Duration) async throws -> String {
        try await setDatabase("alter system set commit_delay = 100000", "alter system set commit_siblings = 0")
        try await Task.sleep(for: length)
        // Who comes while another waits has part of that wait only.
        var took = Duration.zero
        for _ in 0..<20 where took < Self.commitTook {
            let began = ContinuousClock.now
            try await observer.pool.script("insert into chaos.probe values (1)")
            took = ContinuousClock.now - began
        }
        try await setDatabase("alter system reset commit_delay", "alter system reset commit_siblings")
        guard took >= Self.commitTook else { throw ChaosError("a commit took only \(took)") }
        return "a commit took \(took.milliseconds) ms"
    }

    private func setDatabase(_ statements: String...) async throws {
        for statement in statements { _ = try await stack.database.psql(statement) }
        _ = try await stack.database.psql("select pg_reload_conf()")
    }

    /// Takes every connection that there is, ends the fleet's, and takes those too.
    private func takeConnections(for length: Duration) async throws -> String {
        var configuration = try PostgresConfiguration(url: stack.database.url)
        configuration.applicationName = "chaos hog"
        configuration.connectTimeout = .seconds(2)
        let logger = Logger(label: "gaia.chaos") { _ in SwiftLogNoOpLogHandler() }
        // Several at once: to be let in takes each of them some milliseconds.
        func take() async -> [PostgresDedicated?] {
            await withTaskGroup(of: PostgresDedicated?.self) { group in
                for _ in 0..<16 {
                    group.addTask { [configuration] in
                        let hog = PostgresDedicated(configuration: configuration, logger: logger)
                        do {
                            _ = try await hog.connect()
                            return hog
                        } catch {
                            await hog.close()
                            return nil
                        }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
        }
        var hogs: [PostgresDedicated] = []
        var refused = 0
        // Until nothing is left; then the fleet's own are ended, and where it tries for others these are taken too.
        while refused == 0 {
            let taken = await take()
            hogs += taken.compactMap(\.self)
            refused += taken.count(where: { $0 == nil })
        }
        _ = try await observer.ask(
            """
            select count(pg_terminate_backend(pid)) from pg_stat_activity
            where backend_type = 'client backend' and application_name not like 'chaos%'
            """)
        let deadline = ContinuousClock.now + length
        while ContinuousClock.now < deadline {
            let taken = await take()
            hogs += taken.compactMap(\.self)
            refused += taken.count(where: { $0 == nil })
            try await Task.sleep(for: .milliseconds(20))
        }
        for hog in hogs { await hog.close() }
        return "\(hogs.count) connections taken, then \(refused) refused"
    }

    /// Leaves the log of commits no space, until the server has ended in a panic.
    private func fillDisk() async throws -> String {
        guard let walVolume else {
            throw ChaosError(
                "the database's log has no volume of its own, which needs the right to mount: run as root, or leave "
                    + "database-disk-full out with --without")
        }
        try walVolume.fill()
        // The server needs a new segment and finds no room for it.
        var panic = ""
        let deadline = ContinuousClock.now + .seconds(30)
        while panic.isEmpty {
            do {
                _ = try await observer.ask("select pg_switch_wal()")
                _ = try await observer.ask("insert into chaos.probe values (2)")
            } catch {
                panic = error.description
            }
            guard ContinuousClock.now < deadline else {
                try walVolume.empty()
                throw ChaosError("the database went on without space for its log")
            }
        }
        try walVolume.empty()
        try await chaosEventually("the database to serve again", within: .seconds(60)) {
            if !stack.database.isRunning { try await stack.database.startAgain() }
            return (try? await observer.epoch()) != nil
        }
        let log = ProcessStatus.read(stack.database.logFile) ?? ""
        guard log.contains("No space left on device") else {
            throw ChaosError("the database's log does not tell of a full disk")
        }
        return "the database ended for want of space: \(panic.prefix(80))"
    }
}

/// A small file system of the harness's own, which can be filled up.
struct SmallVolume: Sendable {
    let path: String

    /// Mounts it.
    ///
    /// - Throws: ``ChaosError`` where mounting is not allowed.
    static func mount(at path: String, megabytes: Int) throws -> SmallVolume {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let code = Glibc.mount("tmpfs", path, "tmpfs", 0, "size=\(megabytes)m,mode=0755")
        guard code == 0 else { throw ChaosError("cannot mount at \(path): \(String(cString: strerror(errno)))") }
        return SmallVolume(path: path)
    }

    func unmount() throws {
        guard umount2(path, Int32(MNT_DETACH)) == 0 else {
            throw ChaosError("cannot unmount \(path): \(String(cString: strerror(errno)))")
        }
        guard rmdir(path) == 0 else {
            throw ChaosError("cannot remove \(path): \(String(cString: strerror(errno)))")
        }
    }

    private var ballast: String { "\(path)/ballast" }

    func fill() throws {
        let descriptor = open(ballast, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw ChaosError("cannot write to \(path): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        for size in [1 << 20, 4_096] {
            let bytes = [UInt8](repeating: 0, count: size)
            while write(descriptor, bytes, size) == size {}
        }
        guard errno == ENOSPC else { throw ChaosError("\(path) cannot be filled: \(String(cString: strerror(errno)))") }
    }

    func empty() throws {
        guard unlink(ballast) == 0 || errno == ENOENT else {
            throw ChaosError("cannot remove \(ballast): \(String(cString: strerror(errno)))")
        }
    }
}
