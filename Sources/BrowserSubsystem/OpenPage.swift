import BrowserPool
import DevTools
import EgressProxy
import FleetModel
import Synchronization

/// The page of a tab, as jobs use it.
///
/// ```
///  open(url) ──▶ BrowserTab.navigate ──▶ PageWatch: wait for the moment
///  call(…)   ──▶ Page.js, in a world apart from the page's scripts; made anew for each document
///  evaluate  ──▶ the page's own world
/// ```
struct OpenPage: Sendable {
    let tab: BrowserTab
    let watch: PageWatch
    private let worlds = Worlds()

    /// A frame of the page: where a script is run.
    struct Frame: Sendable, Hashable {
        let id: String
        /// Of the element that holds it; nil for the page itself.
        var selector: String?
    }

    /// - Parameter countsConsoleErrors: whether they are kept for the report.
    init(_ tab: BrowserTab, countsConsoleErrors: Bool) {
        self.tab = tab
        watch = PageWatch(
            tab.session, PageState(mainFrame: tab.targetID, countsConsoleErrors: countsConsoleErrors))
    }

    var session: DevToolsSession { tab.session }
    /// A page's own frame has its target's id.
    var mainFrame: String { tab.targetID }
    var top: Frame { Frame(id: mainFrame) }

    /// Sends a command, for as long as there is time.
    ///
    /// Never inlined: the optimizer of Swift 6.3 crashes where it merges the typed error of the session's `send` into an
    /// untyped caller that sends in a loop.
    @discardableResult @inline(never)
    func send<Command: DevToolsCommand>(_ command: Command, _ deadline: Deadline) async throws -> Command.Answer {
        try Task.checkCancellation()
        return try await session.send(command, within: try deadline.remaining())
    }

    // MARK: Navigation

    /// Opens a page, and returns when it counts as there.
    func open(
        _ url: String, until moment: VisitParameters.Moment, selector: String?, _ deadline: Deadline
    ) async throws {
        let before = (documents: watch.page.documents, failures: tab.egress.failureCount)
        let answer: Page.Navigate.Answer
        do {
            answer = try await tab.navigate(to: url, within: try deadline.remaining())
        } catch let error as DevToolsError where error.reason == .timeout {
            throw deadline.timeout("\(PageURL.host(url) ?? url) has not begun to answer")
        }
        if let error = answer.errorText {
            throw BrowserFailure.navigation(error, to: url, failures(since: before.failures))
        }
        // Without a new document it was a step within the one that is there.
        let wanted = answer.loaderId == nil ? before.documents : before.documents + 1
        try await settle(moment, documents: wanted, deadline)
        if moment == .selector, let selector {
            try await wait(for: selector, .visible, in: top, deadline)
        }
    }

    /// Returns when the document has come so far.
    ///
    /// - Parameter documents: how many there must have been.
    func settle(_ moment: VisitParameters.Moment, documents: Int, _ deadline: Deadline) async throws {
        try await watch.wait(until: deadline, for: watch.page.words(moment)) { page in
            let now = ContinuousClock.now
            guard page.documents >= documents else { return .notYet }
            if page.has(moment, at: now) { return .reached }
            guard moment == .networkIdle, page.has(.load, at: now), let quiet = page.quietSince else { return .notYet }
            return .notBefore(quiet + VisitParameters.Moment.idle)
        }
    }

    /// Does what may send the page elsewhere, and returns when the next page is there, if there is one.
    ///
    /// - Throws: what `body` throws; `browser.…` when the next page cannot be had.
    func leading(_ deadline: Deadline, _ body: () async throws -> Void) async throws {
        let before = (documents: watch.page.documents, failures: tab.egress.failureCount)
        try await body()
        // By then the page has done what it does at once, such as sending a form.
        do {
            _ = try await evaluate("new Promise(resolve => setTimeout(resolve))", in: top, deadline)
        } catch let error as DevToolsError where error.isStale {
        }
        let page = watch.page
        guard page.isNavigating || page.documents > before.documents else { return }
        try await watch.wait(until: deadline, for: "the page that it led to is not there") { page in
            if page.isNavigating { return .notYet }
            // A navigation that came to nothing, as one to a download, leaves the document that was there.
            return page.documents == before.documents || page.has(.load, at: .now) ? .reached : .notYet
        }
        if let url = watch.page.unreachable {
            throw BrowserFailure.navigation("the page that it led to", to: url, failures(since: before.failures))
        }
    }

    private func failures(since count: Int) -> [EgressFailure] {
        let egress = tab.egress
        return Array(egress.failures.suffix(max(0, egress.failureCount - count)))
    }

    // MARK: Scripts

