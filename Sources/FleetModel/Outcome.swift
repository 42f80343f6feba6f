/// What one run of a handler yields, before it is settled.
public enum Outcome: Sendable {
    /// Done; `output` is JSON text.
    case succeeded(output: String)
    case failed(JobFailure)
    /// The worker gives the job back untouched, for another to run: nothing is spent.
    case handedBack
}

/// What the ledger shall say after an outcome: the decision, made in one place and without I/O.
public enum Settlement: Sendable, Equatable {
    case succeed(output: String)
    /// Another try after `delay`. `spendsAttempt` is false when the other side asked for the pause.
    case retry(JobFailure, delay: Duration, spendsAttempt: Bool)
    case discard(JobFailure)
    /// Set aside for an operator.
    case doubt(JobFailure)
    case handBack

    /// The longest pause that a throttling answer may ask for.
    public static let retryAfterMax: Duration = .seconds(24 * 60 * 60)

    public init(
        _ outcome: Outcome, attempt: Int, attemptsMax: Int, policy: RetryPolicy,
        using random: inout some RandomNumberGenerator
    ) {
        switch outcome {
        case .succeeded(let output): self = .succeed(output: output)
        case .handedBack: self = .handBack
        case .failed(let failure):
            switch failure.kind {
            case .permanent: self = .discard(failure)
            case .unsafe: self = .doubt(failure)
            case .throttled(let pause):
                let bounded = max(.zero, min(pause, Self.retryAfterMax))
                self = .retry(failure, delay: bounded, spendsAttempt: false)
            case .transient:
                self =
                    attempt >= attemptsMax
                    ? .discard(failure)
                    : .retry(failure, delay: policy.delay(afterAttempt: attempt, using: &random), spendsAttempt: true)
            }
        }
    }

    /// The state that follows.
    public var state: JobState {
        switch self {
        case .succeed: .succeeded
        case .retry: .retrying
        case .discard: .discarded
        case .doubt: .indeterminate
        case .handBack: .queued
        }
    }
}
