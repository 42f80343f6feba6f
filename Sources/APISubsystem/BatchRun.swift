import FleetModel

/// One attempt at a batch: some calls at a time, each with a key of its own, until all have ended.
///
/// Whether the batch succeeded is decided at the end. If it did not, it fails as its most hopeful call did: throttled before
/// transient before permanent. Tried again, all its calls are made again, under the same keys.
struct BatchRun {
    private let parameters: BatchParameters
    private let caller: APICaller
    private let context: JobContext

    init(_ parameters: BatchParameters, _ caller: APICaller, _ context: JobContext) {
        self.parameters = parameters
        self.caller = caller
        self.context = context
    }

    private typealias CallResult = Result<RequestOutput, JobFailure>

    func run() async throws -> BatchOutput {
        let results = try await results()
        let failures = results.compactMap { if case .failure(let failure) = $0 { failure } else { nil } }
        let succeeded = results.count - failures.count
        let isSuccess = parameters.require == .all ? failures.isEmpty : succeeded > 0
        caller.metrics.batchEnded(isSuccess: isSuccess)
        guard isSuccess else { throw Self.failure(of: failures, among: results.count) }
        return BatchOutput(succeeded: succeeded, failed: failures.count, calls: results.map(report))
    }

    /// In the order of the calls.
    private func results() async throws -> [CallResult] {
        let calls = parameters.calls
        let inlineBytesMax = min(caller.settings.responseBytesMax, caller.settings.batchBytesMax / calls.count)
        let (caller, context) = (caller, context)
        return try await withThrowingTaskGroup(of: (Int, CallResult).self) { group in
            func start(_ index: Int) {
                group.addTask {
                    let key = "\(context.idempotencyKey)/\(index)"
                    do {
                        return (
                            index,
                            .success(
                                try await caller.call(
                                    calls[index], key: key, inlineBytesMax: inlineBytesMax, context))
                        )
                    } catch {
                        // Not the call's failure: the attempt is over, or belongs to another worker.
                        try Task.checkCancellation()
                        if error is ClaimLost { throw error }
                        return (index, .failure(JobFailure(error)))
                    }
                }
            }
            let width = min(parameters.concurrency ?? BatchParameters.concurrencyDefault, calls.count)
            for index in 0..<width { start(index) }
            var results = [CallResult?](repeating: nil, count: calls.count)
            var (next, done, failed) = (width, 0, 0)
            while let (index, result) = try await group.next() {
                results[index] = result
                done += 1
                if case .failure = result { failed += 1 }
                context.progress(
                    Double(done) / Double(calls.count),
                    "\(done) of \(calls.count) calls" + (failed > 0 ? ", \(failed) failed" : ""))
                if next < calls.count {
                    start(next)
                    next += 1
                }
            }
            return results.compactMap(\.self)
        }
    }

    private func report(_ result: CallResult) -> CallReport {
        switch result {
        case .success(var output):
            let kept = parameters.keepHeaders.map { Set($0.map { $0.lowercased() }) } ?? ["content-type"]
            output.headers = output.headers.filter { kept.contains($0.key) }
            return CallReport(response: output, error: nil)
        case .failure(let failure): return CallReport(response: nil, error: CallError(failure))
        }
    }

    private static func failure(of failures: [JobFailure], among calls: Int) -> JobFailure {
        var pause: Duration?
        var (hasTransient, hasUnsafe) = (false, false)
        for failure in failures {
            switch failure.kind {
            case .throttled(let asked): pause = max(pause ?? .zero, asked)
            case .transient: hasTransient = true
            case .unsafe: hasUnsafe = true
            case .permanent: break
            }
        }
        let kind: JobFailure.Kind =
            if let pause { .throttled(retryAfter: pause) } else if hasTransient { .transient } else if hasUnsafe {
                .unsafe
            } else { .permanent }
        let first = failures.first.map { "; the first: \($0.description.prefix(500))" } ?? ""
        return JobFailure(
            kind, code: "api.batch-failed", message: "\(failures.count) of \(calls) calls failed\(first)")
    }
}
