import Synchronization

/// One call of `publish`, from the caller to the IO thread and back.
///
/// `@unchecked Sendable`: the caller only creates it; from then on it is touched by the IO thread alone, and by whoever
/// holds the inbox's lock while no IO thread has taken it.
final class PublishBatch: @unchecked Sendable {
    let id: UInt64
    let messages: [AMQPMessage]
    /// When whatever is not settled is given up.
    let deadline: Instant
    /// Index of the first message not yet encoded.
    var nextUnsent = 0
    private var outcomes: [AMQPPublishOutcome?]
    private var unsettled: Int
    private var continuation: CheckedContinuation<[AMQPPublishOutcome], Never>?

    init(
        id: UInt64, messages: [AMQPMessage], deadline: Instant,
        continuation: CheckedContinuation<[AMQPPublishOutcome], Never>
    ) {
        self.id = id
        self.messages = messages
        self.deadline = deadline
        self.continuation = continuation
        outcomes = Array(repeating: nil, count: messages.count)
        unsettled = messages.count
    }

    var isFinished: Bool { continuation == nil }
    var hasUnsent: Bool { !isFinished && nextUnsent < messages.count }

    func isSettled(_ index: Int) -> Bool { outcomes[index] != nil }

    /// The broker's confirm stands unless the message was returned before.
    func settle(_ index: Int, _ outcome: AMQPPublishOutcome) {
        guard !isFinished else { return }
        if outcomes[index] == nil { outcomes[index] = outcome }
        unsettled -= 1
        if unsettled == 0 { finish() }
    }

    /// A return precedes its confirm, which settles the message.
    func noteReturn(_ index: Int, code: Int, reason: String) {
        guard !isFinished else { return }
        outcomes[index] = .returned(code: code, reason: reason)
    }

    /// Gives up on everything that is not settled.
    func giveUp(unsent: AMQPPublishOutcome, sent: AMQPPublishOutcome) {
        guard !isFinished else { return }
        for index in outcomes.indices where outcomes[index] == nil {
            outcomes[index] = index < nextUnsent ? sent : unsent
        }
        finish()
    }

    private func finish() {
        // Every place is filled when this is called.
        continuation?.resume(returning: outcomes.compactMap { $0 })
        continuation = nil
    }
}

/// What other threads want of a publisher's IO thread.
final class PublisherInbox: Sendable {
    struct Commands {
        var batches: [PublishBatch] = []
        var cancelled: [UInt64] = []
        var isClosing = false
    }
    private struct State {
        var commands = Commands()
        var isSignalled = false
        /// Whether the IO thread is there to take commands.
        var isAttended = false
        var isEnded = false
        var lastID: UInt64 = 0
        /// Messages accepted and not yet settled.
        var pending = 0
    }

    let wakeup = Wakeup()
    let isConnected = Atomic<Bool>(false)
    let isBlocked = Atomic<Bool>(false)
    private let maxPending: Int
    private let state = Mutex(State())

    init(maxPending: Int) { self.maxPending = maxPending }

    func nextID() -> UInt64 {
        state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
    }

    func attend() { state.withLock { $0.isAttended = true } }

    /// - Returns: nil when accepted, else why not.
    func post(_ batch: PublishBatch) -> String? {
        let (refusal, mustSignal) = state.withLock { state -> (String?, Bool) in
            if state.isEnded || state.commands.isClosing { return ("the publisher is closed", false) }
            if state.pending > 0, state.pending + batch.messages.count > maxPending {
                return ("\(state.pending) messages wait already and at most \(maxPending) may; publish slower", false)
            }
            state.pending += batch.messages.count
            state.commands.batches.append(batch)
            defer { state.isSignalled = true }
            return (nil, !state.isSignalled)
        }
        if mustSignal { wakeup.signal() }
        return refusal
    }

    func cancel(_ id: UInt64) {
        let (mustSignal, unattended) = state.withLock { state -> (Bool, PublishBatch?) in
            if !state.isAttended {
                guard let place = state.commands.batches.firstIndex(where: { $0.id == id }) else { return (false, nil) }
                let batch = state.commands.batches.remove(at: place)
                state.pending -= batch.messages.count
                return (false, batch)
            }
            state.commands.cancelled.append(id)
            defer { state.isSignalled = true }
            return (!state.isSignalled, nil)
        }
        if mustSignal { wakeup.signal() }
        unattended?.giveUp(unsent: .notSent(reason: "cancelled"), sent: .notSent(reason: "cancelled"))
    }

    func close() {
        let mustSignal = state.withLock { state in
            state.commands.isClosing = true
            defer { state.isSignalled = true }
            return !state.isSignalled
        }
        if mustSignal { wakeup.signal() }
    }

    /// For the IO thread. What says "close" stays said.
    func take() -> Commands {
        state.withLock { state in
            state.isSignalled = false
            let commands = state.commands
            state.commands.batches = []
            state.commands.cancelled = []
            return commands
        }
    }

    func settled(_ messages: Int) { state.withLock { $0.pending -= messages } }

    /// Nobody takes commands any more. - Returns: batches that were never taken.
    func end() -> [PublishBatch] {
        isConnected.store(false, ordering: .releasing)
        isBlocked.store(false, ordering: .releasing)
        return state.withLock { state in
            state.isEnded = true
            state.isAttended = false
            defer { state.commands.batches = [] }
            return state.commands.batches
        }
    }
}
