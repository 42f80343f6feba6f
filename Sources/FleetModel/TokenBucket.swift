/// A token bucket: so many units a second, and a burst that may be saved up. Pure; the caller brings the time.
///
/// A withdrawal larger than the burst is granted when the bucket is full and leaves it in debt, so that a rate holds for
/// pieces of any size.
public struct TokenBucket: Sendable, Equatable {
    /// Units a second, above zero.
    public private(set) var rate: Double
    /// The most that can be saved up, in units.
    public private(set) var burst: Double
    /// What is there; below zero after a large withdrawal.
    public private(set) var units: Double
    private var filledAt: ContinuousClock.Instant

    /// A full bucket.
    public init(rate: Double, burst: Double, now: ContinuousClock.Instant) {
        precondition(rate > 0 && burst > 0, "a bucket that is never filled would be waited for without end")
        self.rate = rate
        self.burst = burst
        units = burst
        filledAt = now
    }

    /// Takes `wanted` units, or says how long to wait for them.
    ///
    /// - Returns: nil when they were taken.
    public mutating func take(_ wanted: Double, now: ContinuousClock.Instant) -> Duration? {
        fill(now)
        let needed = min(wanted, burst)
        guard units >= needed else { return .seconds((needed - units) / rate) }
        units -= wanted
        return nil
    }

    /// Changes the limit; what was saved stays, as far as it fits.
    public mutating func change(rate: Double, burst: Double, now: ContinuousClock.Instant) {
        fill(now)
        self.rate = rate
        self.burst = burst
        units = min(units, burst)
    }

    private mutating func fill(_ now: ContinuousClock.Instant) {
        guard now > filledAt else { return }
        units = min(burst, units + rate * ((now - filledAt) / .seconds(1)))
        filledAt = now
    }
}
