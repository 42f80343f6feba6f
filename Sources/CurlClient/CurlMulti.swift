internal import CCurl
internal import Glibc
internal import Synchronization

/// What a ``CurlMulti`` allows itself.
public struct CurlConfiguration: Sendable {
    /// Connections open at once, idle ones among them. Each is a file descriptor: the process's limit has to have room.
    public var maxConnections: Int
    /// The same for one origin. Politeness as much as a bound: this many requests at once is what a server sees of this process.
    public var maxConnectionsPerHost: Int
    /// Transfers running at once; more than `maxConnections` never run, as HTTP/1.1 gives each a connection of its own.
    public var maxInFlight: Int
    /// Requests waiting for a turn. One more is refused at once with ``CurlError/Kind/overloaded``.
    public var maxWaiting: Int
    /// Bytes of header lines of one hop's answer, interim answers and trailers among them.
    public var maxResponseHeaderBytes: Int
    /// A connection idle for longer is not used again, and when nothing at all has run for that long every one is closed.
    public var idleConnectionTimeout: Duration
    public var userAgent: String
    /// Sees the address that is about to be connected to, and says whether it may be. Runs on the client's thread, for every
    /// connection of every hop: it must be quick and must not block. `nil` allows all.
    public var resolveGuard: (@Sendable (CurlAddress) -> Bool)?
    /// Told when the last reference goes without a ``CurlMulti/close()`` before it.
    public var onMisuse: @Sendable (String) -> Void

    public init(
        maxConnections: Int = 1024, maxConnectionsPerHost: Int = 64, maxInFlight: Int = 1024, maxWaiting: Int = 16_384,
        maxResponseHeaderBytes: Int = 64 << 10, idleConnectionTimeout: Duration = .seconds(30),
        userAgent: String = "gaia-fleet",
        resolveGuard: (@Sendable (CurlAddress) -> Bool)? = nil,
        onMisuse: @escaping @Sendable (String) -> Void = CurlConfiguration.writeToStandardError
    ) {
        self.maxConnections = maxConnections
        self.maxConnectionsPerHost = maxConnectionsPerHost
        self.maxInFlight = maxInFlight
        self.maxWaiting = maxWaiting
        self.maxResponseHeaderBytes = maxResponseHeaderBytes
        self.idleConnectionTimeout = idleConnectionTimeout
        self.userAgent = userAgent
        self.resolveGuard = resolveGuard
        self.onMisuse = onMisuse
    }

    public static let writeToStandardError: @Sendable (String) -> Void = { message in
        let line = Array("CurlClient: \(message)\n".utf8)
        // There is nobody to tell if this fails.
        _ = write(STDERR_FILENO, line, line.count)
    }
}

/// An HTTP client: a pool of connections and the one thread that serves them. A process needs one, or one per set of rules.
///
/// Whoever makes one closes it; see ``close()``.
public final class CurlMulti: Sendable {
    private let shared: Shared
    private let onMisuse: @Sendable (String) -> Void

    public convenience init(
        maxConnections: Int, maxConnectionsPerHost: Int, maxInFlight: Int,
        resolveGuard: (@Sendable (CurlAddress) -> Bool)? = nil
    ) {
        self.init(
            CurlConfiguration(
                maxConnections: maxConnections, maxConnectionsPerHost: maxConnectionsPerHost, maxInFlight: maxInFlight,
                resolveGuard: resolveGuard))
    }

