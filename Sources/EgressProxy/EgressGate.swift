import AddressPolicy
import Glibc
import Synchronization

/// A way out: a port of its own on 127.0.0.1, with its own policy, limits and report. It speaks SOCKS 5.
public final class EgressGate: Sendable {
    private struct State {
        var report = EgressReport()
        /// Connections under way, made or not.
        var passages = 0
    }

    /// Where clients connect to.
    public let port: UInt16
    public let policy: AddressPolicy
    public let limits: GateLimits
    let id: UInt64
    let listener: Int32
    private let state = Mutex(State())
    private let onRefusal: @Sendable () -> Void
    private let onClose: @Sendable () -> Void

    init(
        id: UInt64, listener: Int32, port: UInt16, policy: AddressPolicy, limits: GateLimits,
        onRefusal: @escaping @Sendable () -> Void, onClose: @escaping @Sendable () -> Void
    ) {
        self.id = id
        self.listener = listener
        self.port = port
        self.policy = policy
        self.limits = limits
        self.onRefusal = onRefusal
        self.onClose = onClose
    }

    /// In the form of `--proxy-server`.
    public var proxyServer: String { "socks5://127.0.0.1:\(port)" }

    public var report: EgressReport { state.withLock { $0.report } }

    /// Ends its connections and frees its port, a moment after this returns.
    public func close() { onClose() }

    // MARK: What the thread notes

    /// Whether one more connection may come.
    func enter() -> Bool {
        state.withLock { state in
            guard state.passages < limits.connectionsMax, !isUsedUp(state.report) else { return false }
            state.passages += 1
            return true
        }
    }

    func leave(wasOpen: Bool) {
        state.withLock { state in
            state.passages -= 1
            if wasOpen { state.report.open -= 1 }
        }
    }

    func opened() {
        state.withLock { state in
            state.report.connections += 1
            state.report.open += 1
        }
    }

    /// Counts what has passed; false once that is more than may.
    func passed(sent: Int = 0, received: Int = 0) -> Bool {
        state.withLock { state in
            state.report.bytesSent += sent
            state.report.bytesReceived += received
            return !isUsedUp(state.report)
        }
    }

    func failed(_ failure: EgressFailure) {
        var isRefusal = false
        if case .refused = failure.reason { isRefusal = true }
        state.withLock { state in
            state.report.failureCount += 1
            if isRefusal { state.report.refusedCount += 1 }
            if state.report.failures.count == EgressReport.failuresMax { state.report.failures.removeFirst() }
            state.report.failures.append(failure)
        }
        if isRefusal { onRefusal() }
    }

    private func isUsedUp(_ report: EgressReport) -> Bool {
        limits.bytesMax.map { report.bytesSent + report.bytesReceived > $0 } ?? false
    }
}
