import Synchronization

/// Wakes a duty before its pause is over. A ring that nobody waits for is kept, once.
package final class Bell: Sendable {
    private struct State {
        var isRung = false
        var number: UInt64 = 0
        var waiter: (number: UInt64, continuation: CheckedContinuation<Bool, Never>)?
    }

    private let state = Mutex(State())

    package init() {}

    package func ring() {
        let waiter = state.withLock { state -> CheckedContinuation<Bool, Never>? in
            guard let waiter = state.waiter else {
                state.isRung = true
                return nil
            }
            state.waiter = nil
            return waiter.continuation
        }
        waiter?.resume(returning: true)
    }

    /// Returns when it rings, when `pause` is over, or when the task is cancelled. For one waiter.
    ///
    /// - Returns: whether it rang.
    @discardableResult
    package func wait(atMost pause: Duration) async -> Bool {
        let number = state.withLock { state in
            state.number += 1
            return state.number
        }
        var alarm: Task<Void, Never>?
        defer { alarm?.cancel() }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isRung = state.withLock { state -> Bool? in
                    if state.isRung || Task.isCancelled {
                        defer { state.isRung = false }
                        return state.isRung
                    }
                    state.waiter = (number, continuation)
                    return nil
                }
                if let isRung { return continuation.resume(returning: isRung) }
                // Not before it can find the waiter: an alarm that goes off too early does not go off again.
                alarm = Task {
                    // Woken by cancellation too: then nobody waits any more.
                    try? await Task.sleep(for: pause)
                    release(number)
                }
            }
        } onCancel: {
            release(number)
        }
    }

    private func release(_ number: UInt64) {
        let waiter = state.withLock { state -> CheckedContinuation<Bool, Never>? in
            guard let waiter = state.waiter, waiter.number == number else { return nil }
            state.waiter = nil
            return waiter.continuation
        }
        waiter?.resume(returning: false)
    }
}
