import BrowserPool
import DevTools
import FleetModel
import Synchronization

/// Follows the files that a page wants saved.
final class DownloadWatch: Sendable {
    struct File: Sendable, Hashable {
        /// What the browser calls the file by.
        let id: String
        /// As the page calls it: a stranger's choice, never a path.
        let name: String
        let url: String
    }

    private struct State {
        var files: [File] = []
        var ended: Set<String> = []
        var failed: Set<String> = []
    }

    private let state = Mutex(State())
    private let watch: PageWatch
    private let subscription = Mutex<EventSubscription?>(nil)

    private static let filesMax = 1_000

    init(_ tab: BrowserTab, _ watch: PageWatch) {
        self.watch = watch
        let methods = [Browser.DownloadWillBegin.method, Browser.DownloadProgress.method]
        let subscription = tab.browser.observe(methods) { [weak self] message in self?.take(message) }
        self.subscription.withLock { $0 = subscription }
    }

    func end() { subscription.withLock { $0.take() }?.cancel() }

    var count: Int { state.withLock { $0.files.count } }

    private func take(_ message: DevToolsEventMessage) {
        // Of either kind, one that cannot be read is as one that has not come.
        switch message.method {
        case Browser.DownloadWillBegin.method:
            if let event = try? message.decode(Browser.DownloadWillBegin.self) { begin(event) }
        default: if let event = try? message.decode(Browser.DownloadProgress.self) { progress(event) }
        }
    }

    private func begin(_ event: Browser.DownloadWillBegin) {
        // All tabs of the browser are told of here.
        guard watch.page.frames.contains(event.frameId) else { return }
        state.withLock { state in
            guard state.files.count < Self.filesMax else { return }
            state.files.append(
                File(
                    id: event.guid, name: String(event.suggestedFilename.prefix(200)),
                    url: String(event.url.prefix(2_000))))
        }
        watch.nudge()
    }

    private func progress(_ event: Browser.DownloadProgress) {
        guard event.state != "inProgress" else { return }
        state.withLock { state in
            guard state.files.contains(where: { $0.id == event.guid }) else { return }
            state.ended.insert(event.guid)
            if event.state != "completed" { state.failed.insert(event.guid) }
        }
        watch.nudge()
    }

    /// How long a file that is to be saved may take to begin. The page may have kept the link from its work.
    private static let beginLimit = Duration.seconds(10)

    /// Waits until as many have begun as links for it were clicked, or that does not come.
    func begun(_ deadline: Deadline) async throws {
        let expected = watch.page.filesExpected
        if expected == 0 { return }
        // What has been done by then is not to be lost over it.
        let limit = min(ContinuousClock.now + Self.beginLimit, deadline.instant - .milliseconds(500))
        try await watch.wait(until: deadline, for: "a file that is to be saved has not begun") { _ in
            count >= expected || ContinuousClock.now >= limit ? .reached : .notBefore(limit)
        }
    }

    /// Waits for all that have begun to end.
    func finished(atMost filesMax: Int, _ deadline: Deadline) async throws -> [File] {
        try await watch.wait(until: deadline, for: "a download is still under way") { _ in
            state.withLock { state in state.files.allSatisfy { state.ended.contains($0.id) } ? .reached : .notYet }
        }
        let (files, failed) = state.withLock { ($0.files, $0.failed) }
        if files.count > filesMax {
            throw JobFailure(
                .permanent, code: "browser.too-many-downloads",
                message: "the page saved \(files.count) files, at most \(filesMax) are taken (browser.downloads)")
        }
        if let file = files.first(where: { failed.contains($0.id) }) {
            throw JobFailure(
                .transient, code: "browser.download", message: "the download of '\(file.name)' broke off")
        }
        return files
    }
}
