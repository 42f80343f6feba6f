import CurlClient
import DevTools
import Synchronization

/// Follows a page: folds its events into a ``PageState``, and lets one wait for what comes.
final class PageWatch: Sendable {
    private struct Following {
        var page: PageState
        /// Rises with each event that may matter to one who waits.
        var revision = 0
        var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
        var waitersMade = 0
    }

    private let following: Mutex<Following>
    private let subscription = Mutex<EventSubscription?>(nil)

    private static let methods = [
        Page.FrameNavigated.method, FrameRequestedNavigation.method, FrameStartedNavigating.method,
        FrameStoppedLoading.method, Page.LifecycleEvent.method, Network.RequestWillBeSent.method,
        Network.ResponseReceived.method, Network.LoadingFinished.method, Network.LoadingFailed.method,
        Runtime.ExceptionThrown.method,
        Runtime.ConsoleAPICalled.method, Log.EntryAdded.method, ExecutionContextCreated.method,
    ]

    /// It follows from now on; enable the domains afterwards.
    init(_ session: DevToolsSession, _ state: PageState) {
        following = Mutex(Following(page: state))
        // The connection's thread holds the body for as long as the subscription lasts, which this object ends.
        let subscription = session.observe(Self.methods) { [weak self] message in self?.take(message) }
        self.subscription.withLock { $0 = subscription }
    }

    /// Follows no more.
    func end() { subscription.withLock { $0.take() }?.cancel() }

    var page: PageState { following.withLock { $0.page } }

    /// Has those who wait look again, for what is known elsewhere.
    func nudge() { change { _ in } }

    /// A link was clicked by which a file is to be saved. Only the browser tells of that, and as late as the file's server answers.
    func expectFile() { change { $0.filesExpected += 1 } }

    private func take(_ message: DevToolsEventMessage) {
        // An event that cannot be read is as one that has not come: whoever waits for it ends by its time.
        guard let event = try? PageEvent(message) else { return }
        change { $0.apply(event, at: message.instant) }
    }

    private func change(_ body: (inout PageState) -> Void) {
        let waiters = following.withLock { following in
            body(&following.page)
            following.revision += 1
            defer { following.waiters = [:] }
            return following.waiters
        }
        for waiter in waiters.values { waiter.resume() }
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
            let instant: ContinuousClock.Instant
            switch judge(page) {
            case .reached: return
            case .notYet: instant = deadline.instant
            case .notBefore(let wanted): instant = min(wanted, deadline.instant)
            }
            if deadline.isOver { throw deadline.timeout(words()) }
            await waitForChange(after: revision, until: instant)
            try Task.checkCancellation()
        }
    }

    /// Returns at that instant, whatever comes.
    static func pause(until instant: ContinuousClock.Instant) -> (PageState) -> Verdict {
        { _ in instant <= .now ? .reached : .notBefore(instant) }
    }

    /// Returns at the next event, at the instant, or when the task is cancelled.
    private func waitForChange(after revision: Int, until instant: ContinuousClock.Instant) async {
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
        case Page.FrameNavigated.method:
            let frame = try message.decode(Page.FrameNavigated.self).frame
            self = .navigated(frame: frame.id, loader: frame.loaderId, unreachable: frame.unreachableUrl)
        case FrameRequestedNavigation.method:
            let event = try message.decode(FrameRequestedNavigation.self)
            // Another window's or a download's does not change this page.
            guard event.disposition == "currentTab" else { return nil }
            self = .navigationStarted(frame: event.frameId)
        case FrameStartedNavigating.method:
            let event = try message.decode(FrameStartedNavigating.self)
            guard event.navigationType != "sameDocument", event.navigationType != "historySameDocument" else {
                return nil
            }
            self = .navigationStarted(frame: event.frameId)
        case FrameStoppedLoading.method:
            self = .navigationEnded(frame: try message.decode(FrameStoppedLoading.self).frameId)
        case Page.LifecycleEvent.method:
            let event = try message.decode(Page.LifecycleEvent.self)
            let step: PageState.Progress
            switch event.name {
            case "DOMContentLoaded": step = .content
            case "load": step = .load
            default: return nil
            }
            self = .lifecycle(frame: event.frameId, loader: event.loaderId, step)
        case Network.RequestWillBeSent.method:
            let event = try message.decode(Network.RequestWillBeSent.self)
            // They stay open for as long as the page likes.
            guard event.type != "EventSource", event.type != "WebSocket" else { return nil }
            self = .requestStarted(id: event.requestId)
        case Network.ResponseReceived.method:
            let event = try message.decode(Network.ResponseReceived.self)
            guard event.type == "Document", let frame = event.frameId else { return nil }
            self = .answered(frame: frame, retryAfter: event.response.retryAfter)
        case Network.LoadingFinished.method:
            self = .requestEnded(id: try message.decode(Network.LoadingFinished.self).requestId)
        case Network.LoadingFailed.method:
            self = .requestEnded(id: try message.decode(Network.LoadingFailed.self).requestId)
        case ExecutionContextCreated.method:
            let context = try message.decode(ExecutionContextCreated.self).context
            guard let details = context.auxData, details.isDefault == true, let frame = details.frameId else {
                return nil
            }
            self = .world(frame: frame, id: context.id)
        case Runtime.ExceptionThrown.method:
            self = .consoleError(try message.decode(Runtime.ExceptionThrown.self).exceptionDetails.message)
        case Runtime.ConsoleAPICalled.method:
            let event = try message.decode(Runtime.ConsoleAPICalled.self)
            guard event.type == "error" || event.type == "assert" else { return nil }
            self = .consoleError(event.args.map { $0.text ?? $0.description ?? "…" }.joined(separator: " "))
        case Log.EntryAdded.method:
            let entry = try message.decode(Log.EntryAdded.self).entry
            guard entry.level == "error" else { return nil }
            self = .consoleError(entry.text + (entry.url.map { " (\($0))" } ?? ""))
        default: return nil
        }
    }
}

extension Network.Response {
    fileprivate var retryAfter: Duration? {
        func header(_ name: String) -> String? { headers.first { $0.key.lowercased() == name }?.value }
        return header("retry-after").flatMap { CurlResponse.retryAfter($0, responseDate: header("date")) }
    }
}
