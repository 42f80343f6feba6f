import AddressPolicy
import CurlClient
import FleetModel
import Metrics
import RootedFiles

/// # APISubsystem
///
/// HTTP calls as jobs. It brings parameters and handlers; queues, claims and retries are the worker's.
///
/// ```
///  api.request.v1 ─┐              ┌─ HostGate       turns, in all and by host
///  api.batch.v1 ───┴▶ APICaller ──┼─ BreakerTable   hosts that fail are left alone
///                                 ├─ JobLimits      what the whole fleet may ask of a host
///                                 ├─ CurlMulti      one thread, pooled connections, AddressPolicy at each connect
///                                 └─ ResponseBody   into the result, or into a file by RootedFiles
///                      └─ status or error not as expected ──▶ JobFailure, by kind
/// ```
///
/// A worker holds one `APISubsystem`, and through it one pool of connections for all its calls.
public struct APISubsystem: Subsystem {
    private let caller: APICaller

    /// - Parameters:
    ///   - results: where bodies go that are too large for a result; such calls fail when nil.
    ///   - metrics: where the metrics are made.
    public init(
        _ settings: APISettings = APISettings(), results: ResultFiles? = nil,
        metrics factory: any MetricsFactory = MetricsSystem.factory
    ) {
        let metrics = APIMetrics(factory)
        var configuration = CurlConfiguration(
            maxConnections: settings.connections, maxConnectionsPerHost: settings.connectionsPerHost,
            maxInFlight: settings.connections)
        configuration.resolveGuard = CurlConfiguration.guarding(by: settings.addresses) { metrics.addressRefused($0) }
        caller = APICaller(
            curl: CurlMulti(configuration),
            gate: HostGate(calls: settings.connections, callsPerHost: settings.connectionsPerHost),
            breakers: BreakerTable(settings.breaker, hostsMax: settings.breakerHostsMax), settings: settings,
            results: results, metrics: metrics)
    }

    /// The kinds of job that this subsystem runs.
    public var definitions: [JobDefinition] { [request, batch] }

    /// What a person wants to know of it just now.
    public var status: APIStatus {
        let load = caller.gate.load
        return APIStatus(
            active: load.active, waiting: load.waiting, connectionsMax: caller.settings.connections,
            breakers: caller.breakers.statuses(atMost: APIStatus.breakersMax))
    }

    /// Hosts whose breakers are not closed.
    public var notices: [String] {
        status.breakers.filter { $0.state != CircuitBreaker.State.closed.rawValue }.map { breaker in
            "breaker of \(breaker.host) is \(breaker.state): \(breaker.failures) of \(breaker.calls) calls failed"
                + (breaker.pauseMilliseconds.map { ", none goes out for \($0) ms" } ?? "")
        }
    }

    /// Ends all calls and closes the connections.
    public func close() async { await caller.curl.close() }

    var request: JobDefinition {
        JobDefinition(
            RequestParameters.self, summary: "one HTTP call; its response is the output",
            timeout: .milliseconds(RequestParameters.timeoutMillisecondsMax + 5_000)
        ) { [caller] (parameters: RequestParameters, context: JobContext) -> RequestOutput in
            try await caller.call(
                parameters, key: context.idempotencyKey, inlineBytesMax: caller.settings.responseBytesMax, context)
        }
    }

    private var batch: JobDefinition {
        JobDefinition(
            BatchParameters.self, summary: "many HTTP calls, some at a time; the output tells how each ended",
            timeout: BatchParameters.timeout
        ) { [caller] (parameters: BatchParameters, context: JobContext) -> BatchOutput in
            try await BatchRun(parameters, caller, context).run()
        }
    }
}

/// How an ``APISubsystem`` stands.
public struct APIStatus: Codable, Sendable, Hashable {
    /// Calls that have a turn, and calls that wait for one.
    public let active: Int
    public let waiting: Int
    public let connectionsMax: Int
    /// Hosts with failures of late, or left alone, the worst first.
    public let breakers: [BreakerStatus]

    static let breakersMax = 100

    enum CodingKeys: String, CodingKey {
        case active, waiting, breakers
        case connectionsMax = "connections_max"
    }
}
