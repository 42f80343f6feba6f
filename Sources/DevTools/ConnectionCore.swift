import CSpawn
import Glibc
import Synchronization
import SystemThreads

/// Who wants an event.
enum Subscriber: Sendable {
    case queue(EventQueue)
    case observer(@Sendable (DevToolsEventMessage) -> Void)
}

/// The socket of a connection and everything that waits on it. It outlives the connection by as long as its thread takes to end.
final class ConnectionCore: Sendable {
    private struct Interest: Hashable {
        var session: String?
        var method: String
    }

    private struct State {
        var pending = PendingCalls()
        var subscribers: [Interest: [UInt64: Subscriber]] = [:]
        var subscriberCount = 0
        var statistics = DevToolsStatistics()
        var closed: DevToolsError?
        var closers: [UInt64: CheckedContinuation<DevToolsError, Never>] = [:]
        /// Not written yet, because the browser does not read. From `unsentStart` on.
        var unsent: [UInt8] = []
        var unsentStart = 0
        /// When the thread will look at the clock by itself.
        var wakesAt: ContinuousClock.Instant?
    }

    private let state = Mutex(State())
    private let ids = Atomic<Int>(0)
    private let tickets = Atomic<UInt64>(0)
    private let socket: Int32
    /// Rung to have the thread look at what has changed.
    private let bell: Int32
    private let limits: DevToolsLimits

    private static let readBytes = 1 << 20

