import Glibc
import Synchronization

/// The one thing other threads may do with a connection's socket: break it off.
final class SocketControl: Sendable {
    /// Guarded so that the number is never used after the connection has closed it, when it may be somebody else's.
    private let descriptor = Mutex<Int32>(-1)

    func attach(_ descriptor: Int32) { self.descriptor.withLock { $0 = descriptor } }
    func detach() { descriptor.withLock { $0 = -1 } }

    /// Ends every blocking read or write on it, at once.
    func abort() {
        descriptor.withLock { descriptor in
            if descriptor >= 0 { shutdown(descriptor, Int32(SHUT_RDWR)) }
        }
    }
}

/// Breaks off sockets whose owner is stuck in a call of librabbitmq for too long. One thread for the whole process.
final class Watchdog: Sendable {
    static let shared = Watchdog()

    private struct Watch {
        let control: SocketControl
        let deadline: Instant
    }
    private struct State {
        var watches: [UInt64: Watch] = [:]
        var lastID: UInt64 = 0
        var isRunning = false
        var sleepsUntil: Instant = .never
    }
    private let state = Mutex(State())
    private let wakeup = Wakeup()

    /// Runs `body`; if it takes longer than `limit`, its socket is shut down, and `body` fails by itself.
    func guarding<Result: ~Copyable>(
        _ control: SocketControl, for limit: Duration, _ body: () throws(AMQPError) -> Result
    ) throws(AMQPError) -> Result {
        let id = try watch(control, until: Instant.now().adding(limit))
        defer { state.withLock { _ = $0.watches.removeValue(forKey: id) } }
        return try body()
    }

    private func watch(_ control: SocketControl, until deadline: Instant) throws(AMQPError) -> UInt64 {
        let (id, mustStart, mustWake) = state.withLock { state in
            state.lastID += 1
            state.watches[state.lastID] = Watch(control: control, deadline: deadline)
            let mustStart = !state.isRunning
            state.isRunning = true
            // Deadlines mostly rise, so the thread is seldom woken for one.
            return (state.lastID, mustStart, deadline < state.sleepsUntil)
        }
        if mustStart {
            do throws(AMQPError) {
                try IOThread.start(name: "amqp-watchdog") { self.run() }
            } catch {
                state.withLock { state in
                    state.isRunning = false
                    state.watches[id] = nil
                }
                throw error
            }
        } else if mustWake {
            wakeup.signal()
        }
        return id
    }

    private func run() {
        while true {
            let (due, next) = state.withLock { state in
                let now = Instant.now()
                let due = state.watches.filter { $0.value.deadline <= now }
                for id in due.keys { state.watches[id] = nil }
                state.sleepsUntil = state.watches.values.map(\.deadline).min() ?? .never
                return (due.values.map(\.control), state.sleepsUntil)
            }
            for control in due { control.abort() }
            _ = Poll.wait(socket: -1, forWriting: false, wakeup: wakeup, until: next)
        }
    }
}
