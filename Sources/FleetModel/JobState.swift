/// Where a job is. The names are those of the ledger's `state` column and of routing keys.
public enum JobState: String, Sendable, Hashable, CaseIterable, Codable {
    /// Waits for its time; nothing is in the broker. Becomes `queued` when the dispatcher stages it.
    case scheduled
    /// In the broker, or on its way there. Becomes `running` when a worker claims it.
    case queued
    /// Claimed: one attempt owns it by its token.
    case running
    /// An attempt failed and another is due later. Becomes `queued` when the dispatcher stages it.
    case retrying
    /// Its effect has been applied and its output is stored. Final.
    case succeeded
    /// Given up after a permanent error or the last attempt; payload and every error are kept. Final.
    case discarded
    /// Called off before it could succeed. Final.
    case cancelled
    /// Its worker died half way and it must not be repeated blindly; an operator decides. Final until then.
    case indeterminate

    /// Whether nothing more happens to the job by itself.
    public var isFinal: Bool {
        switch self {
        case .succeeded, .discarded, .cancelled, .indeterminate: true
        case .scheduled, .queued, .running, .retrying: false
        }
    }
}
