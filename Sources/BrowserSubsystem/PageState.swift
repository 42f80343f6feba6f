/// Where a page stands, folded from what the browser tells.
///
/// ```
///  empty ──frameNavigated──▶ document ──DOMContentLoaded──▶ ──load──▶ ──no request for 500 ms──▶ quiet
///    ▲                          │  ▲
///    │                          │  └── frameNavigated: the next document, nothing reached yet
///    └── isNavigating: a navigation has been asked for, and neither came nor failed
/// ```
struct PageState: Sendable {
    /// How far the current document has come.
    struct Progress: OptionSet, Sendable, Hashable {
        let rawValue: Int
        static let content = Progress(rawValue: 1)
        static let load = Progress(rawValue: 2)
    }

    let mainFrame: String
    /// Of the main frame's document; nil before the first.
    private(set) var loader: String?
    private(set) var progress: Progress = []
    /// Rises with each document of the main frame.
    private(set) var documents = 0
    private(set) var isNavigating = false
    /// Where the main frame wanted to go, when an error page of the browser's stands there instead.
    private(set) var unreachable: String?
    /// How long the server of the main frame's document asked to be left alone, as far as the browser was asked to tell.
    private(set) var retryAfter: Duration?
    /// Since when no request has been under way.
    private(set) var quietSince: ContinuousClock.Instant?
    private(set) var consoleErrors: ConsoleErrors?
    /// Links clicked that are to have a file saved.
    var filesExpected = 0
    /// All frames that have been seen, the main one among them.
    private(set) var frames: Set<String>
    /// Where the scripts of frames run, as far as the browser was asked to tell.
    private(set) var worlds: [String: Int] = [:]
    private var requests: Set<String> = []

    /// A page with more requests at once than this never counts as quiet.
    static let requestsMax = 10_000
    /// More frames than this are not remembered.
    static let framesMax = 1_000

    /// - Parameter countsConsoleErrors: whether they are of interest.
    init(mainFrame: String, countsConsoleErrors: Bool) {
        self.mainFrame = mainFrame
        frames = [mainFrame]
        consoleErrors = countsConsoleErrors ? ConsoleErrors() : nil
    }

    mutating func apply(_ event: PageEvent, at now: ContinuousClock.Instant) {
        switch event {
        case .navigationStarted(let frame): if frame == mainFrame { isNavigating = true }
        case .navigationEnded(let frame): if frame == mainFrame { isNavigating = false }
        case .navigated(let frame, let loader, let unreachable):
            guard frame == mainFrame else {
                if frames.count < Self.framesMax { frames.insert(frame) }
                return
            }
            self.loader = loader
            self.unreachable = unreachable
            progress = []
            worlds = [:]
            documents += 1
            isNavigating = false
            // Those of the document that was left will not be told of.
            requests.removeAll()
            quietSince = now
        case .lifecycle(let frame, let loader, let step):
            if frame == mainFrame, loader == self.loader { progress.insert(step) }
        case .answered(let frame, let pause): if frame == mainFrame { retryAfter = pause }
        case .requestStarted(let id):
            if requests.count < Self.requestsMax { requests.insert(id) }
            quietSince = nil
        case .requestEnded(let id):
            if requests.remove(id) != nil, requests.isEmpty { quietSince = now }
        case .world(let frame, let id): if worlds.count < Self.framesMax || worlds[frame] != nil { worlds[frame] = id }
        case .consoleError(let text): consoleErrors?.add(text)
        }
    }

    /// Whether the document has come so far; one that is about to be left has not.
    func has(_ moment: VisitParameters.Moment, at now: ContinuousClock.Instant) -> Bool {
        guard loader != nil else { return false }
        switch moment {
        case .domContentLoaded, .selector: return progress.contains(.content)
        case .load: return progress.contains(.load)
        case .networkIdle:
            guard progress.contains(.load), let quietSince else { return false }
            return now - quietSince >= VisitParameters.Moment.idle
        }
    }
}

/// What is told of a page.
enum PageEvent: Sendable, Hashable {
    case navigationStarted(frame: String)
    case navigationEnded(frame: String)
    /// A document has begun to come, or the browser's own error page in place of one that is unreachable.
    case navigated(frame: String, loader: String, unreachable: String? = nil)
    case lifecycle(frame: String, loader: String, PageState.Progress)
    /// A document's head has come, before the document.
    case answered(frame: String, retryAfter: Duration?)
    case requestStarted(id: String)
    case requestEnded(id: String)
    /// The world of a frame's scripts.
    case world(frame: String, id: Int)
    case consoleError(String)
}
