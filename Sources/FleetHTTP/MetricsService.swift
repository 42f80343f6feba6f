import FleetObservability
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import ServiceLifecycle

/// Serves a process's metrics at `GET /metrics`, in Prometheus' text format. It asks for no token: bind it to an address
/// that only the monitoring reaches.
public final class MetricsService: Service {
    private let listener: Listener
    private let registry: MetricsRegistry
    private let onReady: @Sendable (HTTPAddress) -> Void

    /// Scrapers that may be connected at once.
    static let connectionsMax = 16

    /// - Parameter onReady: told the address as soon as it listens.
    public init(
        _ address: HTTPAddress, _ registry: MetricsRegistry, logger: Logger,
        onReady: @escaping @Sendable (HTTPAddress) -> Void = { _ in }
    ) {
        listener = Listener(
            address: address, connectionsMax: Self.connectionsMax, idleTimeout: .seconds(120), name: "metrics",
            logger: logger)
        self.registry = registry
        self.onReady = onReady
    }

    /// - Throws: ``HTTPListenError``
    public func run() async throws {
        let router = Router()
        router.get("metrics") { [registry] _, _ in
            Response(
                status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: registry.exposition())))
        }
        try await listener.serve(router.buildResponder(), onReady: onReady)
    }
}
