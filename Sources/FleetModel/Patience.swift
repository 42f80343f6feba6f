/// Tries again what may succeed later, with a growing jittered pause: the one loop that all retries of our own links go
/// through, so that none is without pause and none without an end.
public struct Patience: Sendable {
    public var initial: Duration
    public var cap: Duration
    /// How long to go on in all; nil for as long as the task is not cancelled.
    public var limit: Duration?

    public init(initial: Duration = .milliseconds(50), cap: Duration = .seconds(2), limit: Duration? = nil) {
        self.initial = initial
        self.cap = cap
        self.limit = limit
    }

    /// The pause after failure number `count` (from 1): full jitter over the upper half, so that it never is nothing.
    public func pause(afterFailure count: Int) -> Duration {
        let ceiling = min(initial.milliseconds << min(max(count - 1, 0), 20), cap.milliseconds)
        return .milliseconds(Int64.random(in: max(ceiling / 2, 1)...max(ceiling, 1)))
    }

    /// Calls `body` until it succeeds.
    ///
    /// - Parameters:
    ///   - isHopeless: an error that no waiting mends ends it at once.
    ///   - onFailure: told of each failure and of the pause that follows, to log it.
    /// - Throws: the last error when hopeless or out of time; `CancellationError` when the task is cancelled.
    public func callAsFunction<Value>(
        isolation: isolated (any Actor)? = #isolation,
        isHopeless: (any Error) -> Bool = { _ in false },
        onFailure: (any Error, Int, Duration) -> Void = { _, _, _ in },
        _ body: () async throws -> Value
    ) async throws -> Value {
        let begin = ContinuousClock.now
        var failures = 0
        while true {
            do {
                return try await body()
            } catch {
                failures += 1
                try Task.checkCancellation()
                let pause = pause(afterFailure: failures)
                if isHopeless(error) { throw error }
                if let limit, ContinuousClock.now - begin + pause > limit { throw error }
                onFailure(error, failures, pause)
                try await Task.sleep(for: pause)
            }
        }
    }
}
