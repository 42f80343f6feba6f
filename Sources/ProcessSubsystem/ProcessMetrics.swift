import Metrics
import ProcessKeeper

/// What the subsystem counts.
struct ProcessMetrics: Sendable {
    private let factory: any MetricsFactory
    /// Runs under way.
    private let active: Meter
    /// From order to the end of the last process.
    private let duration: Timer
    /// Processor time of all processes.
    private let processor: Timer
    /// Written to standard output and standard error, kept or not.
    private let output: Counter
    /// Processes that outlived their program and were killed.
    private let strays: Counter

    init(_ factory: any MetricsFactory) {
        self.factory = factory
        active = Meter(label: "gaia_process_active", factory: factory)
        duration = Timer(label: "gaia_process_run_seconds", factory: factory)
        processor = Timer(label: "gaia_process_cpu_seconds", factory: factory)
        output = Counter(label: "gaia_process_output_bytes_total", factory: factory)
        strays = Counter(label: "gaia_process_strays_total", factory: factory)
    }

    func measuring<Value>(_ body: () async throws -> Value) async throws -> Value {
        active.increment()
        defer { active.decrement() }
        do {
            let value = try await body()
            count("succeeded")
            return value
        } catch {
            count("failed")
            throw error
        }
    }

    func ended(_ end: ProcessEnd) {
        duration.record(duration: end.duration)
        processor.record(duration: end.userTime + end.systemTime)
        output.increment(by: end.output.byteCount + end.error.byteCount)
        strays.increment(by: end.strayCount)
    }

    /// Runs by what came of them.
    private func count(_ outcome: String) {
        Counter(label: "gaia_process_runs_total", dimensions: [("outcome", outcome)], factory: factory).increment()
    }
}
