/// The way of a request over its redirects, for a caller who has more to ask before each hop than this client does, and so
/// takes them one by one. The rules are those of ``CurlRequest/followRedirects``.
package struct RedirectTrail: Sendable {
    private let request: CurlRequest
    private let hop: Hop

    /// Before the first hop.
    package init(_ request: CurlRequest) throws(CurlError) {
        self.init(request, try Hop(request))
    }

    private init(_ request: CurlRequest, _ hop: Hop) {
        self.request = request
        self.hop = hop
    }

    /// Where the hop goes.
    package var url: CurlURL { hop.url }
    /// How many redirects led there.
    package var redirects: Int { hop.redirects }

    /// The hop as a request of its own, whose answer is the response whatever it is.
    package var step: CurlRequest {
        var step = request
        step.method = hop.method
        step.url = hop.url.text
        step.headers = hop.headers
        step.body = hop.body
        step.followRedirects = 0
        if hop.url.origin != hop.pin?.origin { step.connectAddress = nil }
        return step
    }

    /// The trail one hop on; nil when this answer is the response.
    ///
    /// - Throws: it leads to where the request may not go, or once too often.
    package func next(after head: CurlHead) throws(CurlError) -> RedirectTrail? {
        guard
            let next = try RedirectRules.next(after: hop, status: head.status, location: head.header("Location"))
        else { return nil }
        return RedirectTrail(request, next)
    }
}
