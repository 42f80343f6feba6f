/// When a failed job is tried again, and how often.
///
/// Source of the default: full jitter, as in M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog,
/// 2015): the pause is drawn evenly from zero to `base · 2^(attempt-1)`, at most `cap`.
public struct RetryPolicy: Sendable, Equatable {
    public var backoff: Backoff
    /// How many attempts a job gets in all, at least 1.
    public var attemptsMax: Int
    /// How old a job may be, counted from its first claim, for another try to be made. Throttling and snoozing spend no
    /// attempt; this ends them too.
    public var ageMax: Duration

    /// The most attempts that a message may ask for.
    public static let attemptsCeiling = 1_000
    /// A week.
    public static let ageDefault: Duration = .seconds(7 * 86_400)

    public init(
        backoff: Backoff = .exponentialFullJitter(base: .seconds(1), cap: .seconds(600)), attemptsMax: Int = 10,
        ageMax: Duration = RetryPolicy.ageDefault
    ) {
        precondition(attemptsMax >= 1, "a job needs at least one attempt")
        self.backoff = backoff
        self.attemptsMax = attemptsMax
        self.ageMax = ageMax
    }

    /// One attempt, no retry.
    public static let never = RetryPolicy(attemptsMax: 1)

    /// The pause before the next try, after attempt number `attempt` (from 1) has failed.
    public func delay(afterAttempt attempt: Int, using random: inout some RandomNumberGenerator) -> Duration {
        backoff.delay(afterAttempt: attempt, using: &random)
    }
}

extension Duration {
    /// Whole milliseconds, rounded down; kept within what 64 bits hold.
    public var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000)
        if overflow { return seconds > 0 ? .max : .min }
        return product + attoseconds / 1_000_000_000_000_000
    }

    /// Seconds as a floating-point number, for printing and for statistics.
    public var inSeconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) / 1e18
    }
}
