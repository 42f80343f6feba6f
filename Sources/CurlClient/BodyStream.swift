internal import Synchronization

/// One answer on its way from the client's thread to the task that takes it piece by piece.
///
/// ```
///  thread                                                     task
///  ──────                                                     ────
///  begin(head) ──▶ head ────────────────────────────────────▶ next() → .head
///  append(bytes) ▶ buffer ──────────────────────────────────▶ next() → .bytes, all that is there
///     │ the window is full: true, and the thread pauses        │ it was paused: resume() rings the thread
///  end(result) ──▶ end ─────────────────────────────────────▶ next() → .end, once the buffer is empty
/// ```
///
/// Two buffers at most are alive: the one that fills and the one that the task works on.
final class BodyStream: Sendable {
    enum Step: Sendable {
        case piece(CurlPiece)
        case end(Result<CurlResponse, CurlError>)
    }

    private struct State {
        var head: CurlHead?
        var buffer: [UInt8] = []
        var end: Result<CurlResponse, CurlError>?
        var isPaused = false
        /// The one task, if it waits.
        var waiter: CheckedContinuation<Step, Never>?

        /// What the task gets next; nil when there is nothing yet.
        mutating func take() -> Step? {
            if let head {
                self.head = nil
                return .piece(.head(head))
            }
            if !buffer.isEmpty {
                defer { buffer = [] }
                return .piece(.bytes(buffer))
            }
            return end.map { .end($0) }
        }
    }

    private let state = Mutex(State())
    private let window: Int
    /// Asks the thread to go on.
    private let resume: @Sendable () -> Void

    /// - Parameter window: bytes that may lie here before the sender is held up.
    init(window: Int, resume: @escaping @Sendable () -> Void) {
        self.window = window
        self.resume = resume
    }

    // MARK: For the thread

    func begin(_ head: CurlHead) {
        change { $0.head = head }
    }

    /// - Returns: whether the transfer is to be paused until ``resume`` is called.
    func append(_ bytes: [UInt8]) -> Bool {
        var isFull = false
        change { state in
            if state.buffer.isEmpty { state.buffer = bytes } else { state.buffer.append(contentsOf: bytes) }
            // A task that waits takes all of it at once.
            isFull = state.waiter == nil && state.buffer.count >= window
            state.isPaused = isFull
        }
        return isFull
    }

    /// The last word. What came before it is still handed over, except to a task that has been cancelled.
    func end(_ result: Result<CurlResponse, CurlError>) {
        change { state in
            state.end = result
            if case .failure(let error) = result, error.kind == .cancelled {
                state.head = nil
                state.buffer = []
            }
        }
    }

    private func change(_ body: (inout State) -> Void) {
        let (waiter, step): (CheckedContinuation<Step, Never>?, Step?) = state.withLock { state in
            body(&state)
            guard let waiter = state.waiter, let step = state.take() else { return (nil, nil) }
            state.waiter = nil
            return (waiter, step)
        }
        if let waiter, let step { waiter.resume(returning: step) }
    }

    // MARK: For the task

    /// Waits for what comes next. Nothing comes after `.end`.
    func next() async -> Step {
        await withCheckedContinuation { (continuation: CheckedContinuation<Step, Never>) in
            let (step, wasPaused): (Step?, Bool) = state.withLock { state in
                guard let step = state.take() else {
                    state.waiter = continuation
                    return (nil, false)
                }
                let wasPaused = state.isPaused && state.buffer.isEmpty
                if wasPaused { state.isPaused = false }
                return (step, wasPaused)
            }
            if wasPaused { resume() }
            if let step { continuation.resume(returning: step) }
        }
    }
}
