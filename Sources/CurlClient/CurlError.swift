/// Why there is no response.
///
/// `description` is fit for logs: it names the server at most, never a path, a query, a header value or a body.
public struct CurlError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Kind: Sendable, Hashable, CaseIterable {
        /// The name has no address, or nobody could be asked for it.
        case resolve
        /// Nobody listens there, or the way is barred.
        case connect
        /// ``CurlRequest/timeout`` or ``CurlRequest/connectTimeout`` ran out; the message says during what.
        case timeout
        /// The handshake failed, or the certificate did not prove what it should.
        case tls
        /// Body or headers went past their limit.
        case tooLarge
        /// The URL, or a redirect's, is of a protocol that the request does not allow.
        case protocolNotAllowed
        /// The URL, or a redirect's, cannot be read or holds credentials unasked.
        case badURL
        /// Method or headers that must not be sent.
        case badRequest
        /// Every resolved address was denied by the guard.
        case addressRefused
        /// More redirects than ``CurlRequest/followRedirects``.
        case tooManyRedirects
        /// Too many requests wait already (``CurlConfiguration/maxWaiting``).
        case overloaded
        /// The task was cancelled.
        case cancelled
        /// ``CurlMulti/close()`` came before or during the request.
        case closed
        /// The connection or the answer broke: the request may or may not have been acted upon.
        case interrupted
    }

    public var kind: Kind
    /// libcurl's own code, 0 where the refusal was not libcurl's.
    public var code: Int
    public var message: String
    /// Whether some server may have read the request, or an earlier hop of it. `false` is certain: repeating is then safe for
    /// any method.
    public var mayHaveBeenSent: Bool

    public init(_ kind: Kind, code: Int = 0, mayHaveBeenSent: Bool = false, _ message: String) {
        self.kind = kind
        self.code = code
        self.mayHaveBeenSent = mayHaveBeenSent
        self.message = message
    }

    public var description: String {
        code == 0 ? "\(kind): \(message)" : "\(kind): \(message) (curl \(code))"
    }

    /// Whether the same request may do better later. What the request itself got wrong never does.
    public var isTransient: Bool {
        switch kind {
        case .resolve, .connect, .timeout, .overloaded, .interrupted: true
        case .tls, .tooLarge, .protocolNotAllowed, .badURL, .badRequest, .addressRefused, .tooManyRedirects, .cancelled,
            .closed:
            false
        }
    }
}
