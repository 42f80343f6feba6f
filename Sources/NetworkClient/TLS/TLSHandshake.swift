internal import COpenSSL

/// What a TLS server showed of itself.
public struct TLSReport: Sendable {
    /// `TLSv1.3` or `TLSv1.2`.
    public let version: String
    public let cipher: String
    /// From the first byte sent to the end of the handshake.
    public let duration: Duration
    /// Why the certificate does not prove the name that was asked for; nil when it does.
    public let flaw: String?
    public let certificate: PeerCertificate?
    /// Certificates that the server sent.
    public let chainLength: Int
}

/// A TLS session of a client that only shakes hands. OpenSSL sees memory, never the socket: so nothing blocks, nothing raises
/// SIGPIPE, and what the other side sends is bounded.
struct TLSHandshake: ~Copyable {
    private let session: OpaquePointer
    /// Owned by the session.
    private let incoming: OpaquePointer
    private let outgoing: OpaquePointer

    /// Bytes that a server may send for its handshake: chains of a few KiB are usual.
    static let incomingBytesMax = 256 << 10

    private init(session: OpaquePointer, incoming: OpaquePointer, outgoing: OpaquePointer) {
        self.session = session
        self.incoming = incoming
        self.outgoing = outgoing
        SSL_set_bio(session, incoming, outgoing)
    }

    /// - Parameter serverName: asked for (SNI) and looked for in the certificate; an address is only looked for.
    static func prepared(_ context: TLSContext, serverName: String) throws(NetworkError) -> TLSHandshake {
        guard let session = context.withContext({ SSL_new($0) }), let incoming = BIO_new(BIO_s_mem()),
            let outgoing = BIO_new(BIO_s_mem())
        else { throw NetworkError(.system, "OpenSSL: \(openSSLReason())") }
        let handshake = TLSHandshake(session: session, incoming: incoming, outgoing: outgoing)
        let isSet =
            if Endpoint(address: serverName, port: 0) != nil {
                X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), serverName) == 1
            } else {
                cossl_set_server_name(session, serverName) == 1 && SSL_set1_host(session, serverName) == 1
            }
        guard isSet else { throw NetworkError(.badName, "'\(serverName)' is no name that a certificate can have") }
        return handshake
    }

    deinit { SSL_free(session) }

    /// Shakes hands over a connection.
    func run(over stream: SocketStream) async throws(NetworkError) -> TLSReport {
        let begin = ContinuousClock.now
        var end = begin
        var received = 0
        while true {
            ERR_clear_error()
            let result = SSL_connect(session)
            let state = SSL_get_error(session, result)
            let reason = result == 1 || state == SSL_ERROR_WANT_READ ? "" : openSSLReason()
            // Also after a failure: an alert tells the other side why.
            try await flush(to: stream)
            if result == 1 { break }
            guard state == SSL_ERROR_WANT_READ else {
                throw NetworkError(.handshake, "\(stream.socket.peer): no TLS handshake: \(reason)")
            }
            let (bytes, instant) = try await stream.receive(atMost: 16 << 10)
            received += bytes.count
            guard !bytes.isEmpty else {
                throw NetworkError(.handshake, "\(stream.socket.peer): the connection ended during the TLS handshake")
            }
            guard received <= Self.incomingBytesMax else {
                throw NetworkError(
                    .handshake, "\(stream.socket.peer): more than \(Self.incomingBytesMax) bytes for a TLS handshake")
            }
            guard BIO_write(incoming, bytes, Int32(bytes.count)) == Int32(bytes.count) else {
                throw NetworkError(.system, "OpenSSL: \(openSSLReason())")
            }
            end = instant
        }
        return report(end - begin)
    }

    private func flush(to stream: SocketStream) async throws(NetworkError) {
        let count = cossl_pending(outgoing)
        guard count > 0 else { return }
        var bytes = [UInt8](repeating: 0, count: count)
        _ = BIO_read(outgoing, &bytes, Int32(count))
        try await stream.send(bytes)
    }

    private func report(_ duration: Duration) -> TLSReport {
        let verdict = SSL_get_verify_result(session)
        let raw = SSL_get1_peer_certificate(session)
        defer { X509_free(raw) }
        return TLSReport(
            version: String(cString: SSL_get_version(session)),
            cipher: SSL_CIPHER_get_name(SSL_get_current_cipher(session)).map { String(cString: $0) } ?? "",
            duration: duration,
            flaw: verdict == Int(X509_V_OK) && raw != nil
                ? nil : raw == nil ? "no certificate" : String(cString: X509_verify_cert_error_string(verdict)),
            certificate: raw.map { PeerCertificate($0) },
            chainLength: Int(SSL_get_peer_cert_chain(session).map { OPENSSL_sk_num($0) } ?? 0))
    }
}
