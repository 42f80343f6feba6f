import AMQPClient
import FleetBroker
import FleetModel
import FleetStack
import FoundationEssentials
import Glibc
import PostgresClient
import Synchronization

/// What a strike came to.
struct StrikeRecord: Sendable {
    let strike: Strike
    let began, ended: Duration
    /// What was seen of it, such as the process that was killed.
    let evidence: String

    /// Whether it took this process from its jobs: the process itself, or its link to one of the servers.
    func hits(_ process: String) -> Bool {
        switch strike.fault {
        case .workerKill, .workerPause, .workerFreeze: evidence.hasPrefix("\(process) ")
        case .linkMute, .linkReset, .linkDelay:
            evidence.contains("between \(process.prefix { $0 != "." }) and ")
        default: false
        }
    }
}

/// Carries out a schedule. A fault that cannot be brought about ends the run: a run that only believed to be under fire has
/// shown nothing. So each strike returns what was seen of it.
final class Injector: Sendable {
    let stack: Stack
    let workers: [Seat]
    let dispatchers: [Seat]
    let observer: Observer
    let clock: RunClock
    /// The log volume of the database; nil when it has none of its own.
    let walVolume: SmallVolume?
    let clockLibrary: String?
    let onStrike: @Sendable (String) -> Void
    private let records = Mutex<[StrikeRecord]>([])
    private let late = Mutex(Duration.zero)

    init(
        stack: Stack, workers: [Seat], dispatchers: [Seat], observer: Observer, clock: RunClock,
        walVolume: SmallVolume?, clockLibrary: String?, onStrike: @escaping @Sendable (String) -> Void
    ) {
        self.stack = stack
        self.workers = workers
        self.dispatchers = dispatchers
        self.observer = observer
        self.clock = clock
        self.walVolume = walVolume
        self.clockLibrary = clockLibrary
        self.onStrike = onStrike
    }

    var count: Int { records.withLock { $0.count } }
    var done: [StrikeRecord] { records.withLock { $0.sorted { $0.began < $1.began } } }

    /// By how much a strike has begun later than planned, at most: its part was not itself again.
    var delay: Duration { late.withLock { $0 } }

