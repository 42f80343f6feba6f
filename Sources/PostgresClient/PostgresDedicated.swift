import Logging
import Synchronization

/// One long-lived connection outside any pool, for what lives as long as the connection does: session advisory locks,
/// that is liveness and leadership.
///
/// It never reconnects by itself: whoever loses it has lost the lock and must know. ``connect()`` may be called again
/// then.
public final class PostgresDedicated: Sendable {
    private let configuration: PostgresConfiguration
    private let logger: Logger
    private let current = Mutex<Engine?>(nil)

    public init(configuration: PostgresConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
    }

    deinit { current.withLock { $0 }?.closeWithoutWaiting() }

    /// Connects once.
    ///
    /// - Returns: a session that lasts until the connection is lost or closed.
    /// - Throws: why there is no connection; ``PostgresError/Kind/invalidConfiguration`` if there is one already.
    public func connect() async throws(PostgresError) -> PostgresSession {
        var plan = Engine.Plan(size: 1)
        plan.reconnects = false
        plan.probeInterval = configuration.probeInterval
        let engine = Engine(configuration: configuration, plan: plan, logger: logger)
        let isFirst = current.withLock { current in
            if let current, current.end.value == nil { return false }
            current = engine
            return true
        }
        guard isFirst else {
            throw PostgresError(kind: .invalidConfiguration, message: "this dedicated connection is connected already")
        }
        engine.post(.start)
        let lease = Lease()
        if case .failure(let error) = await engine.run(.lease(lease)) {
            await engine.close()
            throw error
        }
        return PostgresSession(engine: engine, lease: lease)
    }

    /// Waits until the connection is gone.
    ///
    /// - Returns: why it was lost; nil if it was closed here, was never made, or the waiting task was cancelled.
    public func closed() async -> PostgresError? {
        guard let engine = current.withLock({ $0 }) else { return nil }
        return await engine.end.wait() ?? nil
    }

    /// Disconnects at once; the server frees the session's locks.
    public func close() async {
        guard let engine = current.withLock({ $0 }) else { return }
        engine.post(.cut)
        await engine.close()
    }
}
