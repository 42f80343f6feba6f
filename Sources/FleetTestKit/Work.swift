import FleetModel
import TestPatience

/// The kind of job that tests run: its handler is given with the definition.
public struct Work: JobParameters, Equatable {
    public static let type: JobType = "test.work.v1"

    public var text: String
    public var number: Int?

    public init(_ text: String = "", number: Int? = nil) {
        self.text = text
        self.number = number
    }

    public func validate() throws(InvalidParameters) {
        if let number, number < 0 { throw InvalidParameters("'number' must not be negative") }
    }

    /// A definition whose runs are recorded, with a retry that comes soon.
    public static func definition(
        _ recorder: Recorder,
        retry: RetryPolicy = RetryPolicy(backoff: .fixed(.milliseconds(20)), attemptsMax: 5),
        timeout: Duration = .seconds(60),
        run: @escaping @Sendable (Work, JobContext) async throws -> String = { work, _ in work.text }
    ) -> JobDefinition {
        JobDefinition(Work.self, summary: "what the test says", retry: retry, timeout: timeout) {
            (work: Work, context: JobContext) -> Done in
            recorder.began(work, context)
            do {
                let done = Done(text: try await run(work, context), attempt: context.attempt)
                recorder.ended(context, .returned)
                return done
            } catch {
                recorder.ended(context, error is CancellationError ? .cancelled : .failed)
                throw error
            }
        }
    }
}

/// What ``Work`` yields.
public struct Done: Codable, Sendable, Equatable {
    public let text: String
    public let attempt: Int
}

/// Every run of a test's handler, in the order of their beginnings.
public final class Recorder: Sendable {
    public enum End: Sendable, Equatable { case returned, failed, cancelled }

    public struct Run: Sendable {
        public let work: Work
        public let context: JobContext
        public let at: ContinuousClock.Instant
        public var end: End?
    }

    private let state = Watched<[Run]>([])

    public init() {}

    public var runs: [Run] { state.value }

    public func runs(of key: String) -> [Run] { runs.filter { $0.context.key == key } }

    func began(_ work: Work, _ context: JobContext) {
        state.update { $0.append(Run(work: work, context: context, at: .now)) }
    }

    /// Notes a run of a handler that was not made by ``Work/definition(_:retry:timeout:run:)``.
    public func note(_ work: Work, _ context: JobContext) { began(work, context) }

    func ended(_ context: JobContext, _ end: End) {
        state.update { runs in
            let index = runs.lastIndex { $0.context.key == context.key && $0.context.token == context.token }
            if let index { runs[index].end = end }
        }
    }

    @discardableResult
    public func wait(
        for what: String, within limit: Duration = patienceOfTests, _ condition: @escaping @Sendable ([Run]) -> Bool
    ) async throws -> [Run] {
        try await state.wait(for: what, within: limit, condition)
    }

    /// Waits until the job runs, for the `times`th time.
    public func awaitRun(of key: String, times: Int = 1, within limit: Duration = patienceOfTests) async throws {
        try await wait(for: "run \(times) of \(key)", within: limit) { runs in
            runs.count { $0.context.key == key } >= times
        }
    }
}
