import Synchronization

/// What other threads want of a consumer's IO thread.
final class ConsumerInbox: Sendable {
    struct Commands {
        var acknowledged: [AMQPDeliveryTag] = []
        var rejected: [(tag: AMQPDeliveryTag, requeue: Bool)] = []
        /// By queue, where it is another than the subscription's.
        var prefetches: [String: UInt16] = [:]
        var mustStop = false
        var isClosing = false
    }
    private struct State {
        var commands = Commands()
        var isSignalled = false
        var isStopped = false
        var stopWaiters: [CheckedContinuation<Void, Never>] = []
    }

    let wakeup = Wakeup()
    let generation = Atomic<UInt32>(0)
    private let state = Mutex(State())

    /// Changes the commands; wakes the IO thread unless it has been woken for earlier ones.
    private func post(_ change: (inout Commands) -> Void) {
        let mustSignal = state.withLock { state in
            change(&state.commands)
            defer { state.isSignalled = true }
            return !state.isSignalled
        }
        if mustSignal { wakeup.signal() }
    }

    func acknowledge(_ tags: [AMQPDeliveryTag]) { post { $0.acknowledged += tags } }

    func reject(_ tags: [AMQPDeliveryTag], requeue: Bool) {
        post { commands in commands.rejected += tags.map { (tag: $0, requeue: requeue) } }
    }

    func limit(queue: String, prefetch: UInt16) { post { $0.prefetches[queue] = prefetch } }

    func close() { post { $0.isClosing = true } }

    /// Returns once the IO thread has said ``stopped()``.
    func stop() async {
        post { $0.mustStop = true }
        await withCheckedContinuation { continuation in
            let isStopped = state.withLock { state in
                if !state.isStopped { state.stopWaiters.append(continuation) }
                return state.isStopped
            }
            if isStopped { continuation.resume() }
        }
    }

    func stopped() {
        let waiters = state.withLock { state in
            state.isStopped = true
            defer { state.stopWaiters = [] }
            return state.stopWaiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// For the IO thread. What says "stop" and "close", and how much is wanted of a queue, stays said.
    func take() -> Commands {
        state.withLock { state in
            state.isSignalled = false
            let commands = state.commands
            state.commands.acknowledged = []
            state.commands.rejected = []
            return commands
        }
    }
}
