/// What the harness does to a fleet.
public enum Fault: String, Sendable, CaseIterable, Codable {
    // To processes of the fleet.
    /// SIGKILL of a worker; its supervisor starts another.
    case workerKill = "worker-kill"
    /// SIGSTOP of a worker, and SIGCONT before its lease is over.
    case workerPause = "worker-pause"
    /// SIGSTOP of a worker for longer than its lease: it comes back as a zombie.
    case workerFreeze = "worker-freeze"
    /// SIGTERM of a worker: it drains and hands back.
    case workerDrain = "worker-drain"
    /// SIGKILL of the dispatcher that leads.
    case leaderKill = "leader-kill"
    /// SIGSTOP of the dispatcher that leads, until another leads, and SIGCONT.
    case leaderFreeze = "leader-freeze"
    /// SIGTERM of a dispatcher.
    case dispatcherDrain = "dispatcher-drain"
    /// A worker that cannot write its log: each write fails for want of space.
    case workerDiskFull = "worker-disk-full"
    /// A worker whose clock is an hour ahead or behind.
    case workerClock = "worker-clock"

    // To the broker.
    case brokerRestart = "broker-restart"
    /// SIGKILL of the broker, and a new start.
    case brokerKill = "broker-kill"
    /// SIGSTOP of the broker: connections stay open and nothing answers.
    case brokerFreeze = "broker-freeze"
    /// The broker takes no messages for want of memory.
    case memoryAlarm = "memory-alarm"
    /// The broker takes deliveries back, with their channel, that are not acknowledged sooner than jobs take.
    case consumerTimeout = "consumer-timeout"
    /// The jobs' queue is deleted with what it holds.
    case queueDelete = "queue-delete"

    // To a broker of three nodes.
    case nodeKill = "node-kill"
    case nodeFreeze = "node-freeze"
    /// A node that the others cannot reach, while clients reach all of them: packets are dropped, or refused.
    case nodePartition = "node-partition"
    /// Two of three nodes killed and started again.
    case majorityLoss = "majority-loss"

    // To the database.
    case databaseRestart = "database-restart"
    /// Stopped without a checkpoint, and recovered from its log.
    case databaseCrash = "database-crash"
    /// Server processes ended while they write a commit to disk: the outcome is unknown to who asked.
    case commitCut = "commit-cut"
    /// The table of jobs locked against everybody.
    case databaseLock = "database-lock"
    /// Every commit waits a tenth of a second.
    case commitDelay = "commit-delay"
    /// No connection left to be had, and those that were there ended.
    case connectionsFull = "connections-full"
    /// No space for the log of commits: PostgreSQL ends in a panic.
    case databaseDiskFull = "database-disk-full"

    // To the network between one process and its servers.
    /// Nothing passes in one direction, the other goes on; what was held back arrives afterwards, as TCP repeats it.
    case linkMute = "link-mute"
    /// Connections reset.
    case linkReset = "link-reset"
    /// Half a second more in each direction.
    case linkDelay = "link-delay"

    /// What a fault befalls. Two faults never befall one part at the same time: what they did could not be told apart.
    public enum Part: Sendable, Hashable, Codable {
        case worker(Int)
        case dispatcher(Int)
        case leader
        case broker
        case database
    }

    /// Which kind of part it befalls.
    enum Victim { case worker, dispatcher, leader, process, broker, database }

    var victim: Victim {
        switch self {
        case .workerKill, .workerPause, .workerFreeze, .workerDrain, .workerDiskFull, .workerClock: .worker
        case .leaderKill, .leaderFreeze: .leader
        case .dispatcherDrain: .dispatcher
        case .brokerRestart, .brokerKill, .brokerFreeze, .memoryAlarm, .consumerTimeout, .queueDelete, .nodeKill,
            .nodeFreeze, .nodePartition, .majorityLoss:
            .broker
        case .databaseRestart, .databaseCrash, .commitCut, .databaseLock, .commitDelay, .connectionsFull,
            .databaseDiskFull:
            .database
        case .linkMute, .linkReset, .linkDelay: .process
        }
    }

    /// Whether it needs a broker of several nodes, or of one; nil when either will do.
    var needsCluster: Bool? {
        switch self {
        case .nodeKill, .nodeFreeze, .nodePartition, .majorityLoss: true
        case .brokerRestart, .brokerKill, .brokerFreeze, .memoryAlarm, .consumerTimeout, .queueDelete: false
        default: nil
        }
    }

