import FleetModel
import Synchronization

/// How fast one download may go: as its job says, and as the fleet has room. What is not paid for is not read from the
/// connection, so that the sender slows down, not our memory fills up.
final class Bandwidth: Sendable {
    /// What may be saved up. It makes up for tasks that are woken late, and is the longest burst.
    static let saved: Duration = .milliseconds(200)
    /// The fleet's limit, in bytes.
    static let limitName = "network.bytes"

    private let own: Mutex<TokenBucket>?
    /// What is taken from `own` at a time. A withdrawal of all that can be saved up would wait for a full bucket, and what
    /// flows into a full one is lost.
    private let step: Int
    private let limits: any JobLimits
    private let limitWait: Duration

    /// - Parameter bytesPerSecond: the job's own limit.
    init(bytesPerSecond: Int?, limits: any JobLimits, limitWait: Duration) {
        own = bytesPerSecond.map { rate in
            let rate = Double(rate)
            let now = ContinuousClock.now
            var bucket = TokenBucket(rate: rate, burst: max(1, rate * (Self.saved / .seconds(1))), now: now)
            // A download begins with nothing saved: a short one is held to its rate like a long one.
            _ = bucket.take(bucket.burst, now: now)
            return Mutex(bucket)
        }
        step = bytesPerSecond.map { max(1, Int(Double($0) * (Self.saved / .seconds(1)) / 4)) } ?? .max
        self.limits = limits
        self.limitWait = limitWait
    }

    /// Waits until so many bytes may be taken.
    ///
    /// - Throws: `LimitError` when the fleet has no room for too long; `CancellationError`.
    func spend(_ count: Int) async throws {
        var left = own == nil ? 0 : count
        while left > 0 {
            let part = min(left, step)
            while let pause = own?.withLock({ $0.take(Double(part), now: .now) }) { try await Task.sleep(for: pause) }
            left -= part
        }
        try await limits.spend(count, of: Self.limitName, within: limitWait)
    }
}
