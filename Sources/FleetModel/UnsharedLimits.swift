import Synchronization

/// Limits that nobody else knows, for handlers under test: what is not named here is not limited.
public final class UnsharedLimits: JobLimits {
    /// A rate in units a second, and how much of it may be saved up.
    public struct Rate: Sendable {
        public var perSecond: Double
        public var burst: Double

        public init(perSecond: Double, burst: Double) {
            self.perSecond = perSecond
            self.burst = burst
        }
    }

    private struct State {
        var buckets: [String: TokenBucket] = [:]
        var free: [String: Int]
        var closed: [String: ContinuousClock.Instant] = [:]
        var spent: [String: Int] = [:]
        var number: Int64 = 0
    }

    private let state: Mutex<State>
    /// How often a full house is looked at again.
    private static let lookInterval: Duration = .milliseconds(5)

    public init(rates: [String: Rate] = [:], places: [String: Int] = [:]) {
        let now = ContinuousClock.now
        state = Mutex(
            State(
                buckets: rates.mapValues { TokenBucket(rate: $0.perSecond, burst: $0.burst, now: now) }, free: places))
    }

    /// What was used of each name, limited or not.
    public var spent: [String: Int] { state.withLock { $0.spent } }

    /// For how long each name is still closed.
    public var closed: [String: Duration] {
        state.withLock { state in
            let now = ContinuousClock.now
            return state.closed.filter { $0.value > now }.mapValues { $0 - now }
        }
    }

    public func spend(_ units: Int, of name: String, within limit: Duration) async throws {
        try await wait(for: name, within: limit) { state, now in
            if let pause = state.buckets[name]?.take(Double(units), now: now) { return pause }
            state.spent[name, default: 0] += units
            return nil
        }
    }

    public func enter(_ name: String, within limit: Duration) async throws -> LimitPlace {
        let number = Mutex<Int64>(0)
        try await wait(for: name, within: limit) { state, _ in
            if let free = state.free[name] {
                if free == 0 { return Self.lookInterval }
                state.free[name] = free - 1
            }
            state.number += 1
            number.withLock { $0 = state.number }
            return nil
        }
        return LimitPlace(name: name, number: number.withLock { $0 })
    }

    public func leave(_ place: LimitPlace) {
        state.withLock { state in
            if let free = state.free[place.name] { state.free[place.name] = free + 1 }
        }
    }

    public func close(_ name: String, for pause: Duration) {
        let until = ContinuousClock.now + min(pause, LimitBound.closeMax)
        state.withLock { $0.closed[name] = max($0.closed[name] ?? until, until) }
    }

    /// - Parameter attempt: takes what is wanted, or says how long to wait for the next look.
    private func wait(
        for name: String, within limit: Duration,
        _ attempt: (inout sending State, ContinuousClock.Instant) -> Duration?
    ) async throws {
        let end = ContinuousClock.now + limit
        while true {
            try Task.checkCancellation()
            let now = ContinuousClock.now
            let pause = try state.withLock { state -> Duration? in
                if let until = state.closed[name], until > now {
                    throw LimitError.closed(name: name, reopens: until - now)
                }
                return attempt(&state, now)
            }
            guard let pause else { return }
            guard now + pause <= end else { throw LimitError.busy(name: name, retryAfter: pause) }
            try await Task.sleep(for: pause)
        }
    }
}