    /// How long it lasts, in milliseconds; 0 where it is over at once.
    func milliseconds(_ pace: ChaosOptions.Pace) -> ClosedRange<Int> {
        let isBrisk = pace == .brisk
        return switch self {
        case .workerKill, .workerDrain, .leaderKill, .dispatcherDrain, .brokerRestart, .brokerKill, .queueDelete,
            .databaseRestart, .databaseCrash, .linkReset, .commitCut, .databaseDiskFull:
            0...0
        case .nodeKill, .majorityLoss: 500...2_000
        case .workerPause: 300...(isBrisk ? 1_500 : 3_000)
        case .workerFreeze: isBrisk ? 6_000...7_000 : 6_000...12_000
        case .leaderFreeze: 1_500...4_000
        case .workerDiskFull, .workerClock: isBrisk ? 2_000...4_000 : 5_000...15_000
        case .brokerFreeze, .nodeFreeze: isBrisk ? 1_000...4_000 : 1_000...12_000
        case .memoryAlarm: isBrisk ? 3_000...4_000 : 60_000...60_000
        case .consumerTimeout: isBrisk ? 6_000...8_000 : 10_000...20_000
        case .nodePartition: isBrisk ? 3_000...12_000 : 3_000...60_000
        case .databaseLock: 500...3_000
        case .commitDelay: 1_000...4_000
        case .connectionsFull: isBrisk ? 1_500...2_500 : 1_500...10_000
        case .linkMute: isBrisk ? 1_000...4_000 : 1_000...15_000
        case .linkDelay: 1_000...4_000
        }
    }

    /// How long its part takes to be itself again, on a machine of two cores: the schedule leaves so much room.
    var recoverySeconds: Int {
        switch self {
        case .brokerRestart, .brokerKill: 9
        case .nodeKill, .majorityLoss: 9
        case .nodePartition, .nodeFreeze: 6
        case .databaseRestart, .databaseCrash, .databaseDiskFull, .connectionsFull: 4
        case .workerDiskFull, .workerClock: 3
        // So that the time to its jobs' next claim can be taken with nothing else going on.
        case .workerKill: 4
        case .brokerFreeze, .memoryAlarm, .consumerTimeout: 4
        case .queueDelete: 6
        default: 2
        }
    }
}

/// One fault of a schedule.
public struct Strike: Sendable, Codable, Hashable {
    public let number: Int
    /// After the start of the load, in milliseconds.
    public let at: Int
    public let fault: Fault
    public let part: Fault.Part
    public let milliseconds: Int
    /// Any number, for what the fault has to choose besides: a direction, a link, a node.
    public let choice: Int

    /// When its part can be expected to be itself again.
    var end: Int { at + milliseconds + fault.recoverySeconds * 1_000 }

    func with(number: Int, at: Int) -> Strike {
        Strike(number: number, at: at, fault: fault, part: part, milliseconds: milliseconds, choice: choice)
    }

    public var line: String {
        let seconds = Double(at) / 1_000
        let length = milliseconds > 0 ? " for \(milliseconds) ms" : ""
        return "\(number)  \(Seconds.text(seconds))  \(fault.rawValue) \(part.name)\(length)"
    }
}

extension Fault.Part {
    public var name: String {
        switch self {
        case .worker(let seat): "worker-\(seat)"
        case .dispatcher(let seat): "dispatcher-\(seat)"
        case .leader: "the leader"
        case .broker: "broker"
        case .database: "database"
        }
    }

    /// Strikes on parts of one group wait for each other. Who leads is seen only when it happens, so the dispatchers are one.
    var group: String {
        switch self {
        case .worker(let seat): "worker-\(seat)"
        case .dispatcher, .leader: "dispatchers"
        case .broker: "broker"
        case .database: "database"
        }
    }
}

/// Seconds with three decimals, as they stand in schedules and timelines.
enum Seconds {
    static func text(_ seconds: Double) -> String {
        let milliseconds = Int((seconds * 1_000).rounded())
        let rest = "\(milliseconds % 1_000)"
        return "\(milliseconds / 1_000)." + String(repeating: "0", count: 3 - rest.count) + rest + " s"
    }
}
