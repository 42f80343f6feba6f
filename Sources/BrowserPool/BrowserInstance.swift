import DevTools
import EgressProxy
import Glibc
import ProcessKeeper
import Synchronization

/// One browser: its process, its connection and what goes on in it.
final class BrowserInstance: Sendable {
    /// What instances of a pool have in common.
    struct Surroundings: Sendable {
        var settings: BrowserPoolSettings
        var executable: String
        var account: Account?
        var keeper: ProcessKeeper
        var shell: ExecutableFile
        var proxy: EgressProxy
        var metrics: BrowserMetrics
    }

    private struct State {
        /// By browser context. A tab whose own page is not known yet is nil.
        var tabs: [String: BrowserTab?] = [:]
        var observers: [EventSubscription] = []
        var userAgent = ""
        var processID: Int32?
    }

    let number: Int
    let connection: DevToolsConnection
    private let surroundings: Surroundings
    private let command: ProcessCommand
    private let state = Mutex(State())

    /// Puts the socket where Chromium expects it, and becomes Chromium.
    private static let launch = #"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#

    /// Makes both ends of the connection; ``run()`` starts the browser.
    init(_ number: Int, profile: String, _ surroundings: Surroundings) throws {
        self.number = number
        self.surroundings = surroundings
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw BrowserPoolError(.launchFailed, "no sockets are left to talk with a browser")
        }
        let channel = HandedSocket(adopting: ends[1])
        let settings = surroundings.settings
        connection = try DevToolsConnection(
            adopting: ends[0], limits: DevToolsLimits(commandTimeout: settings.commandTimeout))
        command = ProcessCommand(
            surroundings.shell,
            ["-c", Self.launch, surroundings.executable]
                + BrowserArguments.list(settings, executable: surroundings.executable, profile: profile),
            environment: BrowserArguments.environment(profile: profile), channel: channel,
            timeout: settings.instanceAgeMax * 2, grace: .zero, account: surroundings.account, memoryPressureScore: 500)
    }

    // MARK: The process

    /// Runs the browser until no process of it is left. Cancelling ends it. Returns why it ended.
    func run() async -> BrowserPoolError {
        let error: BrowserPoolError
        do {
            let end = try await surroundings.keeper.run(command)
            error = Self.explained(end)
        } catch let flaw {
            error = BrowserPoolError(.launchFailed, "the browser could not be started: \(flaw)")
        }
        connection.close(error.message)
        return error
    }

    private static func explained(_ end: ProcessEnd) -> BrowserPoolError {
        let words = String(decoding: end.error.bytes, as: UTF8.self)
        if words.contains("No usable sandbox") || words.contains("no-sandbox is not supported") {
            return BrowserPoolError(
                .notSandboxed,
                "the machine gives Chromium no sandbox; let it have user namespaces, or set browser.sandbox to off")
        }
        let lines = words.split(separator: "\n").filter { !$0.contains("dbus") }
        let last = lines.last.map { ": \($0.suffix(300))" } ?? ""
        return BrowserPoolError(.launchFailed, "the browser ended (\(end.status))\(last)")
    }

    /// Waits until it answers, and prepares it.
    func start() async throws {
        let browser = connection.browser
        let settings = surroundings.settings
        let version = try await browser.send(Browser.GetVersion(), within: settings.startTimeout)
        let observers = [
            browser.observe([Target.TargetCreated.method]) { [weak self] in self?.look($0) }
        ]
        state.withLock { state in
            state.userAgent = version.userAgent
            state.observers = observers
        }
        try await browser.send(Target.SetDiscoverTargets(discover: true))
        for path in settings.extensions {
            try await browser.send(
                Extensions.LoadUnpacked(path: path, enableInIncognito: true), within: settings.startTimeout)
        }
        let processes = try await browser.send(SystemInfo.GetProcessInfo()).processInfo
        state.withLock { $0.processID = processes.first { $0.type == "browser" }?.id }
    }

    /// Asks whether it lives.
    ///
    /// - Throws: ``DevToolsError`` when it does not, or not in time.
    func check() async throws(DevToolsError) {
        try await connection.browser.send(Browser.GetVersion(), within: surroundings.settings.checkTimeout)
    }

    /// Of the browser's own process; nil until it has started.
    var processID: Int32? { state.withLock { $0.processID } }

    // MARK: Tabs

    /// Opens a page in a browser context of its own.
    func openTab(_ number: Int, onCrash: @escaping @Sendable () -> Void) async throws -> BrowserTab {
        let settings = surroundings.settings
        let metrics = surroundings.metrics
        let gate = try surroundings.proxy.openGate(
            policy: settings.addresses, limits: settings.egress, onRefusal: { metrics.refusedConnection() })
        var context: String?
        do {
            let browser = connection.browser
            let contextID = try await browser.send(
                Target.CreateBrowserContext(proxyServer: gate.proxyServer, proxyBypassList: "<-loopback>")
            ).browserContextId
            context = contextID
            state.withLock { $0.tabs[contextID] = .some(nil) }
            async let downloads = browser.send(
                Browser.SetDownloadBehavior(.deny, browserContextId: contextID, eventsEnabled: true))
            let targetID = try await browser.send(
                Target.CreateTarget(url: "about:blank", browserContextId: contextID)
            ).targetId
            let sessionID = try await browser.send(Target.AttachToTarget(targetId: targetID)).sessionId
            let tab = BrowserTab(
                number: number, session: connection.session(sessionID), targetID: targetID, contextID: contextID,
                userAgent: state.withLock { $0.userAgent }, gate: gate, metrics: metrics)
            try await tab.settle(onCrash: onCrash)
            _ = try await downloads
            state.withLock { $0.tabs[contextID] = tab }
            return tab
        } catch {
            gate.close()
            if let context {
                _ = state.withLock { $0.tabs.removeValue(forKey: context) }
                connection.browser.post(Target.DisposeBrowserContext(browserContextId: context))
            }
            throw error
        }
    }

    /// Throws a page away with its context and all that they hold.
    ///
    /// - Throws: ``DevToolsError`` when the browser does not manage to.
    func close(_ tab: BrowserTab) async throws(DevToolsError) {
        tab.retire()
        _ = state.withLock { $0.tabs.removeValue(forKey: tab.contextID) }
        try await connection.browser.send(Target.DisposeBrowserContext(browserContextId: tab.contextID))
    }

    /// Closes pages that a tab's page opened.
    private func look(_ event: DevToolsEventMessage) {
        guard let info = try? event.decode(Target.TargetCreated.self).targetInfo, info.type == "page",
            let context = info.browserContextId
        else { return }
        // `try?`: one that cannot be read stays open until its tab is given back, as the tab's context holds it.
        guard case .some(.some(let tab)) = state.withLock({ $0.tabs[context] }), tab.targetID != info.targetId else {
            return
        }
        tab.countPopup()
        connection.browser.post(Target.CloseTarget(targetId: info.targetId))
    }
}
