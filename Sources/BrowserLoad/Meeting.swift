import Synchronization

/// Lets nobody go on before all have come.
final class Meeting: Sendable {
    private struct State {
        var missing: Int
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let state: Mutex<State>

    init(_ count: Int) { state = Mutex(State(missing: count)) }

    func arrive() async {
        await withCheckedContinuation { continuation in
            let ready = state.withLock { state in
                state.missing -= 1
                state.waiters.append(continuation)
                guard state.missing == 0 else { return [CheckedContinuation<Void, Never>]() }
                defer { state.waiters = [] }
                return state.waiters
            }
            for waiter in ready { waiter.resume() }
        }
    }
}

/// How long each lease waited.
final class Waits: Sendable {
    private let seconds = Mutex<[Double]>([])

    func note(_ wait: Double) { seconds.withLock { $0.append(wait) } }

    var sorted: [Double] { seconds.withLock { $0.sorted() } }
}
