/// An HTTP client: a pool of connections and the one thread that serves them. A process needs one, or one per set of rules.
///
/// Whoever makes one closes it; see ``close()``.
public final class CurlMulti: Sendable {
    private let shared: Shared
    private let onMisuse: @Sendable (String) -> Void

    public convenience init(
        maxConnections: Int, maxConnectionsPerHost: Int, maxInFlight: Int,
        resolveGuard: (@Sendable (CurlAddress) -> Bool)? = nil
    ) {
        self.init(
            CurlConfiguration(
                maxConnections: maxConnections, maxConnectionsPerHost: maxConnectionsPerHost, maxInFlight: maxInFlight,
                resolveGuard: resolveGuard))
    }

    /// Starts the thread. If the system refuses it, or a descriptor, every `perform` throws what it said.
    ///
    /// - Precondition: every limit is above zero, and the user agent could be a header value.
    public init(_ configuration: CurlConfiguration = CurlConfiguration()) {
        precondition(
            min(
                configuration.maxConnections, configuration.maxConnectionsPerHost, configuration.maxInFlight,
                configuration.maxWaiting) > 0
                && configuration.maxResponseHeaderBytes > 0 && configuration.idleConnectionTimeout > .zero,
            "a limit of zero lets nothing through")
        precondition(
            configuration.userAgent.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f },
            "a user agent has no control characters")
        onMisuse = configuration.onMisuse
        let (maxOutstanding, isTooMany) = min(configuration.maxInFlight, configuration.maxConnections)
            .addingReportingOverflow(configuration.maxWaiting)
        precondition(!isTooMany, "a limit beyond all numbers is none")
        shared = Shared(maxOutstanding: maxOutstanding)
        shared.startThread(configuration)
    }

    deinit {
        guard shared.abandon() else { return }
        onMisuse("a CurlMulti was let go without close(); its thread ends by itself, its connections with it")
    }

    /// Sends a request and returns what came back, whatever its status.
    ///
    /// Waits for its turn if as many run as may. Takes as long as `request.timeout` at most, and ends at once when the task is
    /// cancelled: the transfer is taken out and its connection closed, so that the server learns of it too.
    public func perform(_ request: CurlRequest) async throws(CurlError) -> CurlResponse {
        let hop = try Hop(request)
        guard !Task.isCancelled else {
            throw CurlError(.cancelled, "\(hop.url.origin): the task was cancelled before the request")
        }
        let id = shared.nextID()
        let shared = self.shared
        let result: Result<CurlResponse, CurlError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if let refusal = shared.ask(
                    .init(
                        id: id, request: request, hop: hop, acceptedAt: monotonicNow(), answer: .whole(continuation)))
                {
                    continuation.resume(returning: .failure(refusal))
                }
                // The handler may have run just before there was anything to cancel.
                if Task.isCancelled { shared.cancel(id) }
            }
        } onCancel: {
            shared.cancel(id)
        }
        return try result.get()
    }

    /// Sends a request and hands what comes back to `receiving` as it comes: the head, then the body in pieces, one call after
    /// the other. Redirects are followed first: what is handed over is of the last hop alone.
    ///
    /// While `receiving` works on a piece the next ones gather, up to ``CurlRequest/receiveWindow``; then nothing more is read
    /// from the connection, so that a slow receiver slows the sender and memory stays bounded. Its time counts for
    /// ``CurlRequest/timeout``, not for ``CurlRequest/idleTimeout``.
    ///
    /// What came before the transfer broke is handed over before the error is thrown, so that a download can go on from there.
    ///
    /// - Returns: the response with an empty body.
    /// - Throws: ``CurlError``, or what `receiving` threw, which ends the transfer. Nothing of it is left by then.
    public func perform(
        _ request: CurlRequest, receiving: @Sendable (CurlPiece) async throws -> Void
    ) async throws -> CurlResponse {
        let hop = try Hop(request)
        guard !Task.isCancelled else {
            throw CurlError(.cancelled, "\(hop.url.origin): the task was cancelled before the request")
        }
        let id = shared.nextID()
        let shared = self.shared
        let stream = BodyStream(window: request.receiveWindow) { shared.resume(id) }
        return try await withTaskCancellationHandler {
            let refusal = shared.ask(
                .init(id: id, request: request, hop: hop, acceptedAt: monotonicNow(), answer: .pieces(stream)))
            if let refusal { throw refusal }
            // The handler may have run just before there was anything to cancel.
            if Task.isCancelled { shared.cancel(id) }
            while true {
                switch await stream.next() {
                case .end(let result): return try result.get()
                case .piece(let piece):
                    do { try await receiving(piece) } catch {
                        shared.cancel(id)
                        while case .piece = await stream.next() {}
                        throw error
                    }
                }
            }
        } onCancel: {
            shared.cancel(id)
        }
    }

    /// Ends everything in flight with ``CurlError/Kind/closed``, closes all connections and waits for the thread to end. Later
    /// requests are refused the same way. Closing twice is harmless.
    public func close() async {
        await shared.close()
    }

    /// Requests accepted and not yet answered, waiting ones among them.
    public var outstanding: Int { shared.outstanding }

    /// What this client has done so far, as of its last answer.
    public var statistics: CurlStatistics { shared.statistics }
}
