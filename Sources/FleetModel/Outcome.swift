/// What one run of a handler yields, before it is settled.
public enum Outcome: Sendable {
    /// Done; `output` is JSON text.
    case succeeded(output: String)
    case failed(JobFailure)
    /// The handler asked to be called again later: nothing has failed and nothing is spent.
    case snoozed(JobSnooze)
    /// It was called off, and the handler stopped.
    case cancelled(JobFailure)
    /// The worker gives the job back untouched, for another to run: nothing is spent.
    case handedBack
}

/// Thrown by a handler that finds it is too early: the job comes again after the pause. No attempt is spent and no error
/// is noted; the policy's `ageMax` still ends it.
public struct JobSnooze: Error, Sendable, Equatable {
    public let pause: Duration

    public init(for pause: Duration) { self.pause = pause }
}

/// What the ledger shall say after an outcome: the decision, made in one place and without I/O.
public enum Settlement: Sendable, Equatable {
    case succeed(output: String)
    /// Another try after `delay`. `spendsAttempt` is false when the other side asked for the pause.
    case retry(JobFailure, delay: Duration, spendsAttempt: Bool)
    case snooze(delay: Duration)
    case discard(JobFailure)
    case cancel(JobFailure)
    /// Set aside for an operator.
    case doubt(JobFailure)
    case handBack

    /// The longest pause that a throttling answer or a snooze may ask for.
    public static let retryAfterMax: Duration = .seconds(24 * 60 * 60)

    /// - Parameters:
    ///   - attempt: the attempt that ended, from 1.
    ///   - age: since the job's first claim.
    public init(
        _ outcome: Outcome, attempt: Int, attemptsMax: Int, age: Duration = .zero, policy: RetryPolicy,
        using random: inout some RandomNumberGenerator
    ) {
        func again(_ failure: JobFailure, after delay: Duration, spendsAttempt: Bool) -> Settlement {
            age + delay > policy.ageMax
                ? .discard(failure) : .retry(failure, delay: delay, spendsAttempt: spendsAttempt)
        }
        func bounded(_ pause: Duration) -> Duration { max(.zero, min(pause, Self.retryAfterMax)) }
        switch outcome {
        case .succeeded(let output): self = .succeed(output: output)
        case .handedBack: self = .handBack
        case .cancelled(let failure): self = .cancel(failure)
        case .snoozed(let snooze):
            let delay = bounded(snooze.pause)
            self =
                age + delay > policy.ageMax
                ? .discard(
                    JobFailure(
                        .permanent, code: "too-old",
                        message: "snoozed beyond the type's maximum age of \(policy.ageMax)"))
                : .snooze(delay: delay)
        case .failed(let failure):
            switch failure.kind {
            case .permanent: self = .discard(failure)
            case .unsafe: self = .doubt(failure)
            case .throttled(let pause): self = again(failure, after: bounded(pause), spendsAttempt: false)
            case .transient:
                self =
                    attempt >= attemptsMax
                    ? .discard(failure)
                    : again(
                        failure, after: policy.delay(afterAttempt: attempt, using: &random), spendsAttempt: true)
            }
        }
    }

    /// The state that follows.
    public var state: JobState {
        switch self {
        case .succeed: .succeeded
        case .retry: .retrying
        case .snooze: .scheduled
        case .discard: .discarded
        case .cancel: .cancelled
        case .doubt: .indeterminate
        case .handBack: .queued
        }
    }
}
