import DevTools
import EgressProxy
import Synchronization

/// A page in a browser context of its own, lent to one job.
///
/// Cookies, storage, cache, permissions and downloads under way are its own and gone after it. Dialogs are answered and pop-ups
/// closed by the pool; both are counted here. Everything that the page connects to goes through a gate of its own.
public final class BrowserTab: Sendable {
    private struct State {
        var isCrashed = false
        var dialogAnswer = TabWish.Dialogs.accept
        var dialogCount = 0
        var dialogs: [TabDialog] = []
        var popupCount = 0
        var blockedCount = 0
        var observers: [EventSubscription] = []
    }

    /// Of the page. `Page` and `Fetch` are enabled; other domains are the job's to enable.
    public let session: DevToolsSession
    public let targetID: String
    public let contextID: String
    /// As the browser names itself to servers.
    public let userAgent: String
    /// Among the tabs of its pool.
    let number: Int
    let gate: EgressGate
    private let metrics: BrowserMetrics
    private let state = Mutex(State())

    static let dialogsMax = 100
    private static let dialogCharactersMax = 1_000

    /// What no page of a job may be, whoever asks for it. Scripts cannot go there by themselves: Chromium forbids it to what
    /// comes from the network. These are for what is asked for by the protocol.
    static let localSchemes = [
        "file", "filesystem", "chrome", "chrome-untrusted", "chrome-search", "devtools", "view-source",
        "chrome-extension",
    ]

    init(
        number: Int, session: DevToolsSession, targetID: String, contextID: String, userAgent: String, gate: EgressGate,
        metrics: BrowserMetrics
    ) {
        self.number = number
        self.session = session
        self.targetID = targetID
        self.contextID = contextID
        self.userAgent = userAgent
        self.gate = gate
        self.metrics = metrics
    }

    /// Of the browser, for events of downloads. Other jobs use the same: send nothing that is not for this tab's context.
    public var browser: DevToolsSession { session.connection.browser }

    /// Whether the page's process died. Commands fail as `crashed` then.
    public var isCrashed: Bool { state.withLock { $0.isCrashed } }

    /// What the tab has connected to, or could not.
    public var egress: EgressReport { gate.report }

    /// Dialogs that were answered.
    public var dialogCount: Int { state.withLock { $0.dialogCount } }
    /// The first hundred of them.
    public var dialogs: [TabDialog] { state.withLock { $0.dialogs } }

    /// Pages that this one opened, closed at once.
    public var popupCount: Int { state.withLock { $0.popupCount } }

    /// Requests to local schemes that were refused inside the browser.
    public var blockedCount: Int { state.withLock { $0.blockedCount } }

    /// Goes to an address; its scheme is `http`, `https` or `data`, or it is `about:blank`.
    ///
    /// - Returns: once the navigation is committed or has failed, not when the page is loaded.
    /// - Throws: ``BrowserPoolError/Reason/schemeRefused``, ``DevToolsError``.
    public func navigate(to url: String, referrer: String? = nil, within limit: Duration? = nil) async throws
        -> Page.Navigate.Answer
    {
        guard Self.isAllowed(url) else {
            metrics.blockedNavigation()
            throw BrowserPoolError(.schemeRefused, "jobs open addresses of http, https and data, and about:blank")
        }
        return try await session.send(Page.Navigate(url: url, referrer: referrer), within: limit)
    }

    /// By what the text begins with, and only when the browser cannot read that otherwise: it skips blanks and control
    /// characters around an address, and some within.
    static func isAllowed(_ url: String) -> Bool {
        guard url.unicodeScalars.allSatisfy({ $0.value > 0x20 || $0 == " " }), url.first != " " else { return false }
        let lower = url.prefix(12).lowercased()
        return ["http://", "https://", "data:"].contains { lower.hasPrefix($0) } || lower == "about:blank"
            || url.lowercased().hasPrefix("about:blank#")
    }

    // MARK: The pool's side

    /// Begins to answer and count what the page does by itself, and has it tell that.
    func settle(onCrash: @escaping @Sendable () -> Void) async throws(DevToolsError) {
        let observers = [
            session.observe([Page.JavaScriptDialogOpening.method]) { [weak self] in self?.answerDialog($0) },
            session.observe([Fetch.RequestPaused.method]) { [weak self] in self?.block($0) },
            session.observe([Inspector.TargetCrashed.method]) { [weak self] _ in
                self?.state.withLock { $0.isCrashed = true }
                onCrash()
            },
        ]
        state.withLock { $0.observers = observers }
        async let page = Self.result { () throws(DevToolsError) in try await self.session.send(Page.Enable()) }
        async let fetch = Self.result { () throws(DevToolsError) in
            try await self.session.send(
                Fetch.Enable(patterns: Self.localSchemes.map { Fetch.Enable.Pattern("\($0):*") }))
        }
        let results = await (page, fetch)
        _ = try results.0.get()
        _ = try results.1.get()
    }

    /// For `async let`, which does not keep the type of an error.
    private static func result<Value>(
        _ body: @Sendable () async throws(DevToolsError) -> Value
    ) async -> Result<Value, DevToolsError> {
        do throws(DevToolsError) { return .success(try await body()) } catch { return .failure(error) }
    }

    /// Makes it what a job wishes.
    func prepare(_ wish: TabWish) async throws(DevToolsError) {
        state.withLock { $0.dialogAnswer = wish.dialogs }
        guard case .into(let directory) = wish.downloads else { return }
        try await browser.send(
            Browser.SetDownloadBehavior(
                .allowAndName, browserContextId: contextID, downloadPath: directory, eventsEnabled: true))
    }

    func countPopup() {
        state.withLock { $0.popupCount += 1 }
        metrics.popup()
    }

    /// Nothing of it is answered any more, and its connections end.
    func retire() {
        let observers = state.withLock { state in
            defer { state.observers = [] }
            return state.observers
        }
        for observer in observers { observer.cancel() }
        gate.close()
    }

    private func answerDialog(_ event: DevToolsEventMessage) {
        // One that cannot be read must be answered nevertheless, or the page stands still.
        let opening = try? event.decode(Page.JavaScriptDialogOpening.self)
        let answer = state.withLock { state in
            state.dialogCount += 1
            if let opening, state.dialogs.count < Self.dialogsMax {
                state.dialogs.append(
                    TabDialog(
                        type: opening.type, message: String(opening.message.prefix(Self.dialogCharactersMax)),
                        url: opening.url))
            }
            return state.dialogAnswer
        }
        metrics.dialog()
        let isAccepted = answer == .accept || opening?.type == "beforeunload"
        session.post(Page.HandleJavaScriptDialog(accept: isAccepted, promptText: opening?.defaultPrompt))
    }

    private func block(_ event: DevToolsEventMessage) {
        guard let paused = try? event.decode(Fetch.RequestPaused.self) else { return }
        // `try?`: what cannot be read stays paused, and so blocked.
        state.withLock { $0.blockedCount += 1 }
        metrics.blockedNavigation()
        session.post(Fetch.FailRequest(requestId: paused.requestId, errorReason: "BlockedByClient"))
    }
}
