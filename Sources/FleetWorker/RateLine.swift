import FleetModel
import FleetStore

/// The units that this worker has of one rate, and who waits for more: decides, and does no I/O itself.
///
/// The ledger grants units in stretches of time: number k of a grant may be used from a certain moment on. Whoever waits is
/// served in order as the units come. One that nobody has used a while after its time is given back, so that what a worker
/// has saved up can never be more than flows in that while: this is what holds the rate over any stretch of time.
///
/// ```
///  spend ──▶ units here and nobody waits ──▶ done
///     └────▶ line ◀── turn: units whose time has come        question ──▶ ledger ──▶ settle
///              └──▶ late: busy │ unavailable                    first in line lacks, others want, unused
/// ```
package struct RateLine {
    /// Units of one answer.
    private struct Grant {
        let at: ContinuousClock.Instant
        /// From when they flow, in seconds after `at`; below zero, so much has flowed already.
        let ahead: Double
        let rate: Double
        let units: Double
        var used = 0.0

        var left: Double { max(0, units - used) }

        /// How many may be used by then.
        func flowed(_ now: ContinuousClock.Instant) -> Double {
            now < at ? 0 : min(units, max(0, ((now - at) / .seconds(1) - ahead) * rate))
        }

        func comes(_ number: Double) -> ContinuousClock.Instant { at + .seconds(max(0, ahead + number / rate)) }
    }

    private struct Waiter {
        let units: Double
        let began: ContinuousClock.Instant
        let deadline: ContinuousClock.Instant
        /// Wants them now or not at all: it has no time but that of a question.
        var isImpatient: Bool { deadline <= began }
    }

    /// How long units may be used after their time.
    package static let lifetime: Duration = .milliseconds(200)
    /// No more are asked for while some are promised for later than this, except by the first in line.
    package static let lead: Duration = .milliseconds(100)
    /// For how long units are kept ready, by what was used lately.
    static let reserveSeconds = 0.1
    /// How exactly a wait ends with its time, and how often what is unused is given back.
    package static let tick: Duration = .milliseconds(100)
    /// Over how long use is measured at least.
    private static let measure: Duration = .milliseconds(20)
    /// Sums of fractions are not exact.
    private static let tolerance = 1e-6

    let name: String
    private(set) var rule: LimitRule
    private var grants: [Grant] = []
    private var line = WaitLine<Waiter>()
    private var lineUnits = 0.0
    private var unused = 0.0
    /// Units a second used lately, as far as they were measured.
    private var pace = 0.0
    private var used = 0.0
    private var measuredAt: ContinuousClock.Instant
    private var usedAt: ContinuousClock.Instant
    private var givenBackAt: ContinuousClock.Instant
    /// The question that is under way: for whom it asks, and who stood last in line then.
    private var question: (for: Int64?, last: Int64)?
    private var retryAt: ContinuousClock.Instant
    /// Why the last question failed.
    private var trouble: String?

    package init(_ name: String, _ rule: LimitRule, now: ContinuousClock.Instant) {
        self.name = name
        self.rule = rule
        (measuredAt, usedAt, givenBackAt, retryAt) = (now, now, now, now)
    }

    private var rate: Double { rule.rate ?? .infinity }
    private var left: Double { grants.reduce(0) { $0 + $1.left } }
    /// Up to when units are promised.
    private var end: ContinuousClock.Instant? { grants.last.map { $0.comes($0.units) } }

    var waiting: Int { line.count }

    /// Whether the reserve should be asked for.
    package func isLow(_ now: ContinuousClock.Instant) -> Bool {
        question == nil && now >= retryAt && left < min(pace, rate) * Self.reserveSeconds / 2
    }

    /// Whether there is nothing to remember.
    package func isIdle(_ now: ContinuousClock.Instant) -> Bool {
        line.isEmpty && grants.isEmpty && unused <= 0 && question == nil && now - usedAt > .seconds(1)
    }

    // MARK: Using

    /// Uses units that are here, unless others wait for them.
    package mutating func spend(_ units: Double, now: ContinuousClock.Instant) -> Bool {
        line.isEmpty && take(units, now: now)
    }

    private mutating func take(_ units: Double, now: ContinuousClock.Instant) -> Bool {
        expire(now)
        var ready = 0.0
        for grant in grants { ready += max(0, grant.flowed(now) - grant.used) }
        guard ready >= units - Self.tolerance else { return false }
        var open = units
        for index in grants.indices where open > 0 {
            let part = min(open, max(0, grants[index].flowed(now) - grants[index].used))
            grants[index].used += part
            open -= part
        }
        grants.removeAll { $0.left <= Self.tolerance }
        used += units
        usedAt = now
        return true
    }

    /// What is too old is given back with the next question.
    private mutating func expire(_ now: ContinuousClock.Instant) {
        for index in grants.indices {
            let old = grants[index].flowed(now - Self.lifetime)
            guard old > grants[index].used else { continue }
            unused += old - grants[index].used
            grants[index].used = old
        }
        grants.removeAll { $0.left <= Self.tolerance }
    }

    /// Gets in line.
    ///
    /// - Returns: why not, when it is certain that the wait would be too long.
    package mutating func wait(
        _ id: Int64, units: Double, within limit: Duration, now: ContinuousClock.Instant
    ) -> LimitError? {
        let waiter = Waiter(units: units, began: now, deadline: now + limit)
        // If the whole fleet's rate were ours, and a full burst still to be had.
        let best = (lineUnits + units - left - (rule.burst ?? 0)) / rate
        if best > max(0, limit / .seconds(1)) { return .busy(name: name, retryAfter: .seconds(best)) }
        if waiter.isImpatient, !line.isEmpty || !grants.isEmpty {
            return .busy(name: name, retryAfter: max(.zero, (comes(lineUnits + units) ?? now) - now))
        }
        line.append(waiter, id: id)
        lineUnits += units
        return nil
    }

    /// When so many units of what is promised are there; nil when fewer are.
    private func comes(_ units: Double) -> ContinuousClock.Instant? {
        var open = units
        for grant in grants {
            if open <= grant.left + Self.tolerance { return grant.comes(grant.used + open) }
            open -= grant.left
        }
        return nil
    }

    package mutating func abandon(_ id: Int64) { leave(id) }

    private mutating func leave(_ id: Int64) {
        if let waiter = line.remove(id) { lineUnits = line.isEmpty ? 0 : lineUnits - waiter.units }
    }

    /// Lets everyone through, or nobody.
    package mutating func clear(_ error: LimitError? = nil) -> [LimitOutcome] {
        let outcomes = line.all.map { id, _ in error.map { LimitOutcome.failed(id, $0) } ?? .done(id) }
        line = WaitLine()
        lineUnits = 0
        return outcomes
    }

    package mutating func change(_ rule: LimitRule) { self.rule = rule }

    // MARK: Time

    /// Serves those whose units have come, and ends waits whose time is over.
    package mutating func turn(_ now: ContinuousClock.Instant) -> [LimitOutcome] {
        var outcomes: [LimitOutcome] = []
        while let (id, waiter) = line.first, take(waiter.units, now: now) {
            leave(id)
            outcomes.append(.done(id))
        }
        expire(now)
        let isFar = end.map { $0 - now > Self.lead } ?? false
        let late = line.remove { _, waiter in
            // One that came while another's question was under way, which has taken what there is.
            waiter.isImpatient ? question == nil && isFar : waiter.deadline <= now
        }
        outcomes += late.map { id, waiter in .failed(id, lateness(waiter)) }
        lineUnits = line.isEmpty ? 0 : lineUnits - late.reduce(0) { $0 + $1.waiter.units }
        let passed = now - measuredAt
        if passed >= Self.measure {
            pace = (pace + used / (passed / .seconds(1))) / 2
            used = 0
            measuredAt = now
        }
        return outcomes
    }

    private func lateness(_ waiter: Waiter) -> LimitError {
        if let trouble { return .unavailable(name: name, reason: trouble) }
        return .busy(name: name, retryAfter: .seconds(min(3_600, max(0, lineUnits - left) / rate)))
    }

    /// When to have the next turn; nil when there is nothing to wait for.
    package mutating func wake(_ now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        if let (_, waiter) = line.first {
            var next = min(comes(waiter.units) ?? now + Self.tick, now + Self.tick)
            if question == nil, let end, lineUnits > left { next = min(next, max(end - Self.lead, retryAt)) }
            return next
        }
        return !grants.isEmpty || unused > 0 ? now + Self.tick : nil
    }

    // MARK: Asking

    /// What to ask the ledger, if anything. The answer goes to ``settle(_:_:)``.
    package mutating func ask(_ now: ContinuousClock.Instant) -> UnitsQuestion? {
        guard question == nil, now >= retryAt else { return nil }
        let isFar = end.map { $0 - now > Self.lead } ?? false
        if isFar, line.isEmpty {
            // Promised to somebody who has gone.
            unused += grants.reduce(0) { $0 + $1.left }
            grants = []
        }
        let left = left
        let surplus = left - lineUnits
        let reserve = pace * Self.reserveSeconds >= 1 ? min(pace, rate) * Self.reserveSeconds : 0
        var asked = UnitsQuestion(name: name, rule: rule.name, first: 0, wait: .zero, more: 0, unused: 0)
        var askedFor: Int64?
        if surplus < -Self.tolerance, !isFar {
            var covered = left
            for (id, waiter) in line.all {
                covered -= waiter.units
                guard covered < -Self.tolerance else { continue }
                askedFor = id
                asked.first = -covered
                asked.wait = max(.zero, waiter.deadline - now)
                break
            }
            asked.more = -surplus - asked.first + reserve
        } else if surplus >= 0, surplus < reserve / 2 {
            asked.more = reserve - surplus
        } else if unused <= Self.tolerance || now - givenBackAt < Self.tick {
            return nil
        }
        // Given back once: were the answer lost, twice would be too much.
        asked.unused = unused
        unused = 0
        givenBackAt = now
        question = (askedFor, line.lastID)
        return asked
    }

    /// The ledger's answer.
    package mutating func settle(_ answer: UnitsAnswer, _ now: ContinuousClock.Instant) -> [LimitOutcome] {
        guard let question else { return [] }
        self.question = nil
        trouble = nil
        switch answer {
        case .granted(let units, let ahead, let rate):
            if units > 0 { grants.append(Grant(at: now, ahead: ahead, rate: rate, units: units)) }
            // Nothing to be had without waiting: do not ask for a reserve again at once.
            if units <= 0 { retryAt = now + Self.tick / 2 }
            return turn(now) + refuse { id, waiter in waiter.isImpatient && id <= question.last ? .zero : nil }
        case .busy(let pause):
            // Whoever stands behind the one that was asked for would wait longer still.
            return refuse { id, waiter in
                id == question.for || id > question.for ?? 0 && waiter.deadline < now + pause ? pause : nil
            }
        case .closed(let pause): return clear(.closed(name: name, reopens: pause))
        case .unlimited: return clear()
        case .fenced:
            retryAt = now + Self.tick
            return []
        }
    }

    private mutating func refuse(_ pause: (Int64, Waiter) -> Duration?) -> [LimitOutcome] {
        var outcomes: [LimitOutcome] = []
        for (id, waiter) in Array(line.all) {
            guard let pause = pause(id, waiter) else { continue }
            leave(id)
            outcomes.append(.failed(id, .busy(name: name, retryAfter: pause)))
        }
        return outcomes
    }

    /// The question was not answered.
    package mutating func fail(_ reason: String, retryAfter pause: Duration, _ now: ContinuousClock.Instant)
        -> [LimitOutcome]
    {
        guard let question else { return [] }
        self.question = nil
        trouble = reason
        retryAt = now + pause
        let out = line.remove { id, waiter in waiter.isImpatient && id <= question.last }
        lineUnits = line.isEmpty ? 0 : lineUnits - out.reduce(0) { $0 + $1.waiter.units }
        return out.map { .failed($0.id, .unavailable(name: name, reason: reason)) }
    }
}
