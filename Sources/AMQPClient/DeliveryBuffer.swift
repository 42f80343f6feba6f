import Synchronization

/// Deliveries between the IO thread and their one reader, in batches. The prefetch bounds it.
final class DeliveryBuffer: Sendable {
    private struct State {
        /// Each at most `maxBatch` long.
        var batches: [[AMQPDelivery]] = []
        var waiter: CheckedContinuation<[AMQPDelivery]?, Never>?
        var isFinished = false
    }

    let maxBatch: Int
    private let state = Mutex(State())

    init(maxBatch: Int) {
        precondition(maxBatch > 0, "a batch of no deliveries would never bring one")
        self.maxBatch = maxBatch
    }

    /// - Parameter batch: at most `maxBatch` deliveries.
    func append(_ batch: [AMQPDelivery]) {
        let waiter = state.withLock { state -> CheckedContinuation<[AMQPDelivery]?, Never>? in
            if state.isFinished { return nil }
            if let waiter = state.waiter {
                state.waiter = nil
                return waiter
            }
            if let last = state.batches.indices.last, state.batches[last].count + batch.count <= maxBatch {
                state.batches[last] += batch
            } else {
                state.batches.append(batch)
            }
            return nil
        }
        waiter?.resume(returning: batch)
    }

    /// Deliveries of a lost link are void: the broker sends their messages again.
    func removeAll() { state.withLock { $0.batches = [] } }

    /// No more will come; what is there can still be read.
    func finish() {
        let waiter = state.withLock { state in
            state.isFinished = true
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(returning: nil)
    }

    /// - Returns: nil at the end, and when the task is cancelled.
    func next() async -> [AMQPDelivery]? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer = state.withLock { state -> [AMQPDelivery]?? in
                    precondition(state.waiter == nil, "deliveries have a single reader")
                    if Task.isCancelled { return .some(nil) }
                    if !state.batches.isEmpty { return state.batches.removeFirst() }
                    if state.isFinished { return .some(nil) }
                    state.waiter = continuation
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                defer { state.waiter = nil }
                return state.waiter
            }
            waiter?.resume(returning: nil)
        }
    }
}

/// The deliveries of an ``AMQPConsumer``: everything that arrived since the last turn, as one array. For a single reader.
///
/// Ends once the consumer has closed or stopped and the buffer is empty; a cancelled task gets the end at once.
/// Deliveries of a link that was lost before they were read are dropped, since the broker sends them again.
public struct AMQPDeliveries: AsyncSequence, Sendable {
    public typealias Element = [AMQPDelivery]

    public struct AsyncIterator: AsyncIteratorProtocol {
        let buffer: DeliveryBuffer

        public func next() async -> [AMQPDelivery]? { await buffer.next() }
        public func next(isolation actor: isolated (any Actor)?) async -> [AMQPDelivery]? { await buffer.next() }
    }

    let buffer: DeliveryBuffer

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(buffer: buffer) }
}
