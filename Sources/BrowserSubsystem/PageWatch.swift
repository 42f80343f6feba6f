import DevTools
import Synchronization

/// Follows a page: folds its events into a ``PageState``, answers what has to be answered at once, and lets one wait for what
/// comes.
final class PageWatch: Sendable {
    private struct Following {
        var page: PageState
        /// Rises with each event that may matter to one who waits.
        var revision = 0
        var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
        var waitersMade = 0
    }

    private let following: Mutex<Following>
    private let session: DevToolsSession
    private let subscription = Mutex<EventSubscription?>(nil)

    private static let methods = [
        PageDomain.FrameNavigated.method, PageDomain.FrameRequestedNavigation.method,
        PageDomain.FrameStartedNavigating.method, PageDomain.FrameStoppedLoading.method,
        PageDomain.LifecycleEvent.method, PageDomain.DialogOpening.method, NetworkDomain.RequestWillBeSent.method,
        NetworkDomain.LoadingFinished.method, NetworkDomain.LoadingFailed.method,
        RuntimeDomain.ExceptionThrown.method, RuntimeDomain.ConsoleAPICalled.method,
        RuntimeDomain.LogEntryAdded.method, RuntimeDomain.ContextCreated.method,
    ]

    /// It follows from now on; enable the domains afterwards.
    init(_ session: DevToolsSession, _ state: PageState) {
        self.session = session
        following = Mutex(Following(page: state))
        // The connection's thread holds the body for as long as the subscription lasts, which this object ends.
        let subscription = session.observe(Self.methods) { [weak self] message in self?.take(message) }
        self.subscription.withLock { $0 = subscription }
    }

    /// Follows no more.
    func end() { subscription.withLock { $0.take() }?.cancel() }

    var page: PageState { following.withLock { $0.page } }

    func countConsoleErrors() { following.withLock { $0.page.countConsoleErrors() } }

    /// For what is told of a page elsewhere than by its own session.
    func add(_ event: PageEvent) { apply(event, at: .now) }

    private func take(_ message: DevToolsEventMessage) {
        // An event that cannot be read is as one that has not come: whoever waits for it ends by its time.
        guard let event = try? PageEvent(message) else { return }
        apply(event, at: message.instant)
    }

    private func apply(_ event: PageEvent, at instant: ContinuousClock.Instant) {
        let (action, waiters) = following.withLock { following in
            let action = following.page.apply(event, at: instant)
            following.revision += 1
            defer { following.waiters = [:] }
            return (action, following.waiters)
        }
        for waiter in waiters.values { waiter.resume() }
        switch action {
        case .answerDialog(let accept, let text):
            session.post(PageDomain.HandleDialog(accept: accept, promptText: text))
        case nil: break
        }
    }

    /// What is to be waited for.
    enum Verdict {
        case reached
        case notYet
        /// Ask again then, if nothing comes before.
        case notBefore(ContinuousClock.Instant)
    }

    /// Returns when the page is as `judge` wants it.
    ///
    /// - Parameter words: what was wanted, for the error.
    /// - Throws: `browser.timeout`; `CancellationError`.
    func wait(
        until deadline: Deadline, for words: @autoclosure () -> String, _ judge: (PageState) -> Verdict
    ) async throws {
        while true {
            let (page, revision) = following.withLock { ($0.page, $0.revision) }
            if page.hasTooManyDialogs { throw BrowserFailure.tooManyDialogs }
            let instant: ContinuousClock.Instant
            switch judge(page) {
            case .reached: return
            case .notYet: instant = deadline.instant
            case .notBefore(let wanted): instant = min(wanted, deadline.instant)
            }
            if deadline.isOver { throw deadline.timeout(words()) }
            await change(after: revision, until: instant)
            try Task.checkCancellation()
        }
    }

