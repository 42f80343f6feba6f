internal import CCurl

/// libcurl as loaded into this process.
enum CurlLibrary {
    /// libcurl's global state, made once and kept: it is not undone, as other users of libcurl in the process may lean on it.
    private static let isReady: Bool = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    static func start() throws(CurlError) {
        guard isReady else {
            throw CurlError(.interrupted, "libcurl did not initialise: its TLS library is missing or broken")
        }
    }

    static var version: String { String(cString: curl_version_info(CURLVERSION_FIRST).pointee.version) }

    /// What a code means, with whatever libcurl noted about this case put in front of the general sentence.
    static func error(_ code: CURLcode, detail: String, origin: String, mayHaveBeenSent: Bool) -> CurlError {
        let text = detail.isEmpty ? String(cString: curl_easy_strerror(code)) : detail
        return CurlError(kind(code), code: Int(code.rawValue), mayHaveBeenSent: mayHaveBeenSent, "\(origin): \(text)")
    }

    private static func kind(_ code: CURLcode) -> CurlError.Kind {
        switch code {
        case CURLE_UNSUPPORTED_PROTOCOL: .protocolNotAllowed
        case CURLE_URL_MALFORMAT: .badURL
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY: .resolve
        case CURLE_COULDNT_CONNECT: .connect
        case CURLE_OPERATION_TIMEDOUT: .timeout
        case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER,
            CURLE_SSL_CACERT_BADFILE,
            CURLE_SSL_SHUTDOWN_FAILED, CURLE_SSL_CRL_BADFILE, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_ENGINE_NOTFOUND,
            CURLE_SSL_ENGINE_SETFAILED,
            CURLE_SSL_ENGINE_INITFAILED, CURLE_SSL_PINNEDPUBKEYNOTMATCH, CURLE_SSL_INVALIDCERTSTATUS,
            CURLE_USE_SSL_FAILED, CURLE_SSL_CLIENTCERT:
            .tls
        case CURLE_FILESIZE_EXCEEDED: .tooLarge
        default: .interrupted
        }
    }
}

/// Nanoseconds of the monotonic clock.
package typealias Nanoseconds = Int64

extension Duration {
    /// Clamped to what `CurlRequest.maxTimeout` allows, so that adding it to a clock cannot overflow.
    var nanosecondsClamped: Nanoseconds {
        let (seconds, attoseconds) = min(max(self, .zero), CurlRequest.maxTimeout).components
        return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    }
}
