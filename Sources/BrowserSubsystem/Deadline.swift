import FleetModel

/// Until when something must be done.
struct Deadline: Sendable {
    let instant: ContinuousClock.Instant
    /// How long that was at the start, for messages.
    let limit: Duration

    init(in limit: Duration) {
        self.limit = limit
        instant = .now + limit
    }

    private init(_ instant: ContinuousClock.Instant, _ limit: Duration) {
        self.instant = instant
        self.limit = limit
    }

    /// The earlier of this and one in so long.
    func capped(_ limit: Duration) -> Deadline {
        let own = ContinuousClock.now + limit
        return own < instant ? Deadline(own, limit) : self
    }

    /// For an answer that is made at the end of the time, and has to get here.
    func extended(by grace: Duration) -> Deadline { Deadline(instant + grace, limit) }

    var isOver: Bool { instant <= .now }

    /// - Throws: when nothing remains.
    func remaining() throws -> Duration {
        let remaining = instant - .now
        guard remaining > .zero else { throw timeout("it was over before this began") }
        return remaining
    }

    /// - Parameter state: what had been reached, and what not.
    func timeout(_ state: String) -> JobFailure {
        JobFailure(.transient, code: "browser.timeout", message: "not done within \(limit): \(state)")
    }
}
