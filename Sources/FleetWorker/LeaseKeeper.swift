import FleetModel
import FleetStore
import Logging
import PostgresClient
import Synchronization

/// Keeps a worker's right to its jobs: one row renewed, and one lock held on a session of its own.
///
/// When the row can no longer be renewed in time, or says that the epoch has ended, everything that runs here may be
/// claimed by others. Then `onFenced` is called, and a new epoch begins as soon as the database answers.
actor LeaseKeeper {
    private let store: FleetStore
    private let liveness: PostgresDedicated
    private let lease: Duration
    private let logger: Logger
    private var current: WorkerEpoch? {
        didSet { note() }
    }
    private var worker: Int64?
    private var renewedAt = ContinuousClock.now {
        didSet { note() }
    }
    private var isDraining = false
    private var isEnded = false
    private var isRenewing = false
    private var asking: [CheckedContinuation<WorkerEpoch?, Never>] = []

    /// What can be told of the lease without waiting.
    struct Record: Sendable {
        var isHeld = false
        var renewedAt = ContinuousClock.now
        var losses = 0
    }

    private nonisolated let noted = Mutex(Record())

    nonisolated var record: Record { noted.withLock { $0 } }

    private func note() {
        let (isHeld, renewedAt) = (current != nil && !isEnded, renewedAt)
        noted.withLock { record in
            if record.isHeld, !isHeld { record.losses += 1 }
            (record.isHeld, record.renewedAt) = (isHeld, renewedAt)
        }
    }

    init(store: FleetStore, database: PostgresConfiguration, lease: Duration, logger: Logger) {
        self.store = store
        var configuration = database
        configuration.applicationName = "gaia liveness"
        liveness = PostgresDedicated(configuration: configuration, logger: logger)
        self.lease = lease
        self.logger = logger
    }

    /// Registers the worker and takes its liveness lock. Nothing is claimed before.
    func begin(_ card: WorkerCard) async throws -> WorkerEpoch {
        let owner = try await store.register(card, lease: lease)
        worker = owner.worker
        renewedAt = .now
        try await Patience()({ try await self.takeLock() })
        current = owner
        return owner
    }

    /// Under which epoch to claim; waits while there is none. Nil once the worker ends.
    func owner() async -> WorkerEpoch? {
        if isEnded { return nil }
        if let current { return current }
        return await withCheckedContinuation { asking.append($0) }
    }

    /// The epoch at this moment, if there is one.
    var present: WorkerEpoch? { isEnded ? nil : current }

    /// Holds lease and lock until the task is cancelled.
    func hold(load: @escaping @Sendable () -> WorkerLoad, onFenced: @escaping @Sendable () -> Void) async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.keepLock() }
            group.addTask {
                let pause = min(Self.reportInterval, self.lease / 6)
                while !Task.isCancelled {
                    // Woken by cancellation too, which ends the loop.
                    try? await Task.sleep(for: pause)
                    await self.asked.wait(atMost: self.lease / 3 - pause)
                    if !Task.isCancelled { await self.renew(load: load, onFenced: onFenced) }
                }
            }
        }
    }

    /// However often it is asked to report, it does so no more often than this.
    static let reportInterval: Duration = .milliseconds(500)

    private let asked = Bell()

    /// Renews the lease soon, since somebody wants to know how far this worker is.
    nonisolated func report() { asked.ring() }

    func drain() { isDraining = true }

    /// A claim was refused because its epoch is over: do not wait for the next renewal to find out.
    func refused(_ owner: WorkerEpoch, load: @Sendable () -> WorkerLoad, onFenced: @Sendable () -> Void) async {
        if current == owner { await renew(load: load, onFenced: onFenced) }
    }

    /// Gives the lease back and lets the lock go.
    func end() async {
        isEnded = true
        answer(nil)
        if let current {
            do {
                try await Patience(limit: .seconds(3))({ try await self.store.release(current) })
            } catch {
                logger.warning("the lease could not be given back, it ends by itself in \(lease): \(error)")
            }
        }
        await liveness.close()
    }

    // MARK: The lease

    private func renew(load: @Sendable () -> WorkerLoad, onFenced: @Sendable () -> Void) async {
        // Actors are reentrant: one renewal at a time.
        if isRenewing || isEnded { return }
        isRenewing = true
        defer { isRenewing = false }
        do {
            if let owner = current {
                let began = ContinuousClock.now
                if try await store.renew(owner, lease: lease, load: load(), draining: isDraining) {
                    renewedAt = began
                    return
                }
                logger.error("\(owner) has ended: the dispatcher took this worker for dead")
                current = nil
                onFenced()
            }
            guard let worker, !isEnded else { return }
            let began = ContinuousClock.now
            let owner = try await store.beginEpoch(worker: worker, lease: lease)
            renewedAt = began
            current = owner
            logger.notice("\(owner) begins")
            answer(owner)
        } catch {
            logger.warning("the lease could not be renewed: \(error)")
            // By our own clock from before the last renewal was sent, so never later than the database's end.
            if current != nil, ContinuousClock.now - renewedAt >= lease * 0.8 {
                current = nil
                onFenced()
            }
        }
    }

    private func answer(_ owner: WorkerEpoch?) {
        let waiting = asking
        asking = []
        for continuation in waiting { continuation.resume(returning: owner) }
    }

    // MARK: The lock

    private func keepLock() async {
        while !Task.isCancelled {
            let lost = await liveness.closed()
            if Task.isCancelled || isEnded { return }
            logger.warning("the liveness connection was lost: \(lost.map { "\($0)" } ?? "closed")")
            do {
                try await Patience(initial: .milliseconds(20), cap: .milliseconds(200))({ try await self.takeLock() })
            } catch {
                return  // Cancelled: nothing else ends it.
            }
        }
    }

    private func takeLock() async throws {
        guard let worker else { return }
        let session = try await liveness.connect()
        guard try await FleetStore.holdLiveness(of: worker, on: session) else {
            throw LockStillHeld(worker: worker)
        }
    }
}

/// The server has not yet noticed that our former session is gone.
struct LockStillHeld: Error, CustomStringConvertible {
    let worker: Int64
    var description: String { "the liveness lock of worker \(worker) is still held by its former session" }
}
