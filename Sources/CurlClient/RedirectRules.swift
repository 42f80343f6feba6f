internal import AddressPolicy

/// Where a 3xx answer leads (RFC 9110, 15.4): pure, so that every rule is tested without a server.
enum RedirectRules {
    /// The next hop, or `nil` when this answer is the response: no redirect, or one without a place to go.
    static func next(after hop: Hop, status: Int, location: String?) throws(CurlError) -> Hop? {
        guard [301, 302, 303, 307, 308].contains(status), let location, !location.isEmpty else { return nil }
        guard hop.redirectsLeft > 0 else {
            // Asked for none: the 3xx itself is the answer. Asked for some and they ran out: a loop, as a rule.
            guard hop.redirects > 0 else { return nil }
            throw CurlError(.tooManyRedirects, "still redirected after \(hop.redirects) redirects")
        }
        let url = try hop.url.redirected(to: location, rules: hop.rules)
        var next = hop
        next.url = url
        next.redirects += 1
        next.redirectsLeft -= 1
        if becomesGet(hop.method, status) {
            next.method = "GET"
            next.body = nil
            next.headers.removeAll { HeaderRules.describesBody($0.name) }
        }
        if url.origin != hop.url.origin {
            next.headers.removeAll { HeaderRules.staysWithOrigin($0.name) }
        }
        return next
    }

    /// 303 says: look there. 301 and 302 say: repeat it there; but for POST every client since the first has looked instead.
    private static func becomesGet(_ method: String, _ status: Int) -> Bool {
        switch status {
        case 303: method != "GET" && method != "HEAD"
        case 301, 302: method == "POST"
        default: false
        }
    }
}

/// One request on the wire: what a redirect changes.
struct Hop: Sendable {
    var method: String
    var url: CurlURL
    var headers: [(name: String, value: String)]
    var body: [UInt8]?
    var redirects: Int
    var redirectsLeft: Int
    let rules: CurlURL.Rules
    /// Where to connect to, for this origin.
    let pin: (origin: String, address: IPAddress)?

    /// Whether the hop's host has to be looked up.
    var needsLookup: Bool { url.needsLookup && url.origin != pin?.origin }

    var isRepeatable: Bool { HeaderRules.isRepeatable(method: method, headers: headers) }

    /// Checks everything about a request that can be checked without sending it.
    init(_ request: CurlRequest) throws(CurlError) {
        try HeaderRules.check(method: request.method)
        try HeaderRules.check(headers: request.headers)
        guard request.method != "HEAD" || request.body?.isEmpty ?? true else {
            throw CurlError(.badRequest, "HEAD has no body")
        }
        guard request.timeout > .zero, request.connectTimeout > .zero else {
            throw CurlError(.badRequest, "timeouts must be above zero")
        }
        guard request.idleTimeout ?? request.timeout > .zero else {
            throw CurlError(.badRequest, "timeouts must be above zero")
        }
        guard request.receiveWindow > 0, request.maxResponseBytes >= 0, request.followRedirects >= 0 else {
            throw CurlError(.badRequest, "limits must not be negative")
        }
        rules = CurlURL.Rules(protocols: request.allowedProtocols, credentials: request.allowCredentialsInURL)
        url = try CurlURL(request.url, rules: rules)
        if let text = request.connectAddress {
            guard let address = IPAddress(text) else {
                throw CurlError(.badRequest, "the address to connect to is no literal one")
            }
            pin = (url.origin, address)
        } else {
            pin = nil
        }
        method = request.method
        headers = request.headers
        body = request.body
        redirects = 0
        redirectsLeft = min(request.followRedirects, CurlRequest.maxRedirects)
    }
}
