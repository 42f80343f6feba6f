import Logging
import Synchronization

/// What a listener hears.
public enum PostgresNotification: Sendable, Hashable {
    case message(channel: String, payload: String)
    /// Listening from here on, for the first time or again: what was sent before is unknown, so look for yourself.
    case reconnected
    /// The reader was too slow and everything buffered was dropped: look for yourself.
    case lagged
}

/// Hears NOTIFY on a connection of its own, and keeps hearing across reconnects.
///
/// A notification is a hint and never the truth: none is repeated, and those sent while disconnected are lost, of which
/// ``PostgresNotification/reconnected`` tells.
public final class PostgresListener: Sendable {
    private let engine: Engine
    /// For one reader. It ends when the listener is closed.
    public let notifications: PostgresNotifications

    /// - Parameter channels: as written in NOTIFY between double quotes; at most 63 bytes each.
    public init(configuration: PostgresConfiguration, channels: [String], logger: Logger) {
        let buffer = NotificationBuffer(limit: configuration.maxBufferedNotifications)
        notifications = PostgresNotifications(buffer: buffer)
        var plan = Engine.Plan(size: 1)
        plan.greeting = channels.map { "LISTEN \(quotedIdentifier($0))" }
        plan.probeInterval = configuration.probeInterval
        plan.hooks.onUp = { buffer.append(.reconnected) }
        plan.hooks.onNotification = { buffer.append(.message(channel: $0, payload: $1)) }
        engine = Engine(configuration: configuration, plan: plan, logger: logger)
    }

    deinit { engine.closeWithoutWaiting() }

    /// Connects, listens, and connects again whenever the link is lost, until ``close()`` or the task's cancellation.
    ///
    /// - Throws: what time cannot mend, and only if no connection has ever succeeded.
    public func run() async throws(PostgresError) {
        engine.post(.start)
        let end = await withTaskCancellationHandler {
            await engine.end.waitUncancelled()
        } onCancel: {
            engine.closeWithoutWaiting()
        }
        notifications.buffer.finish()
        if let end { throw end }
    }

    public func close() async {
        await engine.close()
        notifications.buffer.finish()
    }
}

/// The notifications of one ``PostgresListener``, for one reader at a time.
public struct PostgresNotifications: AsyncSequence, Sendable {
    public typealias Element = PostgresNotification
    let buffer: NotificationBuffer

    public struct AsyncIterator: AsyncIteratorProtocol {
        let buffer: NotificationBuffer

        /// - Returns: nil when the listener is closed or the task cancelled.
        public mutating func next() async -> PostgresNotification? { await buffer.next() }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(buffer: buffer) }
}

/// Between the IO thread, which never waits, and a reader that may be slow.
final class NotificationBuffer: Sendable {
    private struct State {
        var waiting = FIFO<PostgresNotification>()
        var reader: CheckedContinuation<PostgresNotification?, Never>?
        var isFinished = false
    }

    private let limit: Int
    private let state = Mutex(State())

    init(limit: Int) { self.limit = max(1, limit) }

    func append(_ notification: PostgresNotification) {
        let reader = state.withLock { state -> CheckedContinuation<PostgresNotification?, Never>? in
            guard !state.isFinished else { return nil }
            if let reader = state.reader {
                state.reader = nil
                return reader
            }
            if state.waiting.count >= limit {
                _ = state.waiting.removeAll()
                // One word instead of all that was lost; this one is lost with them unless it says the same.
                state.waiting.append(.lagged)
            } else {
                state.waiting.append(notification)
            }
            return nil
        }
        reader?.resume(returning: notification)
    }

    func finish() {
        let reader = state.withLock { state in
            state.isFinished = true
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume(returning: nil)
    }

    func next() async -> PostgresNotification? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let now: PostgresNotification?? = state.withLock { state in
                    if let first = state.waiting.popFirst() { return .some(first) }
                    if state.isFinished || Task.isCancelled { return .some(nil) }
                    precondition(state.reader == nil, "notifications have one reader at a time")
                    state.reader = continuation
                    return nil
                }
                if let now { continuation.resume(returning: now) }
            }
        } onCancel: {
            let reader = state.withLock { state in
                defer { state.reader = nil }
                return state.reader
            }
            reader?.resume(returning: nil)
        }
    }
}

/// Case and spaces kept, quotes doubled.
func quotedIdentifier(_ name: String) -> String {
    "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
}
