internal import Synchronization

/// So many at once, the others in line: first come, first served.
package final class Gate: Sendable {
    private struct State {
        var free: Int
        var line: [(id: UInt64, continuation: CheckedContinuation<Bool, Never>)] = []
        var lastID: UInt64 = 0
    }

    package let places: Int
    private let waitingMax: Int
    private let state: Mutex<State>

    /// - Parameters:
    ///   - places: above zero.
    ///   - waitingMax: how many may stand in line; one more is refused.
    package init(places: Int, waitingMax: Int) {
        precondition(places > 0, "a gate without places lets nobody through")
        self.places = places
        self.waitingMax = waitingMax
        state = Mutex(State(free: places))
    }

    /// How many stand in line.
    package var waiting: Int { state.withLock { $0.line.count } }

    /// Runs `body` in one of the places.
    ///
    /// - Parameter limit: how long to stand in line at most; as long as it takes when nil, for places whose holders are known
    ///   to leave soon.
    /// - Throws: ``NetworkError`` of the kinds `overloaded` and `cancelled`; and what `body` throws.
    package func withPlace<Value>(
        within limit: Duration? = nil, isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Value
    ) async throws -> Value {
        try await enter(within: limit)
        defer { leave() }
        return try await body()
    }

    private func enter(within limit: Duration?) async throws(NetworkError) {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        if takeFree() { return }
        var alarm: Task<Void, Never>?
        defer { alarm?.cancel() }
        let isWithin = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer = state.withLock { state -> Bool? in
                    if Task.isCancelled { return false }
                    if state.free > 0 {
                        state.free -= 1
                        return true
                    }
                    if state.line.count >= waitingMax { return false }
                    state.line.append((id, continuation))
                    return nil
                }
                if let answer { return continuation.resume(returning: answer) }
                guard let limit else { return }
                // Not before it can find the waiter: an alarm that goes off too early does not go off again.
                alarm = Task {
                    // Woken by cancellation too: then nobody stands in line any more.
                    do { try await Task.sleep(for: limit) } catch { return }
                    turnAway(id)
                }
            }
        } onCancel: {
            turnAway(id)
        }
        if isWithin { return }
        if Task.isCancelled { throw NetworkError(.cancelled, "the task was cancelled") }
        throw NetworkError(.overloaded, "\(places) are at work, and the line behind them is too long")
    }

    /// The usual case, without an alarm.
    private func takeFree() -> Bool {
        state.withLock { state in
            guard state.free > 0 else { return false }
            state.free -= 1
            return true
        }
    }

    private func turnAway(_ id: UInt64) {
        let waiter = state.withLock { state in
            state.line.firstIndex { $0.id == id }.map { state.line.remove(at: $0).continuation }
        }
        waiter?.resume(returning: false)
    }

    /// The place goes to the first in line, so that nobody overtakes.
    private func leave() {
        let next = state.withLock { state in
            if state.line.isEmpty {
                state.free += 1
                return CheckedContinuation<Bool, Never>?.none
            }
            return state.line.removeFirst().continuation
        }
        next?.resume(returning: true)
    }
}
