import FleetModel
import Synchronization

/// The circuit breakers of all hosts that a worker calls, bounded in number.
final class BreakerTable: Sendable {
    private struct Entry {
        var breaker: CircuitBreaker
        var usedAt: ContinuousClock.Instant
    }

    private let entries = Mutex<[String: Entry]>([:])
    private let rules: BreakerRules
    private let hostsMax: Int

    /// - Parameter hostsMax: how many hosts are remembered; when there are more the least used are forgotten.
    init(_ rules: BreakerRules, hostsMax: Int) {
        self.rules = rules
        self.hostsMax = hostsMax
    }

    /// - Parameter host: with its port, as two services on one machine fail apart.
    func admit(_ host: String, _ now: ContinuousClock.Instant = .now) -> CircuitBreaker.Verdict {
        entries.withLock { entries in
            if entries[host] == nil {
                if entries.count >= hostsMax { Self.forgetSome(&entries, hostsMax) }
                entries[host] = Entry(breaker: CircuitBreaker(rules, now: now), usedAt: now)
            }
            entries[host]?.usedAt = now
            // It is there, so the other branch is never taken.
            return entries[host]?.breaker.admit(now) ?? .wait(.zero)
        }
    }

    /// - Returns: what became of the breaker, if anything did.
    func end(
        _ host: String, _ pass: CircuitBreaker.Pass, _ end: CircuitBreaker.CallEnd,
        _ now: ContinuousClock.Instant = .now
    ) -> CircuitBreaker.Change? {
        entries.withLock { $0[host]?.breaker.end(pass, end, now) }
    }

    /// Whether this worker's own calls of late show the host to be well.
    func isProvenWell(_ host: String, _ now: ContinuousClock.Instant = .now) -> Bool {
        entries.withLock { $0[host]?.breaker.isProvenWell(now) ?? false }
    }

    /// How many breakers are in each state.
    func counts(_ now: ContinuousClock.Instant = .now) -> [CircuitBreaker.State: Int] {
        entries.withLock { entries in
            entries.values.reduce(into: [:]) { $0[$1.breaker.state(now), default: 0] += 1 }
        }
    }

    /// Hosts worth a look: those with failures of late and those that are left alone, the worst first.
    func statuses(atMost limit: Int, _ now: ContinuousClock.Instant = .now) -> [BreakerStatus] {
        let all = entries.withLock { entries in
            entries.map { host, entry in
                let counts = entry.breaker.counts(now)
                return BreakerStatus(
                    host: host, state: entry.breaker.state(now).rawValue, calls: counts.calls,
                    failures: counts.failures,
                    pauseMilliseconds: (entry.breaker.pause(now)?.milliseconds).map { Int($0) })
            }
        }
        let sick = all.filter { $0.state != CircuitBreaker.State.closed.rawValue || $0.failures > 0 }
        return Array(sick.sorted { ($1.state, $1.failures, $0.host) < ($0.state, $0.failures, $1.host) }.prefix(limit))
    }

    /// A tenth at a time, so that the search is not made for every host that comes.
    private static func forgetSome(_ entries: inout [String: Entry], _ hostsMax: Int) {
        let oldest = entries.sorted { $0.value.usedAt < $1.value.usedAt }.prefix(max(1, hostsMax / 10))
        for (host, _) in oldest { entries.removeValue(forKey: host) }
    }
}

/// A host's circuit breaker as a person sees it.
public struct BreakerStatus: Codable, Sendable, Hashable {
    /// With its port.
    public let host: String
    /// `closed`, `open` or `half-open`.
    public let state: String
    /// Calls that ended within the window, and how many of them failed.
    public let calls: Int
    public let failures: Int
    /// How long no call goes out yet, in milliseconds.
    public let pauseMilliseconds: Int?

    enum CodingKeys: String, CodingKey {
        case host, state, calls, failures
        case pauseMilliseconds = "pause_ms"
    }
}
