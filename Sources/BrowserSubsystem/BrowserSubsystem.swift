import BrowserPool
import FleetModel
import Metrics
import RootedFiles

/// # BrowserSubsystem
///
/// Web pages as jobs: visits and scripts in real browsers. It brings parameters and handlers; queues, claims and retries are
/// the worker's, browsers and tabs are those of ``BrowserPool``.
///
/// ```
///  browser.visit.v1  ──▶ VisitRun ──┐                 ┌─ BrowserPool   a fresh tab, cookies and all; its own way out
///  browser.script.v1 ──▶ ScriptRun ─┴─▶ BrowserDesk ──┼─ PageWatch     how far the page is, by its events
///                          │                          ├─ OpenPage      opens, looks, clicks, types (Page.js)
///                          │                          └─ ResultPlace   large results into files beneath a root
///                          └─ failed ──▶ JobFailure `browser.…`; after an effect that must not be repeated: unsafe
/// ```
///
/// A worker holds one `BrowserSubsystem`, and through it one pool. The first job starts the first browser.
public struct BrowserSubsystem: Subsystem {
    /// Nil for one that only describes.
    let desk: BrowserDesk?
    private let settings: BrowserSettings

    /// - Parameters:
    ///   - roots: the directories that uploads come from.
    ///   - results: where screenshots, documents and long texts go; jobs that make some fail when nil.
    ///   - threads: where files are read and written; the caller's to close, after ``close()``.
    ///   - factory: where counts go.
    /// - Throws: `BrowserPoolError` for a setting that cannot be, or a machine without browser or sandbox.
    public init(
        _ settings: BrowserSettings = BrowserSettings(), roots: FileRoots, results: ResultFiles?, threads: FileThreads,
        metrics factory: any MetricsFactory = MetricsSystem.factory
    ) throws(BrowserPoolError) {
        self.settings = settings
        desk = BrowserDesk(
            pool: try BrowserPool(settings.pool, metrics: factory), settings: settings, roots: roots, results: results,
            threads: threads, metrics: BrowserMetrics(factory))
    }

    /// One whose definitions can be looked at, on machines without a browser too. Its jobs fail.
    public init(describing settings: BrowserSettings) {
        self.settings = settings
        desk = nil
    }

    /// The kinds of job that this subsystem runs.
    public var definitions: [JobDefinition] { [visit, script] }

    /// What browsers and tabs there are just now.
    public var status: BrowserPoolStatus { desk?.pool.status ?? BrowserPoolStatus() }

    /// A job holds a tab.
    public var places: Int? { settings.pool.tabsMax }

    /// What it holds, once a browser runs.
    public var holdings: String? {
        let pool = status
        guard pool.instances > 0 || pool.instanceCrashes > 0 else { return nil }
        let crashes = pool.tabCrashes + pool.instanceCrashes
        return
            "\(pool.instances) browsers of \(pool.processes) processes and \(pool.memoryBytes / 1_000_000) MB, "
            + "\(pool.tabs) tabs: \(pool.leased) leased, \(pool.warm) ready; \(pool.waiting) jobs wait"
            + (crashes > 0 ? "; \(crashes) crashes since the start" : "")
    }

    /// Ends the browsers, with the jobs that use them.
    public func close() async { await desk?.pool.close() }

    /// Beyond what the parameters allow: waiting for a tab, and putting results away.
    private var margin: Duration { settings.leaseWait + .seconds(30) }

    private var visit: JobDefinition {
        JobDefinition(
            VisitParameters.self, summary: "a web page in a browser; what is to be seen there is the output",
            timeout: .milliseconds(VisitParameters.timeoutMillisecondsMax) + margin
        ) { (parameters: VisitParameters, context: JobContext) -> VisitOutput in
            let desk = try equipped()
            return try await desk.metrics.measuring("visit") {
                try await VisitRun(parameters: parameters, desk: desk, place: desk.place(context)).run()
            }
        }
    }

    private var script: JobDefinition {
        JobDefinition(
            ScriptParameters.self,
            summary: "steps in a browser: open, click, type, read; each one's outcome is the output",
            timeout: .milliseconds(ScriptParameters.timeoutMillisecondsMax) + margin
        ) { (parameters: ScriptParameters, context: JobContext) -> ScriptOutput in
            let desk = try equipped()
            return try await desk.metrics.measuring("script") {
                try await ScriptRun(parameters: parameters, desk: desk, place: desk.place(context)).run()
            }
        }
    }

    private func equipped() throws(JobFailure) -> BrowserDesk {
        guard let desk else {
            throw JobFailure(.transient, code: "browser.launch", message: "this process only describes browser jobs")
        }
        return desk
    }
}
