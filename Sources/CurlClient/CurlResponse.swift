internal import CCurl
internal import Glibc

/// What the last hop answered. Any status is a response; only the lack of one is an error.
public struct CurlResponse: Sendable {
    public var status: Int
    /// As received, in order, repeated names kept apart; trailers at the end. Bytes that are no UTF-8 are replaced.
    public var headers: [(String, String)]
    /// Decoded.
    public var body: [UInt8]
    /// The URL that gave this answer, without credentials: after redirects not the one asked for.
    public var finalURL: String
    public var timing: CurlTiming
    /// Whether the last hop went over a connection of an earlier transfer.
    public var connectionReused: Bool
    /// Address and port of the last hop's server, such as `192.0.2.1:443` or `[2001:db8::1]:443`.
    public var remoteAddress: String
    /// Redirects followed.
    public var redirects: Int

    public init(
        status: Int, headers: [(String, String)] = [], body: [UInt8] = [], finalURL: String = "",
        timing: CurlTiming = CurlTiming(),
        connectionReused: Bool = false, remoteAddress: String = "", redirects: Int = 0
    ) {
        self.status = status
        self.headers = headers
        self.body = body
        self.finalURL = finalURL
        self.timing = timing
        self.connectionReused = connectionReused
        self.remoteAddress = remoteAddress
        self.redirects = redirects
    }

    /// The first value under that name, whatever its case.
    public func header(_ name: String) -> String? {
        headers.first { equalIgnoringCase($0.0, name) }?.1
    }

    /// Every value under that name, in order.
    public func headers(_ name: String) -> [String] {
        headers.lazy.filter { equalIgnoringCase($0.0, name) }.map { $0.1 }
    }

    /// How long the server asks to be left alone (`Retry-After`): seconds, or a date, measured from the response's own `Date`
    /// where there is one, so that clocks need not agree. A date past is zero; absent or malformed is `nil`.
    public var retryAfter: Duration? {
        guard let value = header("Retry-After") else { return nil }
        return Self.retryAfter(value, responseDate: header("Date"))
    }

    /// A `Retry-After` longer than this is taken as this.
    public static let maxRetryAfter: Duration = .seconds(7 * 24 * 3600)

    /// The meaning of a `Retry-After` value; `responseDate` is the `Date` header that came with it, else this machine's clock is
    /// used.
    public static func retryAfter(_ value: String, responseDate: String? = nil) -> Duration? {
        let text = trimmed(value)
        if !text.isEmpty, text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) {
            // More digits than an Int holds are longer than the bound in any case.
            guard let seconds = Int64(text) else { return maxRetryAfter }
            return min(.seconds(seconds), maxRetryAfter)
        }
        guard let until = unixSeconds(httpDate: text) else { return nil }
        let now = responseDate.flatMap { unixSeconds(httpDate: trimmed($0)) } ?? Int64(time(nil))
        return until <= now ? .zero : min(.seconds(until - now), maxRetryAfter)
    }

    /// A date of HTTP in seconds since 1970; nil when it is none of the three forms of RFC 9110, 5.6.7. libcurl's parser takes
    /// far more, hence the checks in front of it.
    public static func unixSeconds(httpDate text: String) -> Int64? {
        let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
        guard text.utf8.count <= 40, days.contains(where: text.hasPrefix), text.utf8.contains(UInt8(ascii: ":")) else {
            return nil
        }
        let seconds = curl_getdate(text, nil)
        return seconds < 0 ? nil : Int64(seconds)
    }
}

/// Times of one request. All but `queued` and `total` are of the last hop, each counted from that hop's start, so
/// `firstByte - tls` is what the server took to think. Zero where a stage did not happen, as on a reused connection.
public struct CurlTiming: Sendable, Hashable {
    /// From `perform` to the first hop's start: waiting for a turn.
    public var queued: Duration = .zero
    public var nameLookup: Duration = .zero
    public var connect: Duration = .zero
    public var tls: Duration = .zero
    public var firstByte: Duration = .zero
    /// From `perform` to the end, all hops.
    public var total: Duration = .zero

    public init() {}
}
