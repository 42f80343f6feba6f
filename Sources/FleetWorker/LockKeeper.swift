import FleetModel
import FleetStore
import Logging
import PostgresClient
import Synchronization

/// Gets the fleet's locks for the jobs of one worker.
///
/// ```
///  withLock ─▶ ask (a batch) ─▶ held │ in line                        release ─▶ leave (a batch) ─▶ the next holds
///                                        ▲ look (a batch)                                 │ a job of this worker: told here
///   one LISTEN connection ───────────────┤ hints                                          ▼ of another: NOTIFY
///   every second ────────────────────────┘ the truth
/// ```
///
/// Who waits holds no connection and no thread, only a row in the line. All that has gathered goes in one statement.
package final class LockKeeper: Sendable {
    private struct State {
        var table = LockTable()
        var isEnded = false
    }

    private struct Leave: Sendable {
        let owner: WorkerEpoch
        let request: LockRequest
        let done: CheckedContinuation<Void, Never>?
    }

    /// How often waits are looked at without a hint: what a lost notification can cost.
    package static let pollInterval: Duration = .seconds(1)
    /// How often waits are looked at for their time limit, which holds to within this.
    package static let tickInterval: Duration = .milliseconds(100)
    /// Locks held or waited for in one worker; more are refused as crowded.
    package static let requestsMax = 50_000
    /// The most names in one statement: each takes a place in the server's lock table until its commit.
    static let batchMax = 500

    private let store: FleetStore
    private let database: PostgresConfiguration
    private let poll: Duration
    private let logger: Logger
    private let state = Mutex(State())
    /// Locks that jobs hold here, and those that they wait for.
    package var counts: (held: Int, waiting: Int) { state.withLock { $0.table.counts } }

    private let asks = BatchQueue<Int64>()
    private let looks = BatchQueue<Int64>()
    private let leaves = BatchQueue<Leave>()

    /// - Parameter database: for the connection that listens.
    package init(
        store: FleetStore, database: PostgresConfiguration, poll: Duration = LockKeeper.pollInterval, logger: Logger
    ) {
        self.store = store
        var configuration = database
        configuration.applicationName = "gaia locks"
        self.database = configuration
        self.poll = poll
        self.logger = logger
    }

    // MARK: For jobs

    /// Waits for a lock.
    ///
    /// - Returns: its token.
    package func acquire(_ name: String, for claimant: LockClaimant, within limit: Duration) async throws -> Int64 {
        try Task.checkCancellation()
        let pending = Mutex<Int64?>(nil)
        return try await withTaskCancellationHandler {
            let result: Result<Int64, any Error> = await withCheckedContinuation { continuation in
                let begun = state.withLock { state -> Result<Int64, any Error> in
                    if state.isEnded { return .failure(LockError.fenced(name: name)) }
                    if state.table.request(name, claimant) != nil { return .failure(LockError.nested(name: name)) }
                    if state.table.entries.count >= Self.requestsMax {
                        return .failure(LockError.crowded(name: name))
                    }
                    return .success(state.table.begin(name, claimant, limit: limit, now: .now, continuation))
                }
                switch begun {
                case .failure(let error): continuation.resume(returning: .failure(error))
                case .success(let request):
                    pending.withLock { $0 = request }
                    asks.append(request)
                    // A cancellation from before the request was noted has found nothing to abandon.
                    if Task.isCancelled { abandon(request) }
                }
            }
            return try result.get()
        } onCancel: {
            if let request = pending.withLock({ $0 }) { abandon(request) }
        }
    }

    private func abandon(_ request: Int64) { act { $0.abandon(request, CancellationError()) } }

    /// Gives a lock back. Returns when that is committed, or has failed once and is tried again without the caller.
    package func release(_ name: String, for claimant: LockClaimant) async {
        await withCheckedContinuation { done in
            let isLeaving = state.withLock { state in
                guard !state.isEnded, let request = state.table.release(name, claimant) else { return false }
                // Under the lock: nothing may come into the queue after its end, or nobody would answer.
                leaves.append(Leave(owner: claimant.owner, request: request, done: done))
                return true
            }
            if !isLeaving { done.resume() }
        }
    }

    // MARK: Life

    /// Serves until it is ended; then cancel the task.
    ///
    /// - Parameter onFenced: the ledger says that an epoch has ended.
    package func run(worker: Int64, onFenced: @escaping @Sendable (WorkerEpoch) async -> Void = { _ in }) async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.ask(onFenced) }
            group.addTask { await self.look() }
            group.addTask { await self.leave() }
            var isListening = false
            var polled = ContinuousClock.now
            while !Task.isCancelled {
                let now = ContinuousClock.now
                act { $0.expire(now: now) }
                let waiting = state.withLock { $0.table.waiting }
                if !waiting.isEmpty, !isListening {
                    // A worker whose jobs never wait needs no connection for it.
                    isListening = true
                    group.addTask { await self.listen(worker) }
                }
                if now - polled >= poll {
                    polled = now
                    looks.append(contentsOf: waiting)
                }
                // Woken by cancellation too, which ends the loop.
                try? await Task.sleep(for: min(Self.tickInterval, poll))
            }
            end()
        }
    }

    /// No job runs any more: nothing is asked or given back one by one, since the epoch's end frees all at once.
    package func end() {
        let left = state.withLock { state -> [Int64] in
            state.isEnded = true
            return Array(state.table.entries.keys)
        }
        for request in left { act { $0.abandon(request, CancellationError()) } }
        asks.finish()
        looks.finish()
        leaves.finish()
    }

    private var isEnded: Bool { state.withLock { $0.isEnded } }

    /// Changes the table and does what follows from it.
    private func act(_ change: (inout LockTable) -> [LockTable.Action]) {
        for action in state.withLock({ change(&$0.table) }) {
            switch action {
            case .resume(let continuation, let result): continuation.resume(returning: result)
            case .leave(let owner, let request): leaves.append(Leave(owner: owner, request: request, done: nil))
            case .look(let request): looks.append(request)
            case .ask(let request): later { self.asks.append(request) }
            }
        }
    }

    /// Does something over after a pause.
    private func later(_ body: @escaping @Sendable () -> Void) {
        let pause = Patience().pause(afterFailure: 2)
        Task {
            // Cancelled only when the process ends at once; then the epoch's end frees all.
            try? await Task.sleep(for: pause)
            body()
        }
    }

    // MARK: Asking

    private func ask(_ onFenced: (WorkerEpoch) async -> Void) async {
        while let batch = await asks.next() {
            for (owner, requests) in byOwner(batch) {
                for start in stride(from: 0, to: requests.count, by: Self.batchMax) {
                    await ask(Array(requests[start..<min(start + Self.batchMax, requests.count)]), owner, onFenced)
                }
            }
        }
    }

    private func ask(_ requests: [Int64], _ owner: WorkerEpoch, _ onFenced: (WorkerEpoch) async -> Void) async {
        let now = ContinuousClock.now
        let questions = state.withLock { state in
            requests.compactMap { request in
                state.table.entries[request].map { entry in
                    LockQuestion(
                        name: entry.name, request: request, holder: "\(entry.claimant.job)",
                        wait: max(entry.deadline - now, .zero))
                }
            }
        }
        do {
            let answers = try await store.enterLocks(questions, by: owner)
            let now = ContinuousClock.now
            act { table in zip(questions, answers).flatMap { table.settle($0.request, $1, now: now) } }
            if answers.contains(.fenced) { await onFenced(owner) }
        } catch {
            logger.warning("\(questions.count) locks could not be asked for: \(error)")
            let now = ContinuousClock.now
            act { table in
                questions.flatMap { question -> [LockTable.Action] in
                    table.note("\(error)", of: question.request)
                    return table.settle(question.request, .busy, now: now)
                }
            }
        }
    }

    private func byOwner(_ requests: [Int64]) -> [WorkerEpoch: [Int64]] {
        state.withLock { state in
            requests.reduce(into: [:]) { owners, request in
                guard let entry = state.table.entries[request] else { return }
                owners[entry.claimant.owner, default: []].append(request)
            }
        }
    }

    // MARK: Waiting

    private func look() async {
        while let batch = await looks.next() {
            let waiting = state.withLock { state in
                Set(batch).compactMap { request -> (WorkerEpoch, LockRequest)? in
                    guard let entry = state.table.entries[request], case .waiting = entry.phase else { return nil }
                    return (entry.claimant.owner, LockRequest(name: entry.name, request: request))
                }
            }
            for (owner, requests) in Dictionary(grouping: waiting, by: \.0).mapValues({ $0.map(\.1) }) {
                do {
                    for start in stride(from: 0, to: requests.count, by: Self.batchMax) {
                        let part = Array(requests[start..<min(start + Self.batchMax, requests.count)])
                        let answers = try await store.lookAtLocks(part, by: owner)
                        let now = ContinuousClock.now
                        act { table in zip(part, answers).flatMap { table.settle($0.request, $1, now: now) } }
                    }
                } catch {
                    logger.warning("\(requests.count) waits for locks could not be looked at: \(error)")
                }
            }
        }
    }

    private func listen(_ worker: Int64) async {
        let listener = PostgresListener(
            configuration: database, channels: [FleetStore.lockChannel(of: worker)], logger: logger)
        await withDiscardingTaskGroup { group in
            group.addTask {
                do { try await listener.run() } catch {
                    self.logger.warning("locks are waited for by asking every \(self.poll), not listening: \(error)")
                }
            }
            for await notification in listener.notifications {
                switch notification {
                case .message(_, let payload):
                    if let request = Int64(payload) { act { $0.hint(request) } }
                // What was said meanwhile is unknown.
                case .reconnected, .lagged: act { table in table.waiting.flatMap { table.hint($0) } }
                }
            }
            group.cancelAll()
        }
    }

    // MARK: Leaving

    private func leave() async {
        while let batch = await leaves.next() {
            for (owner, group) in Dictionary(grouping: batch, by: \.owner) {
                for start in stride(from: 0, to: group.count, by: Self.batchMax) {
                    await leave(Array(group[start..<min(start + Self.batchMax, group.count)]), owner)
                }
            }
        }
    }

    private func leave(_ batch: [Leave], _ owner: WorkerEpoch) async {
        do {
            let answers = try await store.leaveLocks(batch.map(\.request), by: owner)
            let now = ContinuousClock.now
            for (leave, answer) in zip(batch, answers) {
                switch answer {
                case .left: break
                case .passed(let request, let token): pass(request, token, now)
                case .busy: leaveLater(leave)
                }
            }
        } catch {
            logger.warning("\(batch.count) locks could not be given back and are tried again: \(error)")
            for leave in batch { leaveLater(leave) }
        }
        for leave in batch { leave.done?.resume() }
    }

    /// The lock went to another job of this worker, by a commit whose answer this is. A question that is still under way
    /// gets the same answer by a look.
    private func pass(_ request: Int64, _ token: Int64, _ now: ContinuousClock.Instant) {
        act { table in
            if case .waiting = table.entries[request]?.phase {
                table.settle(request, .held(token: token), now: now)
            } else {
                table.hint(request)
            }
        }
    }

    /// Until it has taken effect: a lock that nobody here knows of would be held until the epoch ends.
    private func leaveLater(_ leave: Leave) {
        if isEnded { return }
        later { self.leaves.append(Leave(owner: leave.owner, request: leave.request, done: nil)) }
    }
}

/// The fleet's locks as one attempt of a job sees them.
struct AttemptLocks: JobLocks {
    let keeper: LockKeeper
    let claimant: LockClaimant

    func acquire(_ name: String, within limit: Duration) async throws -> LockGrant {
        LockGrant(name: name, token: try await keeper.acquire(name, for: claimant, within: limit))
    }

    func release(_ grant: LockGrant) async { await keeper.release(grant.name, for: claimant) }
}
