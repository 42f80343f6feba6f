import DevTools
import EgressProxy

/// A page in a browser context of its own, lent to one job.
///
/// Cookies, storage, cache, permissions and downloads under way are its own and gone after it. Dialogs are answered and pop-ups
/// closed by the pool; both are counted here. Everything that the page connects to goes through a gate of its own.
public final class BrowserTab: Sendable {
    /// Of the page. `Page` is enabled; other domains are the job's to enable.
    public let session: DevToolsSession
    public let targetID: String
    public let contextID: String
    /// As the browser names itself to servers.
    public let userAgent: String

    init(session: DevToolsSession, targetID: String, contextID: String, userAgent: String) {
        self.session = session
        self.targetID = targetID
        self.contextID = contextID
        self.userAgent = userAgent
    }

    /// Of the browser, for events of downloads. Other jobs use the same: send nothing that is not for this tab's context.
    public var browser: DevToolsSession { session.connection.browser }

    /// Whether the page's process died. Commands fail as `crashed` then.
    public var isCrashed: Bool { fatalError() }

    /// Goes to an address; the scheme is `http`, `https`, `data` or `about:blank`.
    ///
    /// - Returns: once the navigation is committed or has failed, not when the page is loaded.
    /// - Throws: ``BrowserPoolError/Reason/schemeRefused``, ``DevToolsError``.
    public func navigate(to url: String, referrer: String? = nil, within limit: Duration? = nil) async throws
        -> Page.Navigate.Answer
    {
        fatalError()
    }

    /// What the tab has connected to, or could not.
    public var egress: EgressReport { fatalError() }

    /// Dialogs that were answered: how many, and the first hundred.
    public var dialogCount: Int { fatalError() }
    public var dialogs: [TabDialog] { fatalError() }

    /// Pages that this one opened, closed at once.
    public var popupCount: Int { fatalError() }
}