    /// Evaluates an expression in the world of the frame's own scripts.
    ///
    /// - Returns: its value as JSON; `null` for what JSON cannot write, as `undefined` or `NaN`.
    func evaluate(_ expression: String, in frame: Frame, _ deadline: Deadline) async throws -> String {
        let context = frame.id == mainFrame ? nil : try await ownWorld(of: frame, deadline)
        let answer = try await send(Runtime.Evaluate(expression, userGesture: true, contextId: context), deadline)
        if let exception = answer.exception { throw BrowserFailure.exception(exception.message) }
        return answer.value?.text ?? "null"
    }

    /// The browser tells of worlds only once it is asked to.
    private func ownWorld(of frame: Frame, _ deadline: Deadline) async throws -> Int {
        try await send(Runtime.Enable(), deadline)
        try await watch.wait(until: deadline, for: "the frame has no scripts to evaluate among") { page in
            page.worlds[frame.id] == nil ? .notYet : .reached
        }
        return watch.page.worlds[frame.id] ?? 0
    }

    /// Calls a function of `Page.js`.
    ///
    /// - Parameters:
    ///   - isRepeatable: whether it is called again when the document changed meanwhile.
    func call<Value: Decodable>(
        _ function: String, _ arguments: [CallPageScript.Argument], in frame: Frame, as: Value.Type,
        isRepeatable: Bool = true, _ deadline: Deadline
    ) async throws -> Value {
        let answer = try await call(
            function, arguments, in: frame, returnsValue: true, isRepeatable: isRepeatable, deadline)
        guard let value = answer.value else {
            throw JobFailure(.transient, code: "browser.protocol", message: "the page gave no answer to \(function)")
        }
        return try value.decode(Value.self)
    }

    /// An element as the browser's commands name it; nil when there is none.
    func element(_ selector: String, in frame: Frame, _ deadline: Deadline) async throws -> String? {
        try await call("find", [.text(selector)], in: frame, returnsValue: false, isRepeatable: true, deadline).objectId
    }

    private func call(
        _ function: String, _ arguments: [CallPageScript.Argument], in frame: Frame, returnsValue: Bool,
        isRepeatable: Bool, _ deadline: Deadline
    ) async throws -> Runtime.Evaluation {
        while true {
            let documents = watch.page.documents
            do {
                let world = try await worlds.object(of: frame.id, documents: documents) {
                    try await makeWorld(in: frame, deadline)
                }
                let answer = try await send(
                    CallPageScript(function, of: world, arguments, returnByValue: returnsValue), deadline)
                if let exception = answer.exception { throw BrowserFailure.exception(exception.message) }
                return answer
            } catch let error as DevToolsError where error.isStale {
                worlds.forget(frame.id)
                if !isRepeatable && !error.isBeforeBegin { throw error }
                // The next document, if one is on its way; else its frame has been replaced, or will be.
                try await watch.wait(until: deadline.capped(.seconds(1)), for: "the page changes all the time") {
                    page in
                    page.documents > documents || !page.isNavigating ? .reached : .notYet
                }
            }
        }
    }

    private func makeWorld(in frame: Frame, _ deadline: Deadline) async throws -> String {
        let context = try await send(CreateIsolatedWorld(frameId: frame.id), deadline).executionContextId
        let answer = try await send(
            Runtime.Evaluate(PageScript.source, returnByValue: false, awaitPromise: false, contextId: context), deadline
        )
        guard let object = answer.objectId else {
            throw JobFailure(.transient, code: "browser.protocol", message: "the page has no room for our script")
        }
        return object
    }
}

/// The objects of `Page.js`, by frame, for the document that they belong to.
private final class Worlds: Sendable {
    private let objects = Mutex<[String: (documents: Int, id: String)]>([:])

    func object(of frame: String, documents: Int, _ make: () async throws -> String) async throws -> String {
        if let known = objects.withLock({ $0[frame] }), known.documents == documents { return known.id }
        let id = try await make()
        objects.withLock { objects in
            // Those of documents that are gone are of no use.
            objects = objects.filter { $0.value.documents == documents }
            objects[frame] = (documents, id)
        }
        return id
    }

    func forget(_ frame: String) { objects.withLock { $0[frame] = nil } }
}

extension DevToolsError {
    /// Whether the document or frame that was meant is not there any more.
    var isStale: Bool {
        guard case .refused(_, let message) = reason else { return false }
        return isBeforeBegin || message.contains("Execution context was destroyed")
            || message.contains("Inspected target navigated")
    }

    /// The same, before anything had been done.
    var isBeforeBegin: Bool {
        guard case .refused(_, let message) = reason else { return false }
        return [
            "Cannot find context", "Could not find object", "No frame", "Frame with the given", "Cannot find default",
        ]
        .contains { message.contains($0) }
    }
}

extension PageState {
    /// What is missing to a moment.
    func words(_ moment: VisitParameters.Moment) -> String {
        guard loader != nil else { return "no document has come" }
        if !progress.contains(.content) { return "the document has not been read to its end" }
        if moment == .load || moment == .networkIdle, !progress.contains(.load) {
            return "the document is there, but not all that it asked for"
        }
        return "requests are still under way"
    }
}
