/// Answers that still hold: pure bookkeeping, the caller brings the time.
///
/// ```
/// store ──▶ held ── lookup while its TTL lasts ──▶ held, and the last to be evicted
///            ├───── its TTL is over ────────────▶ gone
///            └───── room is needed, and it was not asked for the longest ──▶ gone (an eviction)
/// ```
package struct DNSCache {
    package struct Limits: Sendable {
        /// Answers held at most.
        package var entries: Int
        /// Bytes that they take at most, about.
        package var bytes: Int
        /// An answer is kept at least so long, whatever its TTL says, unless that is 0.
        package var ttlMin: Duration
        /// And at most so long.
        package var ttlMax: Duration
        /// The same for the answer that there is nothing.
        package var negativeTTLMax: Duration

        package init(
            entries: Int = 10_000, bytes: Int = 16 << 20, ttlMin: Duration = .zero, ttlMax: Duration = .seconds(86_400),
            negativeTTLMax: Duration = .seconds(3_600)
        ) {
            precondition(entries > 0 && bytes > 0, "a cache of nothing is none")
            self.entries = entries
            self.bytes = bytes
            self.ttlMin = ttlMin
            self.ttlMax = ttlMax
            self.negativeTTLMax = negativeTTLMax
        }
    }

    private struct Entry {
        let question: DNSQuestion
        let answer: DNSAnswer
        let expires: ContinuousClock.Instant
        let cost: Int
        /// Neighbours in the order of use, as places in `entries`.
        var older: Int?
        var newer: Int?
    }

    private let limits: Limits
    private var places: [DNSQuestion: Int] = [:]
    private var entries: [Entry?] = []
    private var free: [Int] = []
    private var oldest: Int?
    private var newest: Int?
    package private(set) var bytes = 0
    /// Entries that went for want of room.
    package private(set) var evictions = 0

    package init(limits: Limits) { self.limits = limits }

    package var count: Int { places.count }

    /// - Returns: the answer, and for how much longer it holds.
    package mutating func lookup(_ question: DNSQuestion, now: ContinuousClock.Instant) -> (
        answer: DNSAnswer, remaining: Duration
    )? {
        guard let place = places[question], let entry = entries[place] else { return nil }
        guard entry.expires > now else {
            remove(place)
            return nil
        }
        detach(place)
        attach(place)
        return (entry.answer, entry.expires - now)
    }

    /// Keeps an answer as long as it may be kept.
    ///
    /// - Returns: how long that is; zero when not at all.
    @discardableResult
    package mutating func store(_ answer: DNSAnswer, for question: DNSQuestion, now: ContinuousClock.Instant)
        -> Duration
    {
        if let place = places[question] { remove(place) }
        let lifetime = lifetime(of: answer)
        let cost = answer.cost + 2 * question.name.wire.count
        guard lifetime > .zero, cost <= limits.bytes else { return lifetime }
        while count >= limits.entries || bytes + cost > limits.bytes, let oldest {
            remove(oldest)
            evictions += 1
        }
        let entry = Entry(question: question, answer: answer, expires: now + lifetime, cost: cost)
        let place = free.popLast() ?? entries.count
        if place == entries.count { entries.append(entry) } else { entries[place] = entry }
        places[question] = place
        bytes += cost
        attach(place)
        return lifetime
    }

    private func lifetime(of answer: DNSAnswer) -> Duration {
        guard let ttl = answer.ttl, ttl > 0 else { return .zero }
        let most = answer.status == .found ? limits.ttlMax : min(limits.ttlMax, limits.negativeTTLMax)
        return min(max(.seconds(Int64(ttl)), limits.ttlMin), most)
    }

    private mutating func remove(_ place: Int) {
        guard let entry = entries[place] else { return }
        detach(place)
        entries[place] = nil
        free.append(place)
        places[entry.question] = nil
        bytes -= entry.cost
    }

    private mutating func detach(_ place: Int) {
        let (older, newer) = (entries[place]?.older, entries[place]?.newer)
        if let older { entries[older]?.newer = newer } else { oldest = newer }
        if let newer { entries[newer]?.older = older } else { newest = older }
    }

    /// As the one used last.
    private mutating func attach(_ place: Int) {
        entries[place]?.older = newest
        entries[place]?.newer = nil
        if let newest { entries[newest]?.newer = place } else { oldest = place }
        newest = place
    }
}
