import AddressPolicy
import CurlClient
import FleetModel
import Metrics
import Synchronization

/// What the api subsystem tells of itself. No dimension holds a host: jobs choose those, and there is no end of them.
final class APIMetrics: Sendable {
    /// Calls that ended, by outcome: succeeded, transient, throttled, permanent or cancelled.
    private let requests: [String: Counter]
    /// Calls that failed, by what went wrong; see ``ErrorClass``.
    private let errors: [ErrorClass: Counter]
    /// How long calls took, waiting for a turn and for the fleet's limits among it.
    private let seconds: Timer
    /// Calls that have a turn, and calls that wait for one.
    private let active: Meter
    private let waiting: Meter
    /// Of all connections, which part has a call: 0 to 1.
    private let utilisation: Meter
    /// Connections opened; calls beyond these went over pooled ones.
    private let connections: Counter
    /// Bytes on the wire, heads among them.
    private let received: Counter
    private let sent: Counter
    /// Circuit breakers by state.
    private let breakers: [CircuitBreaker.State: Meter]
    /// Times a breaker opened.
    private let breakersOpened: Counter
    /// Times a server asked for a pause and its host was closed to the fleet.
    private let retryAfters: Counter
    /// Connections refused by the address policy, by the kind of address.
    private let refusedAddresses: [AddressKind: Counter]
    /// Bytes of bodies put into files.
    private let fileBytes: Counter
    /// Batches that ended, by outcome.
    private let batches: [Bool: Counter]

    private let counted = Mutex(CurlStatistics())

    /// What went wrong with a call.
    enum ErrorClass: String, CaseIterable {
        case resolve, connect, timeout, tls, interrupted, refused, redirect, limit, file, cancelled, other
        case tooLarge = "too-large"
        case clientError = "4xx"
        case serverError = "5xx"
        case throttled = "retry-after"
        case circuit = "circuit-open"
    }

    private static let outcomes = ["succeeded", "transient", "throttled", "permanent", "unsafe", "cancelled"]

    init(_ factory: any MetricsFactory) {
        func counter(_ label: String, _ dimensions: [(String, String)] = []) -> Counter {
            Counter(label: "gaia_api_\(label)", dimensions: dimensions, factory: factory)
        }
        func meter(_ label: String, _ dimensions: [(String, String)] = []) -> Meter {
            Meter(label: "gaia_api_\(label)", dimensions: dimensions, factory: factory)
        }
        func each<Key: Hashable>(_ keys: [Key], _ make: (Key) -> Counter) -> [Key: Counter] {
            Dictionary(uniqueKeysWithValues: keys.map { ($0, make($0)) })
        }
        requests = each(Self.outcomes) { counter("requests_total", [("outcome", $0)]) }
        errors = each(ErrorClass.allCases) { counter("errors_total", [("class", $0.rawValue)]) }
        seconds = Timer(label: "gaia_api_request_seconds", dimensions: [], factory: factory)
        active = meter("active")
        waiting = meter("waiting")
        utilisation = meter("pool_utilisation")
        connections = counter("connections_opened_total")
        received = counter("received_bytes_total")
        sent = counter("sent_bytes_total")
        breakers = Dictionary(
            uniqueKeysWithValues: CircuitBreaker.State.allCases.map {
                ($0, meter("breakers", [("state", $0.rawValue)]))
            })
        breakersOpened = counter("breakers_opened_total")
        retryAfters = counter("retry_after_total")
        refusedAddresses = each(AddressKind.allCases) { counter("refused_addresses_total", [("kind", $0.rawValue)]) }
        fileBytes = counter("file_bytes_total")
        batches = each([true, false]) { counter("batches_total", [("outcome", $0 ? "succeeded" : "failed")]) }
    }

    func ended(_ result: Result<Void, any Error>, after duration: Duration) {
        seconds.recordNanoseconds(Int64(duration / .nanoseconds(1)))
        guard case .failure(let error) = result else {
            requests["succeeded"]?.increment()
            return
        }
        let failure = JobFailure(error)
        let isCancelled = failure.code == "cancelled"
        requests[isCancelled ? "cancelled" : failure.kind.name]?.increment()
        errors[Self.errorClass(failure, error)]?.increment()
    }

    /// Counts what has come on top since the last time, and sets the gauges.
    func note(
        _ statistics: CurlStatistics, _ load: (active: Int, waiting: Int), of connectionsMax: Int,
        _ states: [CircuitBreaker.State: Int]
    ) {
        let before = counted.withLock { counted in
            // Of two that come at once the later one counts.
            guard statistics.exchanges >= counted.exchanges else { return statistics }
            defer { counted = statistics }
            return counted
        }
        connections.increment(by: statistics.connectionsOpened - before.connectionsOpened)
        received.increment(by: statistics.bytesReceived - before.bytesReceived)
        sent.increment(by: statistics.bytesSent - before.bytesSent)
        active.set(load.active)
        waiting.set(load.waiting)
        utilisation.set(Double(load.active) / Double(connectionsMax))
        for (state, meter) in breakers { meter.set(states[state] ?? 0) }
    }

    func breakerOpened() { breakersOpened.increment() }
    func retryAfterHonoured() { retryAfters.increment() }
    func addressRefused(_ kind: AddressKind) { refusedAddresses[kind]?.increment() }
    func wroteFile(_ bytes: Int64) { fileBytes.increment(by: bytes) }
    func batchEnded(isSuccess: Bool) { batches[isSuccess]?.increment() }

    private static func errorClass(_ failure: JobFailure, _ error: any Error) -> ErrorClass {
        if error is LimitError { return .limit }
        switch failure.code {
        case "cancelled": return .cancelled
        case "api.circuit-open": return .circuit
        case "api.resolve": return .resolve
        case "api.connect": return .connect
        case "api.timeout": return .timeout
        case "api.tls": return .tls
        case "api.interrupted": return .interrupted
        case "api.address-refused": return .refused
        case "api.too-many-redirects": return .redirect
        case "api.response-too-large", "api.too-large": return .tooLarge
        case let code where code.hasPrefix("file."): return .file
        case let code where code.hasPrefix("api.4") || code.hasPrefix("api.5"):
            if case .throttled = failure.kind { return .throttled }
            return code.hasPrefix("api.4") ? .clientError : .serverError
        default: return .other
        }
    }
}
