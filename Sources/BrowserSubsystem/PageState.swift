/// Where a page stands, folded from what the browser tells. It decides; ``PageWatch`` acts.
///
/// ```
///  empty ──frameNavigated──▶ document ──DOMContentLoaded──▶ ──load──▶ ──no request for 500 ms──▶ quiet
///    ▲                          │  ▲
///    │                          │  └── frameNavigated: the next document, nothing reached yet
///    └── isNavigating: a navigation has been asked for, and neither came nor failed
/// ```
struct PageState: Sendable {
    /// What is to be done about an event.
    enum Action: Sendable, Hashable {
        case answerDialog(accept: Bool, text: String?)
    }

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
    /// Since when no request has been under way.
    private(set) var quietSince: ContinuousClock.Instant?
    private(set) var report = PageReport()
    /// Where the scripts of frames run, as far as the browser was asked to tell.
    private(set) var worlds: [String: Int] = [:]
    private var requests: Set<String> = []
    private let options: PageOptions

    /// A page with more requests at once than this never counts as quiet.
    static let requestsMax = 10_000
    /// Of more frames than this the worlds are not remembered.
    static let worldsMax = 1_000
    /// A page that opens more dialogs than this is given up.
    static let dialogsMax = 1_000

    init(mainFrame: String, _ options: PageOptions) {
        self.mainFrame = mainFrame
        self.options = options
    }

    var hasTooManyDialogs: Bool { report.dialogsTotal > Self.dialogsMax }

    mutating func apply(_ event: PageEvent, at now: ContinuousClock.Instant) -> Action? {
        switch event {
        case .navigationStarted(let frame): if frame == mainFrame { isNavigating = true }
        case .navigationEnded(let frame): if frame == mainFrame { isNavigating = false }
        case .navigated(let frame, let loader):
            guard frame == mainFrame else { return nil }
            self.loader = loader
            progress = []
            worlds = [:]
            documents += 1
            isNavigating = false
            // Those of the document that was left will not be told of.
            requests.removeAll()
            quietSince = now
        case .lifecycle(let frame, let loader, let step):
            if frame == mainFrame, loader == self.loader { progress.insert(step) }
        case .requestStarted(let id):
            if requests.count < Self.requestsMax { requests.insert(id) }
            quietSince = nil
        case .requestEnded(let id):
            if requests.remove(id) != nil, requests.isEmpty { quietSince = now }
        case .dialog(let type, let message):
            // A page that asks to stay is left: the job has said where to go.
            let accepts = type == "beforeunload" || options.dialogs == .accept
            report.add(PageReport.Dialog(type: type, message: message, accepted: accepts))
            return .answerDialog(accept: accepts, text: type == "prompt" && accepts ? options.promptText : nil)
        case .world(let frame, let id): if worlds.count < Self.worldsMax || worlds[frame] != nil { worlds[frame] = id }
        case .consoleError(let text): report.add(consoleError: text)
        case .popup: report.popups += 1
        case .download: report.downloadsDenied += 1
        }
        return nil
    }

    mutating func countConsoleErrors() { report.countConsoleErrors() }

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
    /// A document has begun to come.
    case navigated(frame: String, loader: String)
    case lifecycle(frame: String, loader: String, PageState.Progress)
    case requestStarted(id: String)
    case requestEnded(id: String)
    /// The world of a frame's scripts.
    case world(frame: String, id: Int)
    case dialog(type: String, message: String)
    case consoleError(String)
    case popup
    case download
}
