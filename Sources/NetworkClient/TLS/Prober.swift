/// Connects, and shakes hands, to learn how long it takes and who is there.
public struct Prober: Sendable {
    private let readiness: Readiness
    private let context: TLSContext

    package init(_ readiness: Readiness, _ context: TLSContext) {
        self.readiness = readiness
        self.context = context
    }

    /// What a probe learned.
    public struct Report: Sendable {
        public let endpoint: Endpoint
        /// From the first packet to the connection.
        public let connect: Duration
        /// Nil when no handshake was asked for.
        public let tls: Result<TLSReport, NetworkError>?
    }

    /// Connects to an endpoint, and shakes hands when a server name is given.
    ///
    /// - Throws: when there is no connection; a handshake that fails is part of the report.
    public func probe(_ endpoint: Endpoint, serverName: String?, until deadline: ContinuousClock.Instant)
        async throws(NetworkError) -> Report
    {
        let begin = ContinuousClock.now
        let stream = SocketStream(try Socket(.stream, to: endpoint), readiness, until: deadline)
        let connect = try await stream.connected() - begin
        guard let serverName else { return Report(endpoint: endpoint, connect: connect, tls: nil) }
        do throws(NetworkError) {
            let report = try await TLSHandshake.prepared(context, serverName: serverName).run(over: stream)
            return Report(endpoint: endpoint, connect: connect, tls: .success(report))
        } catch {
            if error.kind == .cancelled || error.kind == .closed { throw error }
            return Report(endpoint: endpoint, connect: connect, tls: .failure(error))
        }
    }
}
