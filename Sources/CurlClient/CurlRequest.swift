/// One HTTP request and the limits its answer has to keep.
public struct CurlRequest: Sendable {
    /// A token as in RFC 9110, sent as it is written (methods are case-sensitive). `CONNECT` is refused.
    public var method: String
    /// Absolute, `http` or `https`.
    public var url: String
    /// Sent in this order. Refused as ``CurlError/Kind/badRequest``: a name that is no token, a value with CR, LF or NUL, and
    /// the headers that belong to the framing (`Transfer-Encoding`, `Content-Length`, `Expect`, `Upgrade`, `Trailer`, `TE`).
    public var headers: [(name: String, value: String)]
    /// Sent with its length. `nil` and empty differ only for methods that have a body by nature: those send a length of 0.
    public var body: [UInt8]?
    /// For everything from `perform` on: waiting for a turn, resolving, connecting, every hop, the whole body.
    public var timeout: Duration
    /// For resolving, connecting and the TLS handshake of each hop; never more than what `timeout` leaves.
    public var connectTimeout: Duration
    /// The longest that nothing at all comes in once the request has its turn, sending it and waiting for the first byte among
    /// it; longer ends it with ``CurlError/Kind/timeout``. For long downloads, whose `timeout` says little; `nil` leaves it to
    /// that.
    public var idleTimeout: Duration?
    /// Bytes of body after decoding. One more byte ends the transfer with ``CurlError/Kind/tooLarge``.
    public var maxResponseBytes: Int
    /// Bytes that gather for a receiver that is behind, in `perform(_:receiving:)`, before nothing more is read from the
    /// connection; up to 80 KiB may come on top, and within libcurl what one read decodes to: at most 4 MiB.
    public var receiveWindow: Int
    /// How many redirects are followed; with 0 the 3xx answer itself is the response.
    public var followRedirects: Int
    /// Narrower than both only: nothing but HTTP is ever spoken.
    public var allowedProtocols: CurlProtocols
    /// Offers gzip and deflate and decodes them. Any other coding in an answer is refused rather than decoded, as codings with
    /// large windows cost memory that no limit here sees.
    public var acceptEncoding: Bool
    /// Whether `https://user:password@host/` is accepted, here and in redirects.
    public var allowCredentialsInURL: Bool
    public var tls: CurlTLSOptions
    /// A literal address to connect to in place of asking for the URL's host, for a caller that has asked already. Holds for
    /// hops to the URL's own host and port; the guard sees it like any other.
    public var connectAddress: String?

    public init(
        method: String = "GET", url: String, headers: [(name: String, value: String)] = [], body: [UInt8]? = nil,
        timeout: Duration = CurlRequest.defaultTimeout, connectTimeout: Duration = CurlRequest.defaultConnectTimeout,
        idleTimeout: Duration? = nil,
        maxResponseBytes: Int = CurlRequest.defaultMaxResponseBytes,
        receiveWindow: Int = CurlRequest.defaultReceiveWindow, followRedirects: Int = 0,
        allowedProtocols: CurlProtocols = [.http, .https], acceptEncoding: Bool = true,
        allowCredentialsInURL: Bool = false,
        tls: CurlTLSOptions = CurlTLSOptions(), connectAddress: String? = nil
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.timeout = timeout
        self.connectTimeout = connectTimeout
        self.idleTimeout = idleTimeout
        self.maxResponseBytes = maxResponseBytes
        self.receiveWindow = receiveWindow
        self.followRedirects = followRedirects
        self.allowedProtocols = allowedProtocols
        self.acceptEncoding = acceptEncoding
        self.allowCredentialsInURL = allowCredentialsInURL
        self.tls = tls
        self.connectAddress = connectAddress
    }

    public static let defaultTimeout: Duration = .seconds(30)
    public static let defaultConnectTimeout: Duration = .seconds(5)
    public static let defaultMaxResponseBytes = 8 << 20
    public static let defaultReceiveWindow = 256 << 10

    /// Longer times are taken as this: a transfer without end is a leak.
    public static let maxTimeout: Duration = .seconds(24 * 3600)
    /// More redirects than this are not followed whatever the request says.
    public static let maxRedirects = 20
    public static let maxHeaders = 256
    /// Names and values of all headers together.
    public static let maxHeaderBytes = 64 << 10
    public static let maxURLBytes = 16 << 10

    /// Whether sending it a second time is harmless: an idempotent method (RFC 9110, 9.2.2), or an `Idempotency-Key`.
    ///
    /// A pooled connection may turn out to be closed just as a request is written to it. Nobody can tell whether the server
    /// still read it, so only repeatable requests are then sent again; others end with ``CurlError/Kind/interrupted``.
    public var isRepeatable: Bool { HeaderRules.isRepeatable(method: method, headers: headers) }
}

/// The protocols that a request and its redirects may use.
public struct CurlProtocols: OptionSet, Sendable, Hashable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let http = CurlProtocols(rawValue: 1)
    public static let https = CurlProtocols(rawValue: 2)
}

/// How the other side of an `https` connection proves who it is. TLS 1.2 is the least that is spoken.
public struct CurlTLSOptions: Sendable, Hashable {
    /// PEM file of the authorities to trust *instead of* the system's.
    public var caFile: String?
    /// Off only against a server of your own on a network of your own.
    public var verify: Bool

    public init(caFile: String? = nil, verify: Bool = true) {
        self.caFile = caFile
        self.verify = verify
    }
}
