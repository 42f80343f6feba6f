import Glibc
import Hummingbird
import Logging
import NIOCore
import ServiceLifecycle
import Synchronization

/// An address on which HTTP is served, within bounds.
struct Listener {
    let address: HTTPAddress
    /// Connections open at once; more wait to be accepted.
    let connectionsMax: Int
    /// How long a connection may be silent between requests, and how long the head of one may take to arrive.
    let idleTimeout: Duration
    /// What is served, for the log.
    let name: String
    let logger: Logger

    /// Serves until it is told to stop.
    ///
    /// - Parameters:
    ///   - onReady: told the address as soon as it listens.
    ///   - onShutdown: called when a graceful shutdown begins.
    /// - Throws: ``HTTPListenError`` when it could not begin to listen.
    func serve<Responder: HTTPResponder>(
        _ responder: Responder, onReady: @escaping @Sendable (HTTPAddress) -> Void,
        onShutdown: @escaping @Sendable () -> Void = {}
    ) async throws where Responder.Context: InitializableFromSource<ApplicationRequestContextSource> {
        // The server's own words at the start and at each broken connection are no news.
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .error)
        let limits = HTTPConfiguration.self
        let isListening = Flag()
        let application = Application(
            responder: responder,
            server: .http1(
                configuration: .init(
                    idleTimeout: .seconds(idleTimeout.components.seconds),
                    httpDecoderConfiguration: .init(
                        maxHeaderFieldSize: limits.headerBytesMax, maxHeaderListSize: limits.headerBytesMax,
                        maxHeaderFieldCount: limits.headersMax))),
            configuration: ApplicationConfiguration(
                address: .hostname(address.host, port: address.port), backlog: limits.backlog,
                availableConnectionsDelegate: .maximum(connectionsMax, logger: quiet)),
            onServerRunning: { channel in
                // A server that listens always has its port; the one that was asked for may be 0.
                let bound = HTTPAddress(host: address.host, port: channel.localAddress?.port ?? address.port)
                isListening.raise()
                logger.info("\(name) listens on \(bound)")
                onReady(bound)
            }, logger: quiet)
        do {
            try await withGracefulShutdownHandler {
                try await application.run()
            } onGracefulShutdown: {
                onShutdown()
            }
        } catch  where !isListening.isRaised && !(error is CancellationError) {
            let isTaken = (error as? IOError)?.errnoCode == EADDRINUSE
            throw HTTPListenError(address: address, isTaken: isTaken, reason: "\(error)")
        }
    }

    /// Whether it has come to listen.
    private final class Flag: Sendable {
        private let state = Mutex(false)
        var isRaised: Bool { state.withLock { $0 } }
        func raise() { state.withLock { $0 = true } }
    }
}
