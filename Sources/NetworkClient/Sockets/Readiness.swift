internal import COpenSSL
internal import Glibc
internal import Synchronization
internal import SystemThreads

/// Waits for sockets on behalf of tasks: one thread and its epoll, however many wait.
///
/// ```
/// wait ──▶ waiting ── socket ready ──▶ the moment at which it was
///             ├────── time up ───────▶ nil
///             ├────── task cancelled ▶ NetworkError.cancelled
///             └────── close ─────────▶ NetworkError.closed
/// ```
///
/// The moment is taken on the thread, so that a time measured by it does not hold the wait for a thread to go on with.
package final class Readiness: Sendable {
    package enum Interest: Sendable {
        case read
        case write
    }

    private typealias Answer = Result<ContinuousClock.Instant?, NetworkError>

    private struct Wait {
        let descriptor: Int32
        let continuation: CheckedContinuation<Answer, Never>
    }

    private enum Phase {
        case open
        case closing
        case closed
        /// There never was a thread.
        case failed(NetworkError)
    }

    private struct State {
        var phase = Phase.open
        var waits: [UInt64: Wait] = [:]
        var deadlines = Deadlines()
        var thread: pthread_t?
        var closers: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())
    private let ids = Atomic<UInt64>(bellID)
    private let poller: Int32
    private let bell: Int32

    /// What epoll says when the bell rings; no wait has it.
    private static let bellID: UInt64 = 0
    private static let eventsPerTurn = 256

    /// Starts the thread. If the system refuses it, every wait throws what it said.
    package init() {
        poller = epoll_create1(Int32(EPOLL_CLOEXEC))
        bell = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard poller >= 0, bell >= 0, control(EPOLL_CTL_ADD, bell, EPOLLIN.rawValue, Self.bellID) else {
            fail("no descriptor to wait with")
            return
        }
        startThread()
    }

    /// The thread holds a reference, so it has ended, or never began.
    deinit {
        if poller >= 0 { Glibc.close(poller) }
        if bell >= 0 { Glibc.close(bell) }
    }

    /// Returns when the socket can be read or written, or has failed, and nil at the deadline. One wait per socket at a time.
    ///
    /// - Returns: when it was so.
    package func wait(_ socket: Socket, for interest: Interest, until deadline: ContinuousClock.Instant)
        async throws(NetworkError) -> ContinuousClock.Instant?
    {
        let id = ids.wrappingAdd(1, ordering: .relaxed).newValue
        let answer: Answer = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if let refusal = begin(
                    id, Wait(descriptor: socket.descriptor, continuation: continuation), interest, deadline)
                {
                    continuation.resume(returning: .failure(refusal))
                }
                // The handler may have run just before there was anything to cancel.
                if Task.isCancelled { end(id, .failure(Self.cancelled)) }
            }
        } onCancel: {
            end(id, .failure(Self.cancelled))
        }
        return try answer.get()
    }

    /// Ends all waits, and returns when the thread has ended. Closing twice is harmless.
    package func close() async {
        await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
            let isDone = state.withLock { state in
                switch state.phase {
                case .open, .closing:
                    state.phase = .closing
                    state.closers.append(done)
                    return false
                case .closed, .failed: return true
                }
            }
            if isDone { done.resume() } else { ring() }
        }
        // The first of several closers joins, which takes no time: the thread resumed them as its last act.
        let thread = state.withLock { state in
            defer { state.thread = nil }
            return state.thread
        }
        if let thread { pthread_join(thread, nil) }
    }

    private static let cancelled = NetworkError(.cancelled, "the task was cancelled")

    // MARK: For tasks

    private func begin(_ id: UInt64, _ wait: Wait, _ interest: Interest, _ deadline: ContinuousClock.Instant)
        -> NetworkError?
    {
        let (refusal, isSooner): (NetworkError?, Bool) = state.withLock { state in
            switch state.phase {
            case .open: break
            case .closing, .closed: return (NetworkError(.closed, "the client was closed"), false)
            case .failed(let error): return (error, false)
            }
            let mask = interest == .read ? EPOLLIN.rawValue : EPOLLOUT.rawValue
            // Under the lock, so that whoever ends the wait finds the socket watched.
            guard control(EPOLL_CTL_ADD, wait.descriptor, mask | EPOLLONESHOT.rawValue, id) else {
                return (NetworkError(.system, "epoll: \(errorText(errno))"), false)
            }
            let isSooner = state.deadlines.soonest.map { deadline < $0 } ?? true
            state.waits[id] = wait
            state.deadlines.add(id, at: deadline)
            return (nil, isSooner)
        }
        // The thread sleeps until the soonest deadline that it knew.
        if isSooner { ring() }
        return refusal
    }

    private func end(_ id: UInt64, _ answer: Answer) {
        let wait = state.withLock { take(id, &$0) }
        wait?.continuation.resume(returning: answer)
    }

    /// Takes a wait out, and its socket out of the poller: after this the socket may be closed.
    private func take(_ id: UInt64, _ state: inout State) -> Wait? {
        guard let wait = state.waits.removeValue(forKey: id) else { return nil }
        _ = control(EPOLL_CTL_DEL, wait.descriptor, 0, id)
        return wait
    }

    private func control(_ operation: Int32, _ descriptor: Int32, _ mask: UInt32, _ id: UInt64) -> Bool {
        var event = epoll_event()
        event.events = mask
        event.data.u64 = id
        return epoll_ctl(poller, operation, descriptor, &event) == 0
    }

    private func ring() {
        var one: UInt64 = 1
        // Fails only when the counter is full, and then it rings already.
        _ = write(bell, &one, MemoryLayout<UInt64>.size)
    }

    private func fail(_ what: String) {
        let error = NetworkError(.system, "\(what): \(errorText(errno))")
        state.withLock { $0.phase = .failed(error) }
    }

    // MARK: The thread

    private func startThread() {
        do {
            let thread = try SystemThread.startJoinable("net-readiness") { [self] in run() }
            state.withLock { $0.thread = thread }
        } catch { state.withLock { $0.phase = .failed(NetworkError(.system, "\(error)")) } }
    }

    private func run() {
        let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: Self.eventsPerTurn)
        defer { events.deallocate() }
        while true {
            let (mustEnd, soonest) = state.withLock { state -> (Bool, ContinuousClock.Instant?) in
                if case .closing = state.phase { return (true, nil) }
                return (false, state.deadlines.soonest)
            }
            if mustEnd { break }
            let count = epoll_wait(poller, events, Int32(Self.eventsPerTurn), Self.milliseconds(until: soonest))
            precondition(count >= 0 || errno == EINTR, "epoll_wait fails only by interruption: its arguments are ours")
            turn(UnsafeMutableBufferPointer(start: events, count: max(0, Int(count))))
        }
        let (waits, closers) = state.withLock { state in
            state.phase = .closed
            defer {
                state.waits = [:]
                state.closers = []
            }
            return (state.waits.values.map(\.continuation), state.closers)
        }
        for wait in waits { wait.resume(returning: .failure(NetworkError(.closed, "the client was closed"))) }
        for closer in closers { closer.resume() }
    }

    private func turn(_ events: UnsafeMutableBufferPointer<epoll_event>) {
        let now = ContinuousClock.now
        let (ready, late) = state.withLock { state in
            var ready: [Wait] = []
            for event in events {
                if event.data.u64 == Self.bellID {
                    var count: UInt64 = 0
                    // Fails only when it did not ring.
                    _ = read(bell, &count, MemoryLayout<UInt64>.size)
                } else if let wait = take(event.data.u64, &state) {
                    ready.append(wait)
                }
            }
            var late: [Wait] = []
            while let id = state.deadlines.popDue(now) {
                if let wait = take(id, &state) { late.append(wait) }
            }
            state.deadlines.compact(live: state.waits.count) { [waits = state.waits] in waits[$0] != nil }
            return (ready, late)
        }
        for wait in ready { wait.continuation.resume(returning: .success(now)) }
        for wait in late { wait.continuation.resume(returning: .success(nil)) }
    }

    /// Rounded up: a turn that comes too early finds nothing due, and comes again.
    private static func milliseconds(until instant: ContinuousClock.Instant?) -> Int32 {
        guard let instant else { return -1 }
        let left = max(.zero, instant - ContinuousClock.now)
        return Int32(clamping: Int64((left / .milliseconds(1)).rounded(.up)))
    }
}

func errorText(_ code: Int32) -> String { String(cString: strerror(code)) }
