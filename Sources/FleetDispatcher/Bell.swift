import Synchronization

/// Wakes a duty before its pause is over. A ring that nobody waits for is kept, once.
final class Bell: Sendable {
    private struct State {
        var isRung = false
        var number: UInt64 = 0
        var waiter: (number: UInt64, continuation: CheckedContinuation<Void, Never>)?
    }

    private let state = Mutex(State())

    func ring() {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard let waiter = state.waiter else {
                state.isRung = true
                return nil
            }
            state.waiter = nil
            return waiter.continuation
        }
        waiter?.resume()
    }

    /// Returns when it rings, when `pause` is over, or when the task is cancelled. For one waiter.
    func wait(atMost pause: Duration) async {
        let number = state.withLock { state in
            state.number += 1
            return state.number
        }
        let alarm = Task {
            // Woken by cancellation too: then nobody waits any more.
            try? await Task.sleep(for: pause)
            release(number)
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    if state.isRung || Task.isCancelled {
                        state.isRung = false
                        return true
                    }
                    state.waiter = (number, continuation)
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            release(number)
        }
        alarm.cancel()
    }

    private func release(_ number: UInt64) {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard let waiter = state.waiter, waiter.number == number else { return nil }
            state.waiter = nil
            return waiter.continuation
        }
        waiter?.resume()
    }
}
