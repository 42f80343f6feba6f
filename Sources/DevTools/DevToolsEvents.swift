import Synchronization

/// An event as it came: its parameters are decoded by whom they are for.
public struct DevToolsEventMessage: Sendable {
    public let method: String
    /// Of the page that it comes from; nil from the browser itself.
    public let sessionID: String?
    public let params: JSONSlice
    /// When it was read from the socket.
    public let instant: ContinuousClock.Instant

    /// - Throws: ``DevToolsError/Reason/malformed``.
    public func decode<Event: DevToolsEvent>(_ type: Event.Type) throws(DevToolsError) -> Event {
        do { return try params.decode(Event.self) } catch {
            throw DevToolsError(.malformed, "\(method) is not what the protocol says")
        }
    }
}

/// What a subscriber's queue does when it is full.
public enum EventOverflow: Sendable, Hashable {
    /// The oldest goes, and is counted in ``DevToolsEvents/missedCount``. For those who want to know what is so now.
    case dropOldest
    /// The sequence throws ``DevToolsError/Reason/overflow`` after what is queued. For those who count.
    case fail
}

/// Events of a session, in the order in which they came, from the moment of the subscription on.
///
/// It ends with nil when the session's target is gone, when ``cancel()`` is called and when the task is cancelled; it throws
/// `closed` when the browser is gone. One task reads it. It is unsubscribed when the last reference to it goes.
public final class DevToolsEvents: AsyncSequence, Sendable {
    public typealias Element = DevToolsEventMessage
    public typealias Failure = DevToolsError

    let queue: EventQueue
    private let subscription: EventSubscription

    init(_ queue: EventQueue, _ subscription: EventSubscription) {
        self.queue = queue
        self.subscription = subscription
    }

    /// Events that were dropped because nobody took them in time.
    public var missedCount: Int { queue.missedCount }

    public func cancel() {
        subscription.cancel()
        queue.end(nil)
    }

    public func makeAsyncIterator() -> Iterator { Iterator(events: self) }

    public struct Iterator: AsyncIteratorProtocol {
        private let events: DevToolsEvents
        /// Taken from the queue at once, in reverse.
        private var batch: [DevToolsEventMessage] = []

        fileprivate init(events: DevToolsEvents) { self.events = events }

        public mutating func next() async throws(DevToolsError) -> DevToolsEventMessage? {
            try await next(isolation: #isolation)
        }

        public mutating func next(isolation actor: isolated (any Actor)?) async throws(DevToolsError)
            -> DevToolsEventMessage?
        {
            if batch.isEmpty { batch = try await events.queue.take().reversed() }
            return batch.popLast()
        }
    }
}

/// Ends what it stands for when it is cancelled or let go.
public final class EventSubscription: Sendable {
    private let onCancel: Mutex<(@Sendable () -> Void)?>

    init(_ onCancel: @escaping @Sendable () -> Void) { self.onCancel = Mutex(onCancel) }

    deinit { cancel() }

    /// No event is handed over once this has returned, but for one that is being handed over just now.
    public func cancel() {
        let cancel = onCancel.withLock { action in
            defer { action = nil }
            return action
        }
        cancel?()
    }
}

/// The events that wait for one subscriber.
final class EventQueue: Sendable {
    private typealias Answer = Result<[DevToolsEventMessage], DevToolsError>

    private struct State {
        var events: [DevToolsEventMessage] = []
        var missed = 0
        var isEnded = false
        /// Why it ended; nil for a plain end.
        var error: DevToolsError?
        var waiter: CheckedContinuation<Answer, Never>?
    }

    private let capacity: Int
    private let overflow: EventOverflow
    private let state = Mutex(State())

    init(capacity: Int, overflow: EventOverflow) {
        precondition(capacity > 0, "a queue of events needs a place")
        self.capacity = capacity
        self.overflow = overflow
    }

    var missedCount: Int { state.withLock { $0.missed } }

    func add(_ event: DevToolsEventMessage) {
        let waiter = state.withLock { state -> CheckedContinuation<Answer, Never>? in
            if state.isEnded { return nil }
            if let waiter = state.waiter {
                state.waiter = nil
                return waiter
            }
            if state.events.count == capacity {
                state.missed += 1
                if overflow == .fail {
                    state.isEnded = true
                    state.error = DevToolsError(.overflow, "more than \(capacity) events waited to be taken")
                    return nil
                }
                state.events.removeFirst()
            }
            state.events.append(event)
            return nil
        }
        waiter?.resume(returning: .success([event]))
    }

    func end(_ error: DevToolsError?) {
        let waiter = state.withLock { state -> CheckedContinuation<Answer, Never>? in
            if state.isEnded { return nil }
            state.isEnded = true
            state.error = error
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(returning: error.map { .failure($0) } ?? .success([]))
    }

    /// All that is there; waits for the first. Empty at the end.
    func take() async throws(DevToolsError) -> [DevToolsEventMessage] {
        let answer = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Answer, Never>) in
                let ready = state.withLock { state -> Answer? in
                    if !state.events.isEmpty {
                        defer { state.events = [] }
                        return .success(state.events)
                    }
                    if state.isEnded { return state.error.map { .failure($0) } ?? .success([]) }
                    if Task.isCancelled { return .success([]) }
                    precondition(state.waiter == nil, "one task reads a sequence of events")
                    state.waiter = continuation
                    return nil
                }
                if let ready { continuation.resume(returning: ready) }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                defer { state.waiter = nil }
                return state.waiter
            }
            waiter?.resume(returning: .success([]))
        }
        return try answer.get()
    }
}
