/// Callers waiting for a connection: first come, first served, each until its deadline, no more than `limit`.
package struct WaitingLine<Waiter> {
    private var line = FIFO<(waiter: Waiter, deadline: Moment)>()
    package let limit: Int

    package init(limit: Int) { self.limit = limit }

    package var count: Int { line.count }
    /// All wait equally long, so the first to have come is the first to give up.
    package var nextDeadline: Moment? { line.first?.deadline }

    /// - Returns: false if the line is full.
    package mutating func append(_ waiter: Waiter, deadline: Moment) -> Bool {
        guard line.count < limit else { return false }
        line.append((waiter, deadline))
        return true
    }

    package mutating func popFirst() -> Waiter? { line.popFirst()?.waiter }

    package mutating func popExpired(_ now: Moment) -> Waiter? {
        guard let first = line.first, first.deadline <= now else { return nil }
        return line.popFirst()?.waiter
    }

    package mutating func remove(where matches: (Waiter) -> Bool) -> Waiter? {
        line.remove { matches($0.waiter) }?.waiter
    }

    package mutating func removeAll() -> [Waiter] { line.removeAll().map(\.waiter) }
}

/// How many connections there should be, and when to try for the next: decides, opens nothing.
///
/// While none is up only one attempt is made at a time, so that an absent server is asked once per backoff and not once
/// per connection.
package struct Roster {
    package enum Verdict: Equatable {
        case retry(at: Moment)
        /// No attempt has ever succeeded, and this error is not one that time mends.
        case giveUp
    }

    package let size: Int
    private let backoff: PostgresBackoff
    package private(set) var up = 0
    package private(set) var attempts = 0
    package private(set) var failures = 0
    package private(set) var hasEverConnected = false
    package private(set) var nextAttempt: Moment?

    package init(size: Int, backoff: PostgresBackoff) {
        self.size = size
        self.backoff = backoff
    }

    /// How many attempts to begin now; they count as begun.
    package mutating func attemptsToBegin(_ now: Moment) -> Int {
        if let nextAttempt, now < nextAttempt { return 0 }
        let wanted = size - up - attempts
        let allowed = up == 0 || failures > 0 ? min(wanted, 1 - attempts) : wanted
        guard allowed > 0 else { return 0 }
        nextAttempt = nil
        attempts += allowed
        return allowed
    }

    package mutating func succeeded() {
        attempts -= 1
        up += 1
        failures = 0
        nextAttempt = nil
        hasEverConnected = true
    }

    /// - Parameter random: gives a number from 0 to 1.
    package mutating func failed(_ error: PostgresError, _ now: Moment, random: () -> Double) -> Verdict {
        attempts -= 1
        failures += 1
        if error.forbidsConnecting, !hasEverConnected { return .giveUp }
        let at = now + backoff.ceiling(failures: failures) * random()
        nextAttempt = at
        return .retry(at: at)
    }

    package mutating func lost() { up -= 1 }

    /// When to look again, if an attempt is wanted and put off.
    package var nextDeadline: Moment? { up + attempts < size ? nextAttempt : nil }
}
