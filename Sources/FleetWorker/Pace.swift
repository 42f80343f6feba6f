/// How long a stage waits before its next batch.
///
/// A statement and its commit cost the same for one job as for a hundred. While little comes in, that cost does not
/// matter and waiting would only be felt, so each batch goes at once. Under load it is the other way round: whoever takes
/// what has come in the meantime spends most of its time on many small batches. So the stage keeps count, and above a
/// certain rate it begins batches at a fixed pace.
package struct Pace: Sendable {
    /// Jobs per second in this stage above which it waits: at the pace this makes some thirty to a batch.
    static let busyRate = 2_000.0
    /// From one batch's begin to the next's, under load.
    static let interval: Duration = .milliseconds(16)
    /// How long is counted before the rate is judged anew.
    static let window: Duration = .milliseconds(50)

    private var counted = 0
    private var since: ContinuousClock.Instant
    package private(set) var isBusy = false

    package init(now: ContinuousClock.Instant) { since = now }

    /// - Parameters:
    ///   - count: jobs in the batch that was begun at `begin`.
    ///   - now: the present time.
    ///   - isFull: whether the batch was as large as one may be, so that more is waiting already.
    /// - Returns: when the next batch may begin; nil for at once.
    package mutating func next(
        after count: Int, begunAt begin: ContinuousClock.Instant, now: ContinuousClock.Instant, isFull: Bool
    ) -> ContinuousClock.Instant? {
        counted += count
        if now - since >= Self.window {
            isBusy = Double(counted) > Self.busyRate * ((now - since) / .seconds(1))
            counted = 0
            since = now
        }
        return isBusy && !isFull ? begin + Self.interval : nil
    }

    /// Waits as `next` says.
    mutating func rest(after count: Int, begunAt begin: ContinuousClock.Instant, isFull: Bool) async {
        guard let next = next(after: count, begunAt: begin, now: .now, isFull: isFull) else { return }
        // Ends early by cancellation, which needs no other answer than the stage's own.
        try? await Task.sleep(until: next, clock: .continuous)
    }
}
