import CurlClient
import FleetModel

/// # APISubsystem
///
/// HTTP calls as jobs. It brings parameters and a handler; queues, claims and retries are the worker's.
///
/// ```
///  api.request.v1 ──▶ RequestParameters ──▶ CurlMulti (one thread, pooled connections) ──▶ RequestOutput
///                                              └─ status or error not as expected ──▶ JobFailure, by kind
/// ```
///
/// A worker holds one `APISubsystem`, and through it one pool of connections for all its calls.
public struct APISubsystem: Subsystem {
    private let curl: CurlMulti
    private let responseBytesMax: Int

    /// - Parameters:
    ///   - connections: HTTP connections in all.
    ///   - connectionsPerHost: HTTP connections to one host.
    ///   - responseBytesMax: the largest response body kept in a result, in bytes after decoding.
    public init(connections: Int = 1_000, connectionsPerHost: Int = 256, responseBytesMax: Int = 256 << 10) {
        curl = CurlMulti(
            maxConnections: connections, maxConnectionsPerHost: connectionsPerHost, maxInFlight: connections)
        self.responseBytesMax = responseBytesMax
    }

    /// The kinds of job that this subsystem runs.
    public var definitions: [JobDefinition] { [request] }

    /// Ends all calls and closes the connections.
    public func close() async { await curl.close() }

    private var request: JobDefinition {
        JobDefinition(
            RequestParameters.self, summary: "one HTTP call; its response is the output",
            timeout: .milliseconds(RequestParameters.timeoutMillisecondsMax + 5_000)
        ) { [curl, responseBytesMax] (parameters: RequestParameters, context: JobContext) -> RequestOutput in
            try await parameters.perform(context, curl, responseBytesMax: responseBytesMax)
        }
    }
}
