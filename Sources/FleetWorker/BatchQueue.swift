import Synchronization

/// Hands batches from many producers to one consumer: the consumer takes all that has gathered since its last turn.
///
/// It has no limit of its own. What goes in is bounded by what the producers may have in hand: each element stands for an
/// unacknowledged delivery, and their number is bounded by the prefetch limit.
final class BatchQueue<Element: Sendable>: Sendable {
    private struct State {
        var elements: [Element] = []
        var isFinished = false
        var consumer: CheckedContinuation<[Element]?, Never>?
    }

    private let state = Mutex(State())

    func append(_ element: Element) { append(contentsOf: CollectionOfOne(element)) }

    func append(contentsOf batch: some Collection<Element>) {
        if batch.isEmpty { return }
        let wake = state.withLock { state -> (CheckedContinuation<[Element]?, Never>, [Element])? in
            state.elements.append(contentsOf: batch)
            guard let consumer = state.consumer else { return nil }
            state.consumer = nil
            let taken = state.elements
            state.elements = []
            return (consumer, taken)
        }
        if let (consumer, taken) = wake { consumer.resume(returning: taken) }
    }

    /// No more will come; the consumer gets what is there and then nil.
    func finish() {
        let consumer = state.withLock { state -> CheckedContinuation<[Element]?, Never>? in
            state.isFinished = true
            defer { state.consumer = nil }
            return state.consumer
        }
        consumer?.resume(returning: nil)
    }

    /// Everything that has gathered, at least one element; nil when the queue is finished and empty. It does not end by
    /// task cancellation: whoever stops the stages finishes their queues in order, so that nothing is left in one.
    func next() async -> [Element]? {
        await withCheckedContinuation { continuation in
            let now = state.withLock { state -> [Element]?? in
                if !state.elements.isEmpty {
                    let taken = state.elements
                    state.elements = []
                    return .some(taken)
                }
                if state.isFinished { return .some(nil) }
                precondition(state.consumer == nil, "a batch queue has one consumer")
                state.consumer = continuation
                return .none
            }
            if let now { continuation.resume(returning: now) }
        }
    }
}