    /// Runs each strike at its time, or as soon after it as its part is itself again. Cancelled, it sees those through that
    /// are under way, so that nothing stays broken, and returns.
    func run(_ plan: ChaosPlan) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for strikes in Dictionary(grouping: plan.strikes, by: \.part.group).values {
                group.addTask { [self] in
                    for strike in strikes {
                        do { try await Task.sleep(until: clock.instant(.milliseconds(strike.at))) } catch { return }
                        // A task of its own is not cancelled with this one.
                        try await Task { try await carryOut(strike) }.value
                    }
                }
            }
            for try await _ in group {}
        }
    }

    private func carryOut(_ strike: Strike) async throws {
        if strike.part == .broker { try await awaitService(before: strike) }
        if strike.part == .database { await observer.dropCutConnections() }
        onStrike(strike.fault.rawValue)
        let began = clock.now
        late.withLock { $0 = max($0, began - .milliseconds(strike.at)) }
        let evidence: String
        do { evidence = try await perform(strike) } catch {
            throw ChaosError("strike \(strike.line): it could not be brought about: \(error)")
        }
        records.withLock {
            $0.append(StrikeRecord(strike: strike, began: began, ended: clock.now, evidence: evidence))
        }
    }

    /// Whatever befell the broker last, jobs are to be consumed again before the next befalls it: that shows the fleet to
    /// have come back, and a queue that is deleted while its node still starts takes RabbitMQ 3.10's others down with it.
    private func awaitService(before strike: Strike) async throws {
        let queue = FleetBroker.jobsQueue(ChaosSubsystem.name)
        do {
            // A quorum queue that has just come back still counts the consumers that it had, and has no leader yet.
            for _ in 1...2 {
                try await chaosEventually(
                    "the jobs to be consumed again", within: .seconds(120), every: .milliseconds(200)
                ) { await observer.consumers(of: queue) > 0 }
                try await Task.sleep(for: .seconds(2))
            }
        } catch let error as ChaosError {
            throw ChaosError("before strike \(strike.line): \(error)")
        }
    }

    private func perform(_ strike: Strike) async throws -> String {
        let length = Duration.milliseconds(strike.milliseconds)
        return switch strike.fault {
        case .workerKill: try await kill(seat(strike.part))
        case .workerPause, .workerFreeze: try await freeze(seat(strike.part), for: length)
        case .workerDrain, .dispatcherDrain: try await drain(seat(strike.part))
        case .leaderKill: try await killLeader()
        case .leaderFreeze: try await freezeLeader(for: length)
        case .workerDiskFull: try await fillLog(of: seat(strike.part), for: length)
        case .workerClock: try await shiftClock(of: seat(strike.part), strike, for: length)
        case .brokerRestart, .brokerKill, .brokerFreeze, .memoryAlarm, .consumerTimeout, .queueDelete:
            try await strikeBroker(strike.fault, for: length)
        case .nodeKill, .nodeFreeze, .nodePartition, .majorityLoss: try await strikeCluster(strike, for: length)
        case .databaseRestart, .databaseCrash, .commitCut, .databaseLock, .commitDelay, .connectionsFull,
            .databaseDiskFull:
            try await strikeDatabase(strike.fault, for: length)
        case .linkMute, .linkReset, .linkDelay: try await strikeLink(seat(strike.part), strike, for: length)
        }
    }

    // MARK: Processes

    private func seat(_ part: Fault.Part) throws -> Seat {
        switch part {
        case .worker(let number): return workers[(number - 1) % workers.count]
        case .dispatcher(let number): return dispatchers[(number - 1) % dispatchers.count]
        case .leader, .broker, .database: throw ChaosError("\(part.name) is no process of a seat")
        }
    }

    private func kill(_ seat: Seat) async throws -> String {
        let process = seat.processName(try await seat.signal(SIGKILL, isEnd: true))
        try await chaosEventually("\(process) to be gone", within: .seconds(10), every: .milliseconds(5)) {
            seat.ends.contains { $0.process == process }
        }
        return "\(process) killed"
    }

    private func drain(_ seat: Seat) async throws -> String {
        let process = seat.processName(try await seat.signal(SIGTERM, isEnd: true))
        try await chaosEventually("\(process) to drain", within: .seconds(90)) {
            seat.ends.contains { $0.process == process }
        }
        let end = seat.ends.first { $0.process == process }
        return "\(process) \(end.map { "\($0.status)" } ?? "")"
    }

    private func freeze(_ seat: Seat, for length: Duration) async throws -> String {
        let process = seat.processName(try await seat.pause())
        try await Task.sleep(for: length)
        try await seat.signal(SIGCONT)
        return "\(process) stopped for \(length.milliseconds) ms"
    }

    private func leader() async throws -> Seat {
        var found: Seat?
        try await chaosEventually("a leader among the dispatchers", within: .seconds(60)) {
            // The database may be away at this moment.
            let name = try? await observer.leader()
            found = dispatchers.first { $0.process == name && $0.processID != nil }
            return found != nil
        }
        guard let found else { throw ChaosError("no dispatcher leads") }
        return found
    }

    private func killLeader() async throws -> String {
        let seat = try await leader()
        let evidence = try await kill(seat)
        return try await evidence + ", \(nextLeader(after: seat.name))"
    }

    private func freezeLeader(for length: Duration) async throws -> String {
        let seat = try await leader()
        let process = seat.processName(try await seat.pause())
        let next: String
        do { next = try await nextLeader(after: process) } catch {
            try await seat.signal(SIGCONT)
            throw error
        }
        try await Task.sleep(for: length)
        try await seat.signal(SIGCONT)
        return "\(process) stopped, \(next)"
    }

    private func nextLeader(after name: String) async throws -> String {
        let began = clock.now
        var next = ""
        try await chaosEventually("another leader than \(name)", within: .seconds(60), every: .milliseconds(10)) {
            guard let leader = try? await observer.leader(), !leader.hasPrefix(name) else { return false }
            next = leader
            return true
        }
        return "\(next) leads after \((clock.now - began).milliseconds) ms"
    }

    private func fillLog(of seat: Seat, for length: Duration) async throws -> String {
        try await seat.set(Seat.Conditions(log: "/dev/full"))
        let process = seat.process
        try await Task.sleep(for: length)
        let isAlive = seat.processID != nil
        try await seat.set(Seat.Conditions())
        return "\(process) wrote to a full device\(isAlive ? "" : ", and had ended")"
    }

    private func shiftClock(of seat: Seat, _ strike: Strike, for length: Duration) async throws -> String {
        guard let clockLibrary else {
            throw ChaosError(
                "libClockShift.so is not beside the program: build the whole package, or leave worker-clock out with "
                    + "--without")
        }
        let shift = strike.choice.isMultiple(of: 2) ? "3600" : "-3600"
        try await seat.set(
            Seat.Conditions(environment: [
                "LD_PRELOAD": clockLibrary, "GAIA_CLOCK_SHIFT_SECONDS": shift,
            ]))
        try await chaosEventually("the library in \(seat.name)", within: .seconds(20)) {
            guard let id = seat.processID else { return false }
            return ProcessStatus.read("/proc/\(id)/maps")?.contains("libClockShift") ?? false
        }
        let process = seat.process
        try await Task.sleep(for: length)
        try await seat.set(Seat.Conditions())
        return "\(process) was \(shift) s off"
    }

    // MARK: Links

    private func strikeLink(_ seat: Seat, _ strike: Strike, for length: Duration) async throws -> String {
        let isBroker = strike.choice.isMultiple(of: 2)
        let links = isBroker ? seat.brokerLinks : [seat.databaseLink]
        let name = "\(seat.name) and \(isBroker ? "broker" : "database")"
        try await chaosEventually("a connection between \(name)", within: .seconds(60)) {
            links.reduce(0) { $0 + $1.connections } > 0
        }
        switch strike.fault {
        case .linkReset:
            let count = links.reduce(0) { $0 + $1.reset() }
            return "\(count) connections between \(name) reset"
        case .linkDelay:
            for link in links { link.set(FaultyLink.Trouble(delay: .milliseconds(500))) }
        default:
            let direction: FaultyLink.Direction = strike.choice % 4 < 2 ? .outbound : .inbound
            for link in links { link.set(FaultyLink.Trouble(muted: [direction])) }
        }
        try await Task.sleep(for: length)
        for link in links { link.set(FaultyLink.Trouble()) }
        return "between \(name)"
    }
}
