import BrowserPool
import DevTools
import FleetModel

/// Makes a page what the job's options say, before it goes anywhere.
struct PageSetUp {
    private let page: OpenPage
    private let use: TabUse
    private let deadline: Deadline

    init(_ page: OpenPage, _ use: TabUse, _ deadline: Deadline) {
        self.page = page
        self.use = use
        self.deadline = deadline
    }

    /// - Returns: what adds the job's headers for as long as it is kept; nil when there are none.
    func apply() async throws -> HeaderGate? {
        let session = page.session
        // What is sent in order is done in order, so none of these has to be waited for.
        session.post(Page.SetLifecycleEventsEnabled(enabled: true))
        if use.countsRequests || use.hearsRetryAfter {
            session.post(Network.Enable(maxTotalBufferSize: 0, maxResourceBufferSize: 0))
        }
        if use.countsConsoleErrors {
            session.post(Runtime.Enable())
            session.post(Log.Enable())
        }
        try await applyLook()
        try await applyCookies()
        guard let headers = use.options.headers, !headers.isEmpty else { return nil }
        return try await HeaderGate.open(
            page.tab, headers, origins: Set(use.urls.compactMap(PageURL.origin)), deadline)
    }

    private func applyLook() async throws {
        let options = use.options
        if let viewport = options.viewport {
            try await page.send(
                Emulation.SetDeviceMetricsOverride(
                    width: viewport.width, height: viewport.height, deviceScaleFactor: viewport.scale ?? 1,
                    mobile: viewport.mobile ?? false), deadline)
            if viewport.mobile == true { try await page.send(SetTouchEmulation(), deadline) }
        }
        if options.userAgent != nil || options.locale != nil {
            try await page.send(
                Emulation.SetUserAgentOverride(
                    userAgent: options.userAgent ?? page.tab.userAgent, acceptLanguage: options.locale), deadline)
        }
        if let locale = options.locale {
            // As ICU writes it.
            let name = locale.split(separator: "-").joined(separator: "_")
            try await accepted("page.locale", locale) {
                try await page.send(Emulation.SetLocaleOverride(locale: name), deadline)
            }
        }
        if let timezone = options.timezone {
            try await accepted("page.timezone", timezone) {
                try await page.send(Emulation.SetTimezoneOverride(timezoneId: timezone), deadline)
            }
        }
    }

    private func applyCookies() async throws {
        guard let cookies = use.options.cookies, !cookies.isEmpty else { return }
        try await accepted("page.cookies", "one of them") {
            try await page.send(
                Network.SetCookies(
                    cookies: cookies.map { cookie in
                        var set = Network.SetCookies.Cookie(name: cookie.name, value: cookie.value)
                        (set.url, set.domain, set.path) = (cookie.url, cookie.domain, cookie.path)
                        (set.secure, set.httpOnly, set.sameSite) = (
                            cookie.secure, cookie.httpOnly, cookie.sameSite?.rawValue
                        )
                        return set
                    }), deadline)
        }
    }

    /// What only the browser can judge is a mistake in the parameters all the same.
    private func accepted(_ name: String, _ value: String, _ body: () async throws -> Void) async throws {
        do { try await body() } catch let error as DevToolsError {
            guard case .refused(_, let message) = error.reason else { throw error }
            throw JobFailure(
                .permanent, code: "browser.bad-option", message: "'\(name)': the browser refuses \(value): \(message)")
        }
    }
}

/// Adds headers to the requests for some origins, and to no others: a header may be a secret, and a page asks third parties
/// for pictures, or redirects to them.
///
/// It has a session of its own with the tab, since the pool stops requests by the tab's first session already.
final class HeaderGate: Sendable {
    private let subscription: EventSubscription

    /// Adds headers from now on until ``end()``.
    static func open(
        _ tab: BrowserTab, _ headers: [String: String], origins: Set<String>, _ deadline: Deadline
    ) async throws -> HeaderGate {
        let attach = Target.AttachToTarget(targetId: tab.targetID)
        let id = try await tab.browser.send(attach, within: try deadline.remaining()).sessionId
        let session = tab.session.connection.session(id)
        let gate = HeaderGate(session, headers, origins)
        // All requests, since a redirect takes along what was added to the request before it.
        let enable = Fetch.Enable(patterns: [Fetch.Enable.Pattern("*")])
        try await session.send(enable, within: try deadline.remaining())
        return gate
    }

    private init(_ session: DevToolsSession, _ headers: [String: String], _ origins: Set<String>) {
        subscription = session.observe([RequestStopped.method]) { message in
            // One that cannot be read cannot be let go either; it ends with its page.
            guard let stopped = try? message.decode(RequestStopped.self) else { return }
            session.post(
                ContinueRequest(
                    requestId: stopped.requestId, headers: Self.headers(of: stopped.request, headers, origins)))
        }
    }

    func end() { subscription.cancel() }

    static func headers(
        of request: RequestStopped.Request, _ added: [String: String], _ origins: Set<String>
    ) -> [ContinueRequest.Header] {
        let names = Set(added.keys.map { $0.lowercased() })
        var headers = request.headers.filter { !names.contains($0.key.lowercased()) }
        if let origin = PageURL.origin(request.url), origins.contains(origin) {
            headers.merge(added) { _, mine in mine }
        }
        return headers.map { ContinueRequest.Header(name: $0.key, value: $0.value) }.sorted { $0.name < $1.name }
    }
}
