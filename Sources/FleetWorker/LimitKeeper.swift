import FleetModel
import FleetStore
import Logging
import Synchronization

/// Gets the fleet's limits for the jobs of one worker.
///
/// ```
///  spend ─▶ units here ─▶ go on                             enter ─▶ a place here ─▶ go on ─▶ leave
///      └──▶ in line ◀── clock                                   └──▶ in line ◀── clock
///             ask (all names in one statement) ─▶ a slice              share (all names in one statement) ─▶ so many
///
///  close ─▶ at once here ─▶ written down ─▶ NOTIFY ─▶ the others read what is set and closed
///                                                      every second while limits are used ─┘ the truth
/// ```
///
/// Who waits holds no connection and no thread.
package final class LimitKeeper: JobLimits {
    private typealias Continuation = CheckedContinuation<Result<Int64, LimitError>, Never>

    private struct State {
        var table = LimitTable()
        var continuations: [Int64: Continuation] = [:]
        var isEnded = false
    }

    /// How often the list of limits is read without a hint while jobs use limits, and while none does.
    package static let pollInterval: Duration = .seconds(1)
    package static let idleInterval: Duration = .seconds(5)
    /// The most names in one statement.
    static let batchMax = 500
    /// The least time between two turns: more waiters are served in one than one by one.
    private static let turnMin: Duration = .milliseconds(1)

    private let store: FleetStore
    private let worker: String
    private let poll: Duration
    private let logger: Logger
    private let state = Mutex(State())
    private let clockBell = Bell()
    private let unitsBell = Bell()
    private let placesBell = Bell()
    private let readBell = Bell()
    private let closeBell = Bell()

    /// - Parameter worker: its name, for whoever asks why something is closed.
    package init(
        store: FleetStore, worker: String, poll: Duration = LimitKeeper.pollInterval, logger: Logger
    ) {
        self.store = store
        self.worker = worker
        self.poll = poll
        self.logger = logger
    }

    // MARK: For jobs

    package func spend(_ units: Int, of name: String, within limit: Duration) async throws {
        if units <= 0 { return }
        let now = ContinuousClock.now
        let (answer, isLow) = state.withLock { state in
            (
                state.table.spend(Double(units), of: name, within: limit, as: nil, now: now),
                state.table.isLow(name, now: now)
            )
        }
        switch answer {
        case .done:
            if isLow { unitsBell.ring() }
        case .failed(let error): throw error
        case .wait:
            _ = try await wait {
                $0.spend(Double(units), of: name, within: limit, as: $1, now: .now)
            }
        }
    }

    package func enter(_ name: String, within limit: Duration) async throws -> LimitPlace {
        let now = ContinuousClock.now
        switch state.withLock({ $0.table.enter(name, within: limit, as: nil, now: now) }) {
        case .done(let number): return LimitPlace(name: name, number: number)
        case .failed(let error): throw error
        case .wait:
            let number = try await wait { $0.enter(name, within: limit, as: $1, now: .now) }
            return LimitPlace(name: name, number: number)
        }
    }

    package func leave(_ place: LimitPlace) {
        // Most places are of no limit at all.
        if place.number == 0 { return }
        if state.withLock({ $0.table.leave(place) }) { clockBell.ring() }
    }

    package func close(_ name: String, for pause: Duration) {
        let now = ContinuousClock.now
        let until = now + min(max(pause, .milliseconds(1)), LimitBound.closeMax)
        act { $0.close(name, until: until, now: now) }
        closeBell.ring()
    }

    /// Gets in line, and waits for what becomes of it.
    private func wait(_ body: (inout LimitTable, Int64) -> LimitTable.Answer) async throws -> Int64 {
        try Task.checkCancellation()
        let id = state.withLock { $0.table.begin() }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: Continuation) in
                let answer = state.withLock { state -> LimitTable.Answer in
                    if state.isEnded { return .failed(.unavailable(name: "", reason: "the worker stops")) }
                    let answer = body(&state.table, id)
                    if case .wait = answer { state.continuations[id] = continuation }
                    return answer
                }
                switch answer {
                case .done(let place): continuation.resume(returning: .success(place))
                case .failed(let error): continuation.resume(returning: .failure(error))
                case .wait:
                    clockBell.ring()
                    // A cancellation from before the wait was noted has found nothing to abandon.
                    if Task.isCancelled { abandon(id) }
                }
            }
        } onCancel: {
            abandon(id)
        }
        // Abandoned: the reason is that of the task.
        if case .failure = result { try Task.checkCancellation() }
        return try result.get()
    }

    private func abandon(_ id: Int64) {
        let continuation = state.withLock { state in
            state.table.abandon(id) ? state.continuations.removeValue(forKey: id) : nil
        }
        continuation?.resume(returning: .failure(.unavailable(name: "", reason: "the job was cancelled")))
    }

    /// Changes the table, and tells those of whom it is decided.
    @discardableResult
    private func act(_ change: (inout LimitTable) -> LimitTable.Turn) -> ContinuousClock.Instant? {
        let (told, next) = state.withLock { state in
            let turn = change(&state.table)
            let told = turn.outcomes.compactMap { outcome in
                state.continuations.removeValue(forKey: outcome.id).map { ($0, outcome.result) }
            }
            return (told, turn.next)
        }
        for (continuation, result) in told { continuation.resume(returning: result) }
        return next
    }

    // MARK: Life

    /// Reads what is set and closed, so that jobs find it from the first.
    package func prepare() async throws {
        let found = try await store.limitRules()
        act { $0.read(found, now: .now) }
    }

    /// Serves until it is ended; then cancel the task.
    ///
    /// - Parameters:
    ///   - owner: under which epoch to ask; nil while there is none.
    ///   - onFenced: the ledger says that an epoch has ended.
    package func run(
        owner: @escaping @Sendable () async -> WorkerEpoch?,
        onFenced: @escaping @Sendable (WorkerEpoch) async -> Void = { _ in }
    ) async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.followClock() }
            group.addTask { await self.takeUnits(owner, onFenced) }
            group.addTask { await self.sharePlaces(owner, onFenced) }
            group.addTask { await self.readList() }
            group.addTask { await self.writeClosings() }
        }
        end()
    }

    /// No job runs any more: nothing is given back one by one, since places end with the epoch.
    package func end() {
        let left = state.withLock { state in
            state.isEnded = true
            defer { state.continuations = [:] }
            return state.continuations
        }
        for (_, continuation) in left {
            continuation.resume(returning: .failure(.unavailable(name: "", reason: "the worker stops")))
        }
    }

    /// Something was said on ``FleetStore/limitChannel``: the list has changed, or places of one name.
    package func hear(_ payload: String) {
        if payload.isEmpty { return readBell.ring() }
        state.withLock { $0.table.hint(payload) }
        placesBell.ring()
    }

    /// What was said is unknown.
    package func hearAll() {
        state.withLock { $0.table.hintAll() }
        readBell.ring()
        placesBell.ring()
    }

    /// Jobs that wait for a limit here.
    package var waiting: Int { state.withLock { $0.table.waiting } }

    private func followClock() async {
        while !Task.isCancelled {
            let next = act { $0.turn(.now) }
            unitsBell.ring()
            placesBell.ring()
            let pause = next.map { max(Self.turnMin, $0 - .now) } ?? .seconds(3_600)
            await clockBell.wait(atMost: pause)
        }
    }

    // MARK: The ledger

    private func takeUnits(
        _ owner: () async -> WorkerEpoch?, _ onFenced: (WorkerEpoch) async -> Void
    ) async {
        var patience = Failures()
        while !Task.isCancelled {
            await unitsBell.wait(atMost: .seconds(3_600))
            while !Task.isCancelled {
                guard let owner = await owner() else { break }
                let questions = state.withLock { $0.table.askForUnits(.now, atMost: Self.batchMax) }
                if questions.isEmpty { break }
                do {
                    let answers = try await store.takeUnits(questions, by: owner)
                    patience.succeed()
                    act { $0.settle(Array(zip(questions, answers)), .now) }
                    if answers.contains(.unlimited) { readBell.ring() }
                    if answers.contains(.fenced) { await onFenced(owner) }
                } catch {
                    let pause = patience.fail()
                    logger.warning("units of \(questions.count) limits could not be asked for: \(error)")
                    act { $0.fail(units: questions, "\(error)", retryAfter: pause, .now) }
                }
                clockBell.ring()
            }
        }
    }

    private func sharePlaces(
        _ owner: () async -> WorkerEpoch?, _ onFenced: (WorkerEpoch) async -> Void
    ) async {
        var patience = Failures()
        var turn: Int64 = 0
        var present: WorkerEpoch?
        while !Task.isCancelled {
            await placesBell.wait(atMost: .seconds(3_600))
            while !Task.isCancelled {
                guard let owner = await owner() else { break }
                if owner != present {
                    // Also the first time, when there is nothing to lose.
                    state.withLock { $0.table.lose() }
                    present = owner
                }
                let questions = state.withLock { $0.table.askForPlaces(.now, atMost: Self.batchMax) }
                if questions.isEmpty { break }
                turn += 1
                do {
                    let answers = try await store.sharePlaces(questions, turn: turn, by: owner)
                    patience.succeed()
                    act { $0.settle(Array(zip(questions, answers)), .now) }
                    if answers.contains(.unlimited) { readBell.ring() }
                    if answers.contains(.fenced) { await onFenced(owner) }
                } catch {
                    let pause = patience.fail()
                    logger.warning("places of \(questions.count) limits could not be asked for: \(error)")
                    act { $0.fail(places: questions, "\(error)", retryAfter: pause, .now) }
                }
                clockBell.ring()
            }
        }
    }

    /// Reads what is set and closed, when it is said to have changed, and every now and then.
    private func readList() async {
        while !Task.isCancelled {
            let isUsed = state.withLock { $0.table.takeIsUsed() }
            await readBell.wait(atMost: isUsed ? poll : max(poll, Self.idleInterval))
            if Task.isCancelled { return }
            do {
                let found = try await store.limitRules()
                act { $0.read(found, now: .now) }
                clockBell.ring()
            } catch {
                // What is known holds meanwhile; the pool tells of an outage by itself.
                logger.debug("limits could not be read: \(error)")
            }
        }
    }

    private func writeClosings() async {
        while !Task.isCancelled {
            await closeBell.wait(atMost: .seconds(3_600))
            while !Task.isCancelled {
                let closings = state.withLock { $0.table.unwritten(now: .now) }
                if closings.isEmpty { break }
                let batch = Array(closings.prefix(Self.batchMax))
                do {
                    try await Patience()(
                        isHopeless: { DatabaseFault.isData($0) },
                        { try await self.store.closeLimits(batch, reason: "by a job of \(self.worker)") })
                } catch  where DatabaseFault.isData(error) {
                    logger.error("names that cannot be written down are closed in this worker alone: \(error)")
                } catch {
                    // Cancelled: nothing else ends it.
                    return
                }
                state.withLock { $0.table.written(batch, now: .now) }
            }
        }
    }
}

/// How long to wait before the ledger is asked again.
private struct Failures {
    private var count = 0

    mutating func succeed() { count = 0 }

    mutating func fail() -> Duration {
        count += 1
        return Patience().pause(afterFailure: count)
    }
}
