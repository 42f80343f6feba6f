internal import FleetModel
internal import Synchronization

/// What a target did since it was made.
public struct DemoCounts: Codable, Sendable, Equatable {
    /// Requests with a key, whatever came of them; those answered 507 are not among them.
    public var requests: Int
    /// Keys whose effect was applied: each once.
    public var effects: Int
    /// Requests that got as far as the effect.
    public var raw: Int
    /// `raw - effects`: requests that found their effect applied already.
    public var repeats: Int
    public var failures500: Int
    public var throttled429: Int
    /// How often each key got as far as its effect, for keys that did; on request only.
    public var keys: [String: Int]?

    private enum CodingKeys: String, CodingKey {
        case requests
        case effects
        case raw
        case repeats
        case keys
        case failures500 = "failures_500"
        case throttled429 = "throttled_429"
    }

    public init(
        requests: Int = 0, effects: Int = 0, raw: Int = 0, repeats: Int = 0, failures500: Int = 0,
        throttled429: Int = 0, keys: [String: Int]? = nil
    ) {
        self.requests = requests
        self.effects = effects
        self.raw = raw
        self.repeats = repeats
        self.failures500 = failures500
        self.throttled429 = throttled429
        self.keys = keys
    }
}

/// One request on its way.
struct Attempt: Sendable {
    enum Fate: Sendable, Equatable {
        case succeeds
        case throttled(retryAfterSeconds: Int)
        case fails
        case failsAfterEffect
    }

    let fate: Fate
    let latencyMilliseconds: Int
}

/// Keys, what became of them, and what becomes of their next request.
final class EffectLedger: Sendable {
    enum Beginning {
        case attempt(Attempt)
        case full(keys: Int)
    }

    enum End {
        case failed
        case applied(isRepeat: Bool)
    }

    private struct Entry {
        var attempts: UInt32 = 0
        var raw: UInt32 = 0
    }

    private struct State {
        var entries: [String: Entry] = [:]
        var counts = DemoCounts()
    }

    private let seed: UInt64
    private let behaviour: DemoTarget.Behaviour
    private let state = Mutex(State())

    init(seed: UInt64, behaviour: DemoTarget.Behaviour) {
        self.seed = seed
        self.behaviour = behaviour
    }

    func begin(_ key: String) -> Beginning {
        let number: UInt32? = state.withLock { state in
            guard state.entries[key] != nil || state.entries.count < behaviour.maxKeys else { return nil }
            state.counts.requests += 1
            state.entries[key, default: Entry()].attempts += 1
            return state.entries[key]?.attempts
        }
        guard let number else { return .full(keys: behaviour.maxKeys) }
        let attempt = decide(key, number)
        if case .throttled = attempt.fate { state.withLock { $0.counts.throttled429 += 1 } }
        return .attempt(attempt)
    }

    func end(_ key: String, _ attempt: Attempt) -> End {
        state.withLock { state in
            guard attempt.fate == .succeeds || attempt.fate == .failsAfterEffect else {
                state.counts.failures500 += 1
                return .failed
            }
            state.entries[key, default: Entry()].raw += 1
            let isRepeat = (state.entries[key]?.raw ?? 0) > 1
            state.counts.raw += 1
            if isRepeat { state.counts.repeats += 1 } else { state.counts.effects += 1 }
            guard attempt.fate == .succeeds else {
                state.counts.failures500 += 1
                return .failed
            }
            return .applied(isRepeat: isRepeat)
        }
    }

    func counts(withKeys: Bool) -> DemoCounts {
        state.withLock { state in
            var counts = state.counts
            if withKeys { counts.keys = state.entries.filter { $0.value.raw > 0 }.mapValues { Int($0.raw) } }
            return counts
        }
    }

    /// Drawn from seed, key and attempt alone: two runs that ask in another order meet the same fates.
    private func decide(_ key: String, _ attempt: UInt32) -> Attempt {
        var generator = SplitMix64(seed: seed).split("\(attempt) \(key)")
        let draw = Double.random(in: 0..<1, using: &generator)
        let latency = Int.random(in: behaviour.latencyMilliseconds, using: &generator)
        let fate: Attempt.Fate
        if draw < behaviour.throttled {
            fate = .throttled(retryAfterSeconds: behaviour.retryAfterSeconds)
        } else if draw < behaviour.throttled + behaviour.failures {
            fate = .fails
        } else if draw < behaviour.throttled + behaviour.failures + behaviour.failuresAfterEffect {
            fate = .failsAfterEffect
        } else {
            fate = .succeeds
        }
        return Attempt(fate: fate, latencyMilliseconds: latency)
    }
}