    init(_ socket: Int32, _ limits: DevToolsLimits) throws(DevToolsError) {
        self.socket = socket
        self.limits = limits
        bell = gaia_bell()
        guard bell >= 0, fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK) == 0 else {
            if bell >= 0 { Glibc.close(bell) }
            Glibc.close(socket)
            throw DevToolsError(.closed, "no descriptor is left to talk with a browser")
        }
    }

    /// The thread holds a reference, so nobody uses them any more.
    deinit {
        Glibc.close(socket)
        Glibc.close(bell)
    }

    func start() {
        do { try SystemThread.start("devtools") { self.serve() } } catch {
            preconditionFailure("for a browser \(error)")
        }
    }

    func nextID() -> Int { ids.add(1, ordering: .relaxed).newValue }

    var statistics: DevToolsStatistics {
        state.withLock { state in
            var statistics = state.statistics
            statistics.pending = state.pending.count
            statistics.subscribers = state.subscriberCount
            return statistics
        }
    }

    var closedBecause: DevToolsError? { state.withLock { $0.closed } }

    // MARK: Sending

    func send(_ id: Int, _ call: PendingCall, _ bytes: [UInt8]) {
        let refusal = state.withLock { state -> DevToolsError? in
            if let closed = state.closed { return closed }
            guard write(bytes, &state) else { return Self.overloaded(call.method) }
            state.statistics.sent += 1
            state.pending.add(id, call)
            if state.wakesAt.map({ call.deadline < $0 }) ?? true { gaia_bell_ring(bell) }
            return nil
        }
        if let refusal { call.continuation.resume(returning: .failure(refusal)) }
    }

    func post(_ bytes: [UInt8]) {
        state.withLock { state in
            if state.closed == nil, write(bytes, &state) { state.statistics.sent += 1 }
        }
    }

    func giveUp(_ id: Int, _ error: DevToolsError) {
        let call = state.withLock { $0.pending.take(id) }
        call?.continuation.resume(returning: .failure(error))
    }

    /// Writes at once what the socket takes; the thread writes the rest. False when too much waits already.
    private func write(_ bytes: [UInt8], _ state: inout State) -> Bool {
        guard state.unsent.count - state.unsentStart + bytes.count <= limits.unsentBytesMax else { return false }
        if !state.unsent.isEmpty {
            state.unsent += bytes
            return true
        }
        let count = bytes.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        // An error other than "full" is the thread's to notice: it reads the end.
        let written = max(0, count)
        if written < bytes.count {
            state.unsent = Array(bytes[written...])
            state.unsentStart = 0
            gaia_bell_ring(bell)
        }
        return true
    }

    private func flush(_ state: inout State) {
        let count = state.unsent.withUnsafeBytes { buffer in
            let rest = UnsafeRawBufferPointer(rebasing: buffer[state.unsentStart...])
            return Glibc.send(socket, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
        }
        if count > 0 { state.unsentStart += count }
        if state.unsentStart == state.unsent.count {
            state.unsent = []
            state.unsentStart = 0
        }
    }

    private static func overloaded(_ method: String) -> DevToolsError {
        DevToolsError(.overloaded, "\(method): the browser does not take what is sent to it; it hangs")
    }

    // MARK: Subscribing

    func subscribe(_ methods: [String], session: String?, _ subscriber: Subscriber) -> EventSubscription {
        let ticket = tickets.add(1, ordering: .relaxed).newValue
        let interests = methods.map { Interest(session: session, method: $0) }
        let closed = state.withLock { state -> DevToolsError? in
            if let closed = state.closed { return closed }
            for interest in interests { state.subscribers[interest, default: [:]][ticket] = subscriber }
            state.subscriberCount += 1
            return nil
        }
        if let closed, case .queue(let queue) = subscriber { queue.end(closed) }
        return EventSubscription { [weak self] in self?.unsubscribe(interests, ticket) }
    }

    private func unsubscribe(_ interests: [Interest], _ ticket: UInt64) {
        state.withLock { state in
            var isThere = false
            for interest in interests {
                if state.subscribers[interest]?.removeValue(forKey: ticket) != nil { isThere = true }
                if state.subscribers[interest]?.isEmpty == true { state.subscribers[interest] = nil }
            }
            if isThere { state.subscriberCount -= 1 }
        }
    }

    // MARK: Closing

    func close(_ reason: String) {
        let error = DevToolsError(.closed, reason)
        let (calls, subscribers, closers) = state.withLock { state in
            guard state.closed == nil else {
                return ([PendingCall](), [Subscriber](), [CheckedContinuation<DevToolsError, Never>]())
            }
            state.closed = error
            state.unsent = []
            defer {
                state.subscribers = [:]
                state.subscriberCount = 0
                state.closers = [:]
            }
            return (
                state.pending.takeAll(), state.subscribers.values.flatMap(\.values), Array(state.closers.values)
            )
        }
        shutdown(socket, Int32(SHUT_RDWR))
        gaia_bell_ring(bell)
        for call in calls {
            call.continuation.resume(returning: .failure(DevToolsError(.closed, "\(call.method): \(reason)")))
        }
        for case .queue(let queue) in subscribers { queue.end(error) }
        for closer in closers { closer.resume(returning: error) }
    }

    func waitUntilClosed() async -> DevToolsError {
        let ticket = tickets.add(1, ordering: .relaxed).newValue
        let cancelled = DevToolsError(.cancelled, "the task was cancelled")
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let ready = state.withLock { state -> DevToolsError? in
                    if let closed = state.closed { return closed }
                    if Task.isCancelled { return cancelled }
                    state.closers[ticket] = continuation
                    return nil
                }
                if let ready { continuation.resume(returning: ready) }
            }
        } onCancel: {
            state.withLock { $0.closers.removeValue(forKey: ticket) }?.resume(returning: cancelled)
        }
    }

    // MARK: The thread

    private func serve() {
        var frames = MessageFrames(bytesMax: limits.messageBytesMax)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.readBytes, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let (isClosed, hasUnsent, wait) = state.withLock { state -> (Bool, Bool, Int32) in
                state.wakesAt = state.pending.soonest
                let wait = state.wakesAt.map { Self.milliseconds(from: .now, to: $0) } ?? -1
                return (state.closed != nil, !state.unsent.isEmpty, wait)
            }
            if isClosed { return }
            var entries = [
                pollfd(fd: socket, events: Int16(hasUnsent ? POLLIN | POLLOUT : POLLIN), revents: 0),
                pollfd(fd: bell, events: Int16(POLLIN), revents: 0),
            ]
            _ = poll(&entries, 2, wait)
            if entries[1].revents != 0 { gaia_bell_still(bell) }
            if entries[0].revents & Int16(POLLOUT) != 0 { state.withLock { flush(&$0) } }
            if entries[0].revents & ~Int16(POLLOUT) != 0 {
                let count = recv(socket, buffer.baseAddress, buffer.count, 0)
                if count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR) {
                    return close("the browser ended, or closed its end")
                }
                if count > 0 { deliver(frames.take(UnsafeRawBufferPointer(rebasing: buffer[..<count]))) }
            }
            expire()
        }
    }

    private func expire() {
        let due = state.withLock { state in state.pending.takeDue(.now) }
        for call in due {
            call.continuation.resume(
                returning: .failure(
                    DevToolsError(.timeout, "\(call.method): the browser did not answer within \(call.limit)")))
        }
    }

    /// Rounded up, so that what is due is due when the thread wakes.
    private static func milliseconds(from now: ContinuousClock.Instant, to instant: ContinuousClock.Instant) -> Int32 {
        let (seconds, attoseconds) = (instant - now).components
        guard seconds >= 0 else { return 0 }
        return Int32(min(seconds, 86_400) * 1_000 + attoseconds / 1_000_000_000_000_000 + 1)
    }

    // MARK: Delivering

    private func deliver(_ frames: [MessageFrames.Frame]) {
        let now = ContinuousClock.now
        for frame in frames {
            switch frame {
            case .tooLarge(let beginning):
                let call = state.withLock { state in
                    state.statistics.dropped += 1
                    return MessageScanner.id(ofBeginning: beginning).flatMap { state.pending.take($0) }
                }
                call?.continuation.resume(
                    returning: .failure(
                        DevToolsError(
                            .tooLarge,
                            "\(call?.method ?? ""): the answer is larger than \(limits.messageBytesMax) bytes")))
            case .message(let bytes): deliver(bytes, now)
            }
        }
    }

    private func deliver(_ bytes: [UInt8], _ now: ContinuousClock.Instant) {
        guard let message = MessageScanner.scan(bytes) else {
            state.withLock { $0.statistics.dropped += 1 }
            return
        }
        if let id = message.id {
            let call = state.withLock { state -> PendingCall? in
                state.statistics.received += 1
                let call = state.pending.take(id)
                if call == nil { state.statistics.lateAnswers += 1 }
                return call
            }
            if let call { call.continuation.resume(returning: Self.answer(bytes, message, call)) }
        } else if let method = message.method {
            let event = DevToolsEventMessage(
                method: method, sessionID: message.session,
                params: message.params.map { JSONSlice(bytes, $0) } ?? .emptyObject, instant: now)
            let subscribers = state.withLock { state in
                state.statistics.received += 1
                return state.subscribers[Interest(session: message.session, method: method)].map { Array($0.values) }
            }
            for subscriber in subscribers ?? [] {
                switch subscriber {
                case .queue(let queue): queue.add(event)
                case .observer(let observe): observe(event)
                }
            }
            endSession(event)
        }
    }

    private static func answer(_ bytes: [UInt8], _ message: Message, _ call: PendingCall) -> PendingCall.Answer {
        guard let error = message.error else {
            return .success(message.result.map { JSONSlice(bytes, $0) } ?? .emptyObject)
        }
        struct Refusal: Decodable {
            var code: Int
            var message: String
        }
        guard let refusal = try? JSONSlice(bytes, error).decode(Refusal.self) else {
            // `try?`: it is an error either way.
            return .failure(DevToolsError(.malformed, "\(call.method): the browser's refusal cannot be read"))
        }
        return .failure(
            DevToolsError(
                .refused(code: refusal.code, message: refusal.message),
                "\(call.method): the browser says \"\(refusal.message.prefix(300))\""))
    }

    /// What a session waits for never comes once its target is gone.
    private func endSession(_ event: DevToolsEventMessage) {
        switch event.method {
        case Target.DetachedFromTarget.method:
            guard let session = try? event.decode(Target.DetachedFromTarget.self).sessionId else { return }
            // `try?`: one that cannot be read ends nothing; the deadlines do.
            let queues = state.withLock { state in
                let interests = state.subscribers.keys.filter { $0.session == session }
                return interests.flatMap { state.subscribers[$0]?.values.map { $0 } ?? [] }
            }
            fail(session, DevToolsError(.detached, "the page was closed"))
            for case .queue(let queue) in queues { queue.end(nil) }
        case Inspector.TargetCrashed.method:
            if let session = event.sessionID { fail(session, DevToolsError(.crashed, "the page's process crashed")) }
        default: break
        }
    }

    private func fail(_ session: String, _ error: DevToolsError) {
        let calls = state.withLock { $0.pending.take(session: session) }
        for call in calls {
            call.continuation.resume(
                returning: .failure(DevToolsError(error.reason, "\(call.method): \(error.message)")))
        }
    }
}
