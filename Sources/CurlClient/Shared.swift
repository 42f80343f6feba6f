internal import CCurl
internal import Glibc
internal import Synchronization
internal import SystemThreads

/// What tasks and the thread both touch.
final class Shared: Sendable {
    struct Ask: Sendable {
        let id: UInt64
        let request: CurlRequest
        let hop: Hop
        let acceptedAt: Nanoseconds
        let answer: Answer
    }

    /// Where a result goes.
    enum Answer: Sendable {
        /// To a task that waits for the whole of it.
        case whole(CheckedContinuation<Result<CurlResponse, CurlError>, Never>)
        /// To one that has taken the body piece by piece.
        case pieces(BodyStream)

        func give(_ result: Result<CurlResponse, CurlError>) {
            switch self {
            case .whole(let continuation): continuation.resume(returning: result)
            case .pieces(let stream): stream.end(result)
            }
        }

        var stream: BodyStream? {
            guard case .pieces(let stream) = self else { return nil }
            return stream
        }
    }

    /// What the thread takes out at once.
    struct Letters {
        var asks: [Ask] = []
        var cancels: [UInt64] = []
        /// Paused transfers whose task has caught up.
        var resumes: [UInt64] = []
        var mustClose = false
    }

    private enum State {
        case open
        /// The thread has been told, and ends.
        case closing
        case closed
        /// There never was a thread.
        case failed(CurlError)
    }

    private struct Inbox {
        var state = State.open
        var asks: [Ask] = []
        var cancels: [UInt64] = []
        var resumes: [UInt64] = []
        /// One ring per burst: set by the first letter, taken back when the thread empties the box.
        var isRung = false
        var outstanding = 0
        var statistics = CurlStatistics()
        var thread: pthread_t?
        var closers: [CheckedContinuation<Void, Never>] = []
    }

    private let inbox = Mutex(Inbox())
    private let ids = Atomic<UInt64>(0)
    private let maxOutstanding: Int
    /// `nil` if the system would not give one; the state is then `failed`.
    private let bell: Bell?

    init(maxOutstanding: Int) {
        self.maxOutstanding = maxOutstanding
        do throws(CurlError) {
            bell = try Bell()
        } catch {
            bell = nil
            inbox.withLock { $0.state = .failed(error) }
        }
    }

    var outstanding: Int { inbox.withLock { $0.outstanding } }
    var statistics: CurlStatistics {
        inbox.withLock { inbox in
            var statistics = inbox.statistics
            statistics.outstanding = inbox.outstanding
            return statistics
        }
    }

    func nextID() -> UInt64 { ids.wrappingAdd(1, ordering: .relaxed).newValue }

    // MARK: For tasks

    /// The reason for a refusal, or `nil` when the thread will resume the continuation.
    func ask(_ ask: Ask) -> CurlError? {
        let (refusal, mustRing): (CurlError?, Bool) = inbox.withLock { inbox in
            switch inbox.state {
            case .open: break
            case .closing, .closed: return (CurlError(.closed, "the client was closed before the request"), false)
            case .failed(let error): return (error, false)
            }
            guard inbox.outstanding < maxOutstanding else {
                return (CurlError(.overloaded, "\(inbox.outstanding) requests are under way or waiting already"), false)
            }
            inbox.outstanding += 1
            inbox.asks.append(ask)
            defer { inbox.isRung = true }
            return (nil, !inbox.isRung)
        }
        if mustRing { bell?.ring() }
        return refusal
    }

    func cancel(_ id: UInt64) { write { $0.cancels.append(id) } }

    /// A paused transfer may go on.
    func resume(_ id: UInt64) { write { $0.resumes.append(id) } }

    /// To a thread that ends anyway nothing is written.
    private func write(_ letter: (inout Inbox) -> Void) {
        let mustRing = inbox.withLock { inbox in
            guard case .open = inbox.state else { return false }
            letter(&inbox)
            defer { inbox.isRung = true }
            return !inbox.isRung
        }
        if mustRing { bell?.ring() }
    }

    func close() async {
        await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
            let isDone = inbox.withLock { inbox in
                switch inbox.state {
                case .open:
                    inbox.state = .closing
                    inbox.closers.append(done)
                    return false
                case .closing:
                    inbox.closers.append(done)
                    return false
                case .closed, .failed: return true
                }
            }
            if isDone { done.resume() } else { bell?.ring() }
        }
        // The first of several closers joins, which takes no time: the thread resumed them as its last act.
        let thread = inbox.withLock { inbox in
            defer { inbox.thread = nil }
            return inbox.thread
        }
        if let thread { pthread_join(thread, nil) }
    }

    /// For a client let go. Says whether it was still open.
    func abandon() -> Bool {
        let (wasOpen, thread): (Bool, pthread_t?) = inbox.withLock { inbox in
            defer { inbox.thread = nil }
            guard case .open = inbox.state else { return (false, inbox.thread) }
            inbox.state = .closing
            return (true, inbox.thread)
        }
        // Nobody is left to join it.
        if let thread { pthread_detach(thread) }
        if wasOpen { bell?.ring() }
        return wasOpen
    }

    // MARK: For the thread

    func startThread(_ configuration: CurlConfiguration) {
        guard bell != nil else { return }
        do {
            let thread = try SystemThread.startJoinable("curl-multi") { [self] in runThread(configuration) }
            inbox.withLock { $0.thread = thread }
        } catch {
            inbox.withLock { $0.state = .failed(CurlError(.interrupted, "\(error)")) }
        }
    }

    /// On a thread without signals. SIGPIPE above all: a TLS library writes to sockets that may be gone, and with
    /// CURLOPT_NOSIGNAL libcurl leaves that to its user.
    private func runThread(_ configuration: CurlConfiguration) {
        do throws(CurlError) {
            let engine = try CurlEngine(self, configuration)
            engine.run()
            ended(.closed, CurlError(.closed, "the client was closed before the request"))
        } catch {
            ended(.failed(error), error)
        }
    }

    /// The descriptor that becomes readable when there are letters.
    var bellDescriptor: Int32 { bell?.descriptor ?? -1 }

    func takeLetters() -> Letters {
        bell?.silence()
        return inbox.withLock { inbox in
            inbox.isRung = false
            var letters = Letters()
            swap(&letters.asks, &inbox.asks)
            swap(&letters.cancels, &inbox.cancels)
            swap(&letters.resumes, &inbox.resumes)
            if case .closing = inbox.state { letters.mustClose = true }
            return letters
        }
    }

    /// So many more have been answered, and this is how things stand.
    func answered(_ count: Int, _ statistics: CurlStatistics) {
        inbox.withLock { inbox in
            inbox.outstanding -= count
            inbox.statistics = statistics
        }
    }

    private func ended(_ state: State, _ error: CurlError) {
        let (late, closers): ([Ask], [CheckedContinuation<Void, Never>]) = inbox.withLock { inbox in
            inbox.state = state
            inbox.outstanding -= inbox.asks.count
            defer {
                inbox.asks = []
                inbox.cancels = []
                inbox.resumes = []
                inbox.closers = []
            }
            return (inbox.asks, inbox.closers)
        }
        for ask in late { ask.answer.give(.failure(error)) }
        for closer in closers { closer.resume() }
    }
}

/// Nanoseconds since some moment, never backwards, whatever happens to the wall clock.
func monotonicNow() -> Nanoseconds {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
}
