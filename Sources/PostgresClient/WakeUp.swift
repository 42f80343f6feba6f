import CPostgres
import Glibc
import Synchronization

/// Nanoseconds of the monotonic clock.
package struct Moment: Comparable, Hashable, Sendable {
    package var nanoseconds: Int64

    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    package static var now: Moment {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Moment(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    package static func < (left: Moment, right: Moment) -> Bool { left.nanoseconds < right.nanoseconds }

    package static func + (moment: Moment, duration: Duration) -> Moment {
        let (sum, overflow) = moment.nanoseconds.addingReportingOverflow(duration.wholeNanoseconds)
        return Moment(nanoseconds: overflow ? .max : sum)
    }

    /// For `epoll_wait` and `poll`: rounded up, so that nobody wakes a moment too early and spins.
    package static func millisecondsUntil(_ deadline: Moment?, from now: Moment) -> Int32 {
        guard let deadline else { return -1 }
        let left = deadline.nanoseconds - now.nanoseconds
        return left <= 0 ? 0 : Int32(clamping: (left + 999_999) / 1_000_000)
    }
}

/// A flag another thread can wait for with `poll` or `epoll`.
final class WakeUp: Sendable {
    let descriptor: Int32

    init() {
        descriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
        precondition(descriptor >= 0, "no file descriptor left for an event: \(String(cString: strerror(errno)))")
    }

    deinit { close(descriptor) }

    func raise() { eventfd_write(descriptor, 1) }

    func clear() {
        var value: eventfd_t = 0
        eventfd_read(descriptor, &value)
    }
}

/// What other threads have for an IO thread. Posting never blocks for longer than an append.
final class Inbox<Message: Sendable>: Sendable {
    private struct State {
        var messages: [Message] = []
        var closed = false
    }

    let wakeUp = WakeUp()
    private let state = Mutex(State())

    /// - Returns: false once closed; the message is then the caller's to answer.
    func post(_ message: Message) -> Bool {
        state.withLock { state in
            guard !state.closed else { return false }
            state.messages.append(message)
            // Only the first wakes: the thread takes all at once.
            if state.messages.count == 1 { wakeUp.raise() }
            return true
        }
    }

    func takeAll() -> [Message] {
        state.withLock { state in
            var taken: [Message] = []
            swap(&taken, &state.messages)
            return taken
        }
    }

    /// - Returns: what nobody will take any more.
    func close() -> [Message] {
        state.withLock { state in
            state.closed = true
            var taken: [Message] = []
            swap(&taken, &state.messages)
            return taken
        }
    }
}

/// `epoll` over numbered sockets and one inbox.
struct Poller: ~Copyable {
    struct Interest: OptionSet {
        let rawValue: UInt32
        static let read = Interest(rawValue: EPOLLIN.rawValue)
        static let write = Interest(rawValue: EPOLLOUT.rawValue)
    }

    /// Events taken in one turn.
    private static let maxEvents = 64
    private let descriptor: Int32
    private var events = [epoll_event](repeating: epoll_event(), count: maxEvents)

    init() {
        descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
        precondition(descriptor >= 0, "no file descriptor left for epoll: \(String(cString: strerror(errno)))")
    }

    deinit { close(descriptor) }

    func add(_ socket: Int32, token: UInt64, _ interest: Interest) { control(EPOLL_CTL_ADD, socket, token, interest) }
    func change(_ socket: Int32, token: UInt64, _ interest: Interest) {
        control(EPOLL_CTL_MOD, socket, token, interest)
    }
    func remove(_ socket: Int32) { control(EPOLL_CTL_DEL, socket, 0, []) }

    private func control(_ operation: Int32, _ socket: Int32, _ token: UInt64, _ interest: Interest) {
        var event = epoll_event(events: interest.rawValue, data: epoll_data_t(u64: token))
        // A socket that libpq has closed already is gone from the set by itself, so a failed removal means nothing.
        let result = epoll_ctl(descriptor, operation, socket, &event)
        assert(result == 0 || operation == EPOLL_CTL_DEL, "epoll_ctl: \(String(cString: strerror(errno)))")
    }

    /// - Returns: tokens of what is ready. Errors and hang-ups count as ready: reading tells what they are.
    mutating func wait(milliseconds: Int32) -> [UInt64] {
        let count = epoll_wait(descriptor, &events, Int32(Self.maxEvents), milliseconds)
        return count <= 0 ? [] : events[..<Int(count)].map { $0.data.u64 }
    }
}

/// A value that is set once and that any number of tasks may wait for.
final class OneShot<Value: Sendable>: Sendable {
    private struct State {
        var value: Value?
        var waiters: [UInt64: CheckedContinuation<Value?, Never>] = [:]
        var nextWaiter: UInt64 = 0
    }

    private let state = Mutex(State())

    var value: Value? { state.withLock { $0.value } }

    func set(_ value: Value) {
        let waiters = state.withLock { state -> [CheckedContinuation<Value?, Never>] in
            guard state.value == nil else { return [] }
            state.value = value
            defer { state.waiters = [:] }
            return Array(state.waiters.values)
        }
        for waiter in waiters { waiter.resume(returning: value) }
    }

    /// - Returns: nil if the waiting task was cancelled first.
    func wait() async -> Value? {
        let number = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let now: Value?? = state.withLock { state in
                    if let value = state.value { return .some(value) }
                    // Cancelled before the handler could find a waiter here.
                    if Task.isCancelled { return .some(nil) }
                    state.waiters[number] = continuation
                    return nil
                }
                if let now { continuation.resume(returning: now) }
            }
        } onCancel: {
            let waiter = state.withLock { $0.waiters.removeValue(forKey: number) }
            waiter?.resume(returning: nil)
        }
    }

    /// Waits to the end even when the task is cancelled.
    func waitUncancelled() async -> Value {
        await withCheckedContinuation { (continuation: CheckedContinuation<Value?, Never>) in
            let value = state.withLock { state -> Value? in
                if let value = state.value { return value }
                state.nextWaiter += 1
                state.waiters[state.nextWaiter] = continuation
                return nil
            }
            if let value { continuation.resume(returning: value) }
        }!  // Only cancellation resumes with nil, and this number is never given to a cancellation handler.
    }
}
