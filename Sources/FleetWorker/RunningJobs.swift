import AMQPClient
import FleetModel
import FleetStore
import Synchronization

/// What this worker owns at the moment, from claim to committed completion.
///
/// Each job runs in a task of its own whose handle is kept here: a child of a task group could not be cancelled by
/// itself, and deadlines, fencing and draining need just that. No task outlives the worker, since draining waits until
/// this table is empty.
package final class RunningJobs: Sendable {
    /// Why a task was cancelled by us.
    package enum Interruption: Sendable, Equatable {
        /// Its attempt took longer than its type allows.
        case timeout
        /// The whole job's time is over.
        case deadline
        /// The worker stops, or has lost its lease: another shall run it.
        case handBack
        /// Somebody called it off, for this reason.
        case calledOff(String)
    }

    private struct Entry {
        let arrival: Arrival
        /// Of the present delivery: the first may be lost with its connection.
        var tag: AMQPDeliveryTag
        let ownership: Ownership
        let begun: ContinuousClock.Instant
        let expiry: ContinuousClock.Instant
        let expiryKind: Interruption
        let trace: AttemptTrace?
        var interruption: Interruption?
        var interruptedAt: ContinuousClock.Instant?
        var isSettled = false
        var progress: JobProgress?
        var task: Task<Void, Never>?
    }

    private struct State {
        var entries: [JobIdentity: Entry] = [:]
        var hasProgress = false
        var emptied: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    package init() {}

    package var count: Int { state.withLock { $0.entries.count } }

    /// A claimed job, and what runs it.
    package struct Run: Sendable {
        let arrival: Arrival
        let ownership: Ownership
        let begun: ContinuousClock.Instant
        let expiry: ContinuousClock.Instant
        let expiryKind: Interruption
        let trace: AttemptTrace?
        let body: @Sendable () async -> Void

        /// - Parameters:
        ///   - begun: when it was claimed.
        ///   - trace: its spans, when it is traced.
        package init(
            _ arrival: Arrival, _ ownership: Ownership, begun: ContinuousClock.Instant = .now,
            expiry: ContinuousClock.Instant, expiryKind: Interruption, trace: AttemptTrace? = nil,
            body: @escaping @Sendable () async -> Void
        ) {
            self.trace = trace
            self.arrival = arrival
            self.ownership = ownership
            self.begun = begun
            self.expiry = expiry
            self.expiryKind = expiryKind
            self.body = body
        }
    }

    /// Enters claimed jobs and starts their tasks.
    package func start(_ runs: [Run]) {
        state.withLock { state in
            for run in runs {
                let entry = Entry(
                    arrival: run.arrival, tag: run.arrival.tag, ownership: run.ownership, begun: run.begun,
                    expiry: run.expiry, expiryKind: run.expiryKind, trace: run.trace)
                let previous = state.entries.updateValue(entry, forKey: run.arrival.identity)
                precondition(previous == nil, "a job was claimed while it ran here: \(run.arrival.identity)")
            }
        }
        // Not within the lock, which the first thing that a short job does would find held.
        let tasks = runs.map { Task(operation: $0.body) }
        let interrupted = state.withLock { state in
            zip(runs, tasks).compactMap { run, task -> Task<Void, Never>? in
                guard let index = state.entries.index(forKey: run.arrival.identity),
                    state.entries.values[index].ownership.token == run.ownership.token,
                    !state.entries.values[index].isSettled
                else { return nil }
                state.entries.values[index].task = task
                return state.entries.values[index].interruption == nil ? nil : task
            }
        }
        for task in interrupted { task.cancel() }
    }

    package enum LocalMatch: Sendable {
        case none
        /// The job runs here and its own delivery was lost with the connection: the new one has taken its place.
        case adopted
        /// A repeat of a job that runs here.
        case duplicate
    }

    /// Looks for a job that runs here already under the arrival's key.
    package func match(_ arrival: Arrival) -> LocalMatch {
        state.withLock { state in
            guard let entry = state.entries[arrival.identity] else { return .none }
            if entry.tag.generation < arrival.tag.generation, arrival.delivery.redelivered,
                entry.arrival.payload == arrival.payload, entry.arrival.job.type == arrival.job.type,
                // Another's repeat, handed back by another worker, comes redelivered too, and wants an answer of its own.
                entry.arrival.job.replyTo == arrival.job.replyTo,
                entry.arrival.job.correlationID == arrival.job.correlationID
            {
                state.entries[arrival.identity]?.tag = arrival.tag
                return .adopted
            }
            return .duplicate
        }
    }

    /// The one place that decides who settles a job: its handler's end, or the sweep that gave the handler up. The token
    /// tells a handler that was given up from the next attempt of the same job here.
    ///
    /// - Returns: the job, why it was interrupted, when it was begun, and its spans; nil when it is settled already.
    package func beginSettling(
        _ identity: JobIdentity, token: Int64
    ) -> (Arrival, Ownership, Interruption?, begun: ContinuousClock.Instant, AttemptTrace?)? {
        state.withLock { state in
            guard let index = state.entries.index(forKey: identity),
                state.entries.values[index].ownership.token == token, !state.entries.values[index].isSettled
            else { return nil }
            state.entries.values[index].isSettled = true
            state.entries.values[index].task = nil
            let entry = state.entries.values[index]
            return (entry.arrival, entry.ownership, entry.interruption, entry.begun, entry.trace)
        }
    }

    /// Completions are committed, or void.
    ///
    /// - Returns: of each the delivery to acknowledge, which may have changed while the job was being settled; nil for one
    ///   that does not run here.
    @discardableResult
    package func remove(_ identities: [JobIdentity]) -> [AMQPDeliveryTag?] {
        let (tags, emptied) = state.withLock { state -> ([AMQPDeliveryTag?], [CheckedContinuation<Void, Never>]) in
            let tags = identities.map { state.entries.removeValue(forKey: $0)?.tag }
            guard state.entries.isEmpty else { return (tags, []) }
            defer { state.emptied = [] }
            return (tags, state.emptied)
        }
        for waiter in emptied { waiter.resume() }
        return tags
    }

    /// Cancels what has run too long.
    ///
    /// - Returns: jobs whose handler has ignored its cancellation for `grace`, with their tokens.
    package func interruptExpired(now: ContinuousClock.Instant, grace: Duration) -> [(JobIdentity, Int64)] {
        let (tasks, stubborn) = state.withLock { state -> ([Task<Void, Never>], [(JobIdentity, Int64)]) in
            var tasks: [Task<Void, Never>] = []
            var stubborn: [(JobIdentity, Int64)] = []
            for (identity, entry) in state.entries where !entry.isSettled {
                if let since = entry.interruptedAt {
                    if now - since > grace { stubborn.append((identity, entry.ownership.token)) }
                } else if entry.expiry <= now {
                    if let task = entry.task { tasks.append(task) }
                    state.entries[identity]?.interruption = entry.expiryKind
                    state.entries[identity]?.interruptedAt = now
                }
            }
            return (tasks, stubborn)
        }
        for task in tasks { task.cancel() }
        return stubborn
    }

    /// Cancels everything, for another worker to run.
    package func interruptAll() {
        let tasks = state.withLock { state -> [Task<Void, Never>] in
            var tasks: [Task<Void, Never>] = []
            for (identity, entry) in state.entries where !entry.isSettled && entry.interruption == nil {
                if let task = entry.task { tasks.append(task) }
                state.entries[identity]?.interruption = .handBack
                state.entries[identity]?.interruptedAt = .now
            }
            return tasks
        }
        for task in tasks { task.cancel() }
    }

    /// Cancels one job that was called off.
    package func callOff(_ identity: JobIdentity, reason: String) {
        let task = state.withLock { state -> Task<Void, Never>? in
            guard let entry = state.entries[identity], !entry.isSettled, entry.interruption == nil else { return nil }
            state.entries[identity]?.interruption = .calledOff(reason)
            state.entries[identity]?.interruptedAt = .now
            return entry.task
        }
        task?.cancel()
    }

    /// Keeps what a handler says of its progress until it is collected.
    package func note(_ progress: JobProgress, of identity: JobIdentity, token: Int64) {
        state.withLock { state in
            guard let entry = state.entries[identity], entry.ownership.token == token, !entry.isSettled else { return }
            state.entries[identity]?.progress = progress
            state.hasProgress = true
        }
    }

    /// What handlers have said since the last time.
    package func takeProgress() -> [(job: Job, ownership: Ownership, progress: JobProgress)] {
        state.withLock { state in
            guard state.hasProgress else { return [] }
            state.hasProgress = false
            var taken: [(job: Job, ownership: Ownership, progress: JobProgress)] = []
            for (identity, entry) in state.entries {
                guard let progress = entry.progress else { continue }
                taken.append((entry.arrival.job, entry.ownership, progress))
                state.entries[identity]?.progress = nil
            }
            return taken
        }
    }

    /// A job that this worker owns, as it is told to whoever looks.
    package struct Look: Sendable {
        package let job: Job
        package let ownership: Ownership
        package let begun, expiry: ContinuousClock.Instant
        package let interruption: Interruption?
        package let isSettled: Bool
    }

    /// All that this worker owns, the oldest first.
    package func looks() -> [Look] {
        let entries = state.withLock { Array($0.entries.values) }
        return entries.sorted { $0.begun < $1.begun }.map {
            Look(
                job: $0.arrival.job, ownership: $0.ownership, begun: $0.begun, expiry: $0.expiry,
                interruption: $0.interruption, isSettled: $0.isSettled)
        }
    }

    /// Waits until nothing is owned any more.
    package func empty() async {
        await withCheckedContinuation { continuation in
            let isEmpty = state.withLock { state in
                if !state.entries.isEmpty { state.emptied.append(continuation) }
                return state.entries.isEmpty
            }
            if isEmpty { continuation.resume() }
        }
    }
}
