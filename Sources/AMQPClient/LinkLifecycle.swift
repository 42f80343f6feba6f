import Synchronization

/// From `run()` to its end, for those who wait for that end.
final class LinkLifecycle: Sendable {
    private enum Stage {
        case fresh
        case running
        case ended
    }
    private struct State {
        var stage = Stage.fresh
        var waiters: [CheckedContinuation<Void, Never>] = []
    }
    private let state = Mutex(State())

    /// - Returns: false when it has run, or was closed before.
    func begin() -> Bool {
        state.withLock { state in
            guard case .fresh = state.stage else { return false }
            state.stage = .running
            return true
        }
    }

    func end() {
        let waiters = state.withLock { state in
            state.stage = .ended
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// - Returns: whether there was nothing running that had to be waited for.
    func endIfFresh() -> Bool {
        state.withLock { state in
            guard case .fresh = state.stage else { return false }
            state.stage = .ended
            return true
        }
    }

    func untilEnded() async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                if case .running = state.stage {
                    state.waiters.append(continuation)
                    return false
                }
                return true
            }
            if isOver { continuation.resume() }
        }
    }

    /// Runs `work` on a thread of its own until it returns.
    static func onThread(
        named name: String, _ work: @escaping @Sendable () -> AMQPError?
    ) async throws(AMQPError) {
        let failure: AMQPError? = await withCheckedContinuation { continuation in
            do throws(AMQPError) {
                try IOThread.start(name: name) { continuation.resume(returning: work()) }
            } catch {
                continuation.resume(returning: error)
            }
        }
        if let failure { throw failure }
    }
}