    /// Starts the thread. If the system refuses it, or a descriptor, every `perform` throws what it said.
    ///
    /// - Precondition: every limit is above zero, and the user agent could be a header value.
    public init(_ configuration: CurlConfiguration = CurlConfiguration()) {
        precondition(
            min(
                configuration.maxConnections, configuration.maxConnectionsPerHost, configuration.maxInFlight,
                configuration.maxWaiting) > 0
                && configuration.maxResponseHeaderBytes > 0 && configuration.idleConnectionTimeout > .zero,
            "a limit of zero lets nothing through")
        precondition(
            configuration.userAgent.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f },
            "a user agent has no control characters")
        onMisuse = configuration.onMisuse
        let (maxOutstanding, isTooMany) = min(configuration.maxInFlight, configuration.maxConnections)
            .addingReportingOverflow(configuration.maxWaiting)
        precondition(!isTooMany, "a limit beyond all numbers is none")
        shared = Shared(maxOutstanding: maxOutstanding)
        shared.startThread(configuration)
    }

    deinit {
        guard shared.abandon() else { return }
        onMisuse("a CurlMulti was let go without close(); its thread ends by itself, its connections with it")
    }

    /// Sends a request and returns what came back, whatever its status.
    ///
    /// Waits for its turn if as many run as may. Takes as long as `request.timeout` at most, and ends at once when the task is
    /// cancelled: the transfer is taken out and its connection closed, so that the server learns of it too.
    public func perform(_ request: CurlRequest) async throws(CurlError) -> CurlResponse {
        let hop = try Hop(request)
        guard !Task.isCancelled else {
            throw CurlError(.cancelled, "\(hop.url.origin): the task was cancelled before the request")
        }
        let id = shared.nextID()
        let shared = self.shared
        let result: Result<CurlResponse, CurlError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if let refusal = shared.ask(
                    .init(id: id, request: request, hop: hop, acceptedAt: monotonicNow(), continuation: continuation))
                {
                    continuation.resume(returning: .failure(refusal))
                }
                // The handler may have run just before there was anything to cancel.
                if Task.isCancelled { shared.cancel(id) }
            }
        } onCancel: {
            shared.cancel(id)
        }
        return try result.get()
    }

    /// Ends everything in flight with ``CurlError/Kind/closed``, closes all connections and waits for the thread to end. Later
    /// requests are refused the same way. Closing twice is harmless.
    public func close() async {
        await shared.close()
    }

    /// Requests accepted and not yet answered, waiting ones among them.
    public var outstanding: Int { shared.outstanding }
}

/// What tasks and the thread both touch.
final class Shared: Sendable {
    struct Ask: Sendable {
        let id: UInt64
        let request: CurlRequest
        let hop: Hop
        let acceptedAt: Nanoseconds
        let continuation: CheckedContinuation<Result<CurlResponse, CurlError>, Never>
    }

    /// What the thread takes out at once.
    struct Letters {
        var asks: [Ask] = []
        var cancels: [UInt64] = []
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
        /// One ring per burst: set by the first letter, taken back when the thread empties the box.
        var isRung = false
        var outstanding = 0
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

    func cancel(_ id: UInt64) {
        let mustRing = inbox.withLock { inbox in
            guard case .open = inbox.state else { return false }
            inbox.cancels.append(id)
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
        final class Start: Sendable {
            let shared: Shared
            let configuration: CurlConfiguration
            init(_ shared: Shared, _ configuration: CurlConfiguration) {
                self.shared = shared
                self.configuration = configuration
            }
        }
        let start = Unmanaged.passRetained(Start(self, configuration))
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                start.shared.runThread(start.configuration)
                return nil
            }, start.toOpaque())
        if code == 0 {
            inbox.withLock { $0.thread = thread }
        } else {
            start.release()
            inbox.withLock {
                $0.state = .failed(
                    CurlError(.interrupted, "no thread could be started: \(String(cString: strerror(code)))"))
            }
        }
    }

    private func runThread(_ configuration: CurlConfiguration) {
        ccurl_name_this_thread("curl-multi")
        // Signals go to the threads that expect them. SIGPIPE above all: a TLS library writes to sockets that may be gone, and
        // with CURLOPT_NOSIGNAL libcurl leaves that to its user.
        var all = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_BLOCK, &all, nil)
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
            if case .closing = inbox.state { letters.mustClose = true }
            return letters
        }
    }

    /// So many more have been answered.
    func answered(_ count: Int) {
        inbox.withLock { $0.outstanding -= count }
    }

    private func ended(_ state: State, _ error: CurlError) {
        let (late, closers): ([Ask], [CheckedContinuation<Void, Never>]) = inbox.withLock { inbox in
            inbox.state = state
            inbox.outstanding -= inbox.asks.count
            defer {
                inbox.asks = []
                inbox.cancels = []
                inbox.closers = []
            }
            return (inbox.asks, inbox.closers)
        }
        for ask in late { ask.continuation.resume(returning: .failure(error)) }
        for closer in closers { closer.resume() }
    }
}

/// Nanoseconds since some moment, never backwards, whatever happens to the wall clock.
func monotonicNow() -> Nanoseconds {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
}
