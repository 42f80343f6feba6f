internal import COpenSSL

/// Which authorities count, read once: what all handshakes share.
package final class TLSContext: Sendable {
    // OpenSSL counts references to a context with atomics, and nothing changes it after init.
    nonisolated(unsafe) private let raw: OpaquePointer

    /// - Parameter caFile: PEM file of the authorities to trust instead of the system's.
    package init(caFile: String? = nil) throws(NetworkError) {
        guard let raw = SSL_CTX_new(TLS_client_method()) else {
            throw NetworkError(.system, "OpenSSL: \(openSSLReason())")
        }
        self.raw = raw
        let isLoaded =
            if let caFile { SSL_CTX_load_verify_locations(raw, caFile, nil) } else {
                SSL_CTX_set_default_verify_paths(raw)
            }
        guard isLoaded == 1 else {
            throw NetworkError(
                .system, "the authorities in \(caFile ?? "the system's store") cannot be read: \(openSSLReason())")
        }
        // A bad certificate is what a probe is to report, not what ends it; the verdict is kept all the same.
        SSL_CTX_set_verify(raw, SSL_VERIFY_NONE, nil)
    }

    deinit { SSL_CTX_free(raw) }

    func withContext<Value>(_ body: (OpaquePointer) -> Value) -> Value { body(raw) }
}

/// The last error of this thread, in OpenSSL's words; the others are dropped.
func openSSLReason() -> String {
    let code = ERR_peek_error()
    ERR_clear_error()
    guard code != 0, let reason = ERR_reason_error_string(code) else { return "no reason given" }
    return String(cString: reason)
}
