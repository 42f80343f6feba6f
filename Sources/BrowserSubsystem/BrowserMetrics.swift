import FleetModel
import Metrics

/// What the handlers count; what the pool counts is the pool's.
struct BrowserMetrics: Sendable {
    /// Parts of a job that are timed by themselves.
    enum Stage: String, CaseIterable {
        /// From the order to open the page until it counts as there.
        case navigate
        /// Asking the page for what is wanted of it.
        case collect
        /// A screenshot or a PDF, until its file has its name.
        case capture
    }

    private let factory: any MetricsFactory
    /// Jobs that have a tab or wait for one.
    private let active: Meter
    /// Whole jobs, by type.
    private let seconds: [String: Timer]
    private let stages: [Stage: Timer]
    /// Bytes of results that went into files.
    private let fileBytes: Counter
    private let downloadsDenied: Counter

    private static let types = ["visit", "script"]

    init(_ factory: any MetricsFactory) {
        self.factory = factory
        func counter(_ name: String) -> Counter { Counter(label: "gaia_browser_\(name)_total", factory: factory) }
        active = Meter(label: "gaia_browser_active", factory: factory)
        seconds = Dictionary(
            uniqueKeysWithValues: Self.types.map {
                ($0, Timer(label: "gaia_browser_job_seconds", dimensions: [("type", $0)], factory: factory))
            })
        stages = Dictionary(
            uniqueKeysWithValues: Stage.allCases.map {
                ($0, Timer(label: "gaia_browser_stage_seconds", dimensions: [("stage", $0.rawValue)], factory: factory))
            })
        fileBytes = counter("file_bytes")
        downloadsDenied = counter("downloads_denied")
    }

    /// Counts a job by its type and by what came of it.
    func measuring<Value>(_ type: String, _ body: () async throws -> Value) async throws -> Value {
        let begin = ContinuousClock.now
        active.increment()
        defer {
            active.decrement()
            seconds[type]?.record(duration: ContinuousClock.now - begin)
        }
        do {
            let value = try await body()
            count("jobs", [("type", type), ("outcome", "succeeded")])
            return value
        } catch {
            let failure = JobFailure(error)
            count("jobs", [("type", type), ("outcome", failure.code == "cancelled" ? "cancelled" : failure.kind.name)])
            throw error
        }
    }

    func timing<Value>(_ stage: Stage, _ body: () async throws -> Value) async rethrows -> Value {
        let begin = ContinuousClock.now
        defer { record(stage, ContinuousClock.now - begin) }
        return try await body()
    }

    func record(_ stage: Stage, _ duration: Duration) { stages[stage]?.record(duration: duration) }

    /// A step of a script, by its action.
    func step(_ kind: ScriptStep.Kind, isSuccess: Bool) {
        count("steps", [("action", kind.rawValue), ("outcome", isSuccess ? "succeeded" : "failed")])
    }

    func wroteFile(_ bytes: Int64) { fileBytes.increment(by: bytes) }

    func note(_ report: PageReport) {
        downloadsDenied.increment(by: report.downloadsDenied)
    }

    private func count(_ name: String, _ dimensions: [(String, String)]) {
        Counter(label: "gaia_browser_\(name)_total", dimensions: dimensions, factory: factory).increment()
    }
}
