import Synchronization

/// Hands batches from many producers to one consumer: the consumer takes all that has gathered since its last turn.
///
/// It has no limit of its own. What goes in is bounded by what the producers may have in hand: each element stands for an
/// unacknowledged delivery, and their number is bounded by the prefetch limit.
final class BatchQueue<Element: Sendable>: Sendable {
    private struct State {
        var elements: [Element] = []
        var isFinished = false
        var consumer: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    var count: Int { state.withLock { $0.elements.count } }

    func append(_ element: Element) { append(contentsOf: CollectionOfOne(element)) }

    func append(contentsOf batch: some Collection<Element>) {
        if batch.isEmpty { return }
        wake { $0.elements.append(contentsOf: batch) }
    }

    /// No more will come; the consumer gets what is there and then nil.
    func finish() { wake { $0.isFinished = true } }

    /// The consumer takes what is there when it runs, not when it was woken: what gathers in between goes with it.
    private func wake(_ change: (inout State) -> Void) {
        let consumer = state.withLock { state -> CheckedContinuation<Void, Never>? in
            change(&state)
            defer { state.consumer = nil }
            return state.consumer
        }
        consumer?.resume()
    }

    /// Everything that has gathered, at least one element; nil when the queue is finished and empty. It does not end by
    /// task cancellation: whoever stops the stages finishes their queues in order, so that nothing is left in one.
    func next() async -> [Element]? {
        while true {
            let (taken, isFinished) = state.withLock { state in
                defer { state.elements = [] }
                return (state.elements, state.isFinished)
            }
            if !taken.isEmpty { return taken }
            if isFinished { return nil }
            await withCheckedContinuation { continuation in
                let isLate = state.withLock { state in
                    precondition(state.consumer == nil, "a batch queue has one consumer")
                    if !state.elements.isEmpty || state.isFinished { return true }
                    state.consumer = continuation
                    return false
                }
                if isLate { continuation.resume() }
            }
        }
    }
}
