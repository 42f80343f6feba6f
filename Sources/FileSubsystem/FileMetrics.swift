import Dispatch
import FleetModel
import Metrics
import RootedFiles

/// Every figure of the file subsystem. `op` is the middle of a type's name, such as `parse-json`.
struct FileMetrics: Sendable {
    private let factory: any MetricsFactory
    /// Operations under way.
    private let active: Meter
    /// Threads that run a step, and steps that wait for one, of both kinds of threads.
    private let threadsActive: Meter
    private let stepsQueued: Meter
    /// Bytes of file content that results held, that were hashed, or that were parsed.
    private let bytesRead: Counter
    /// Bytes written to files.
    private let bytesWritten: Counter
    /// Entries that listings returned.
    private let entriesListed: Counter
    /// Effects that an earlier attempt had had already, so that this one did nothing.
    private let repeats: Counter

    init(_ factory: any MetricsFactory) {
        self.factory = factory
        active = Meter(label: "gaia_file_active", factory: factory)
        threadsActive = Meter(label: "gaia_file_threads_active", factory: factory)
        stepsQueued = Meter(label: "gaia_file_steps_queued", factory: factory)
        bytesRead = Counter(label: "gaia_file_read_bytes_total", factory: factory)
        bytesWritten = Counter(label: "gaia_file_written_bytes_total", factory: factory)
        entriesListed = Counter(label: "gaia_file_entries_listed_total", factory: factory)
        repeats = Counter(label: "gaia_file_repeats_total", factory: factory)
    }

    func read(_ bytes: Int) { bytesRead.increment(by: bytes) }
    func wrote(_ bytes: Int) { bytesWritten.increment(by: bytes) }
    func listed(_ entries: Int) { entriesListed.increment(by: entries) }
    func repeated() { repeats.increment() }

    /// Counts an operation and takes its time.
    func measured<Value>(
        _ operation: String, _ loads: [FileThreads.Load], isolation: isolated (any Actor)? = #isolation,
        _ body: () async throws -> Value
    ) async throws -> Value {
        active.increment()
        threadsActive.set(loads.reduce(0) { $0 + $1.active })
        stepsQueued.set(loads.reduce(0) { $0 + $1.queued })
        let begin = DispatchTime.now().uptimeNanoseconds
        defer {
            active.decrement()
            // How long operations take, queueing for a thread included.
            Timer(label: "gaia_file_operation_seconds", dimensions: [("op", operation)], factory: factory)
                .recordNanoseconds(Int64(DispatchTime.now().uptimeNanoseconds - begin))
        }
        do {
            let value = try await body()
            count(operation, "succeeded")
            return value
        } catch {
            count(operation, JobFailure(error).kind.name)
            if let error = error as? JobFailure, Self.refusals.contains(error.code) {
                // Paths that were not let through, by reason: someone tries, or something is set up wrongly.
                Counter(
                    label: "gaia_file_refusals_total", dimensions: [("reason", String(error.code.dropFirst(5)))],
                    factory: factory
                ).increment()
            }
            throw error
        }
    }

    /// Operations that ended, by outcome: `succeeded`, or the kind of failure.
    private func count(_ operation: String, _ outcome: String) {
        Counter(
            label: "gaia_file_operations_total", dimensions: [("op", operation), ("outcome", outcome)], factory: factory
        ).increment()
    }

    private static let refusals: Set<String> = Set(
        [FileError.Reason.invalidPath, .unknownRoot, .outsideRoot, .symlink, .readOnly, .notRegular, .hardLinked].map {
            "file.\($0.rawValue)"
        })
}