    /// Returns at the next event, at the instant, or when the task is cancelled.
    private func change(after revision: Int, until instant: ContinuousClock.Instant) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.nextEvent(after: revision) }
            // A sleep ends early only by cancellation, which is what is wanted of it.
            group.addTask { try? await ContinuousClock().sleep(until: instant) }
            await group.next()
            group.cancelAll()
        }
    }

    private func nextEvent(after revision: Int) async {
        let number = following.withLock { following in
            following.waitersMade += 1
            return following.waitersMade
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = following.withLock { following in
                    if following.revision != revision || Task.isCancelled { return true }
                    following.waiters[number] = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            following.withLock { $0.waiters.removeValue(forKey: number) }?.resume()
        }
    }
}

extension PageEvent {
    /// Nil for an event that says nothing of interest.
    init?(_ message: DevToolsEventMessage) throws {
        switch message.method {
        case PageDomain.FrameNavigated.method:
            let frame = try message.decode(PageDomain.FrameNavigated.self).frame
            self = .navigated(frame: frame.id, loader: frame.loaderId)
        case PageDomain.FrameRequestedNavigation.method:
            let event = try message.decode(PageDomain.FrameRequestedNavigation.self)
            // Another window's or a download's does not change this page.
            guard event.disposition == "currentTab" else { return nil }
            self = .navigationStarted(frame: event.frameId)
        case PageDomain.FrameStartedNavigating.method:
            let event = try message.decode(PageDomain.FrameStartedNavigating.self)
            guard !event.navigationType.hasPrefix("sameDocument") && event.navigationType != "historySameDocument"
            else { return nil }
            self = .navigationStarted(frame: event.frameId)
        case PageDomain.FrameStoppedLoading.method:
            self = .navigationEnded(frame: try message.decode(PageDomain.FrameStoppedLoading.self).frameId)
        case PageDomain.LifecycleEvent.method:
            let event = try message.decode(PageDomain.LifecycleEvent.self)
            let step: PageState.Progress
            switch event.name {
            case "DOMContentLoaded": step = .content
            case "load": step = .load
            default: return nil
            }
            self = .lifecycle(frame: event.frameId, loader: event.loaderId, step)
        case PageDomain.DialogOpening.method:
            let event = try message.decode(PageDomain.DialogOpening.self)
            self = .dialog(type: event.type, message: event.message)
        case NetworkDomain.RequestWillBeSent.method:
            let event = try message.decode(NetworkDomain.RequestWillBeSent.self)
            // They stay open for as long as the page likes.
            guard event.type != "EventSource", event.type != "WebSocket" else { return nil }
            self = .requestStarted(id: event.requestId)
        case NetworkDomain.LoadingFinished.method:
            self = .requestEnded(id: try message.decode(NetworkDomain.LoadingFinished.self).requestId)
        case NetworkDomain.LoadingFailed.method:
            self = .requestEnded(id: try message.decode(NetworkDomain.LoadingFailed.self).requestId)
        case RuntimeDomain.ContextCreated.method:
            let context = try message.decode(RuntimeDomain.ContextCreated.self).context
            guard let details = context.auxData, details.isDefault == true, let frame = details.frameId else { return nil }
            self = .world(frame: frame, id: context.id)
        case RuntimeDomain.ExceptionThrown.method:
            self = .consoleError(try message.decode(RuntimeDomain.ExceptionThrown.self).exceptionDetails.words)
        case RuntimeDomain.ConsoleAPICalled.method:
            let event = try message.decode(RuntimeDomain.ConsoleAPICalled.self)
            guard event.type == "error" || event.type == "assert" else { return nil }
            self = .consoleError(event.words)
        case RuntimeDomain.LogEntryAdded.method:
            let entry = try message.decode(RuntimeDomain.LogEntryAdded.self).entry
            guard entry.level == "error" else { return nil }
            self = .consoleError(entry.text + (entry.url.map { " (\($0))" } ?? ""))
        default: return nil
        }
    }
}
