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
    /// - Throws: ``NetworkError`` of the kinds `overloaded` and `cancelled`; and what `body` throws.
    package func withPlace<Value>(
        isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Value
    ) async throws -> Value {
        try await enter()
        defer { leave() }
        return try await body()
    }

    private func enter() async throws(NetworkError) {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
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
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                state.line.firstIndex { $0.id == id }.map { state.line.remove(at: $0).continuation }
            }
            waiter?.resume(returning: false)
        }
        if isWithin { return }
        if Task.isCancelled { throw NetworkError(.cancelled, "the task was cancelled") }
        throw NetworkError(.overloaded, "\(places) are at work and \(waitingMax) wait already")
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
