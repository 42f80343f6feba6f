import FleetModel
import FleetStore

/// The places of one name that this worker may use, and who waits for one: decides, and does no I/O itself.
///
/// The worker says to the ledger how many it uses and wants; the ledger says how many it may use. While such a word is under
/// way the worker uses no more than it said, since what it had beyond that may be another's by then.
///
/// ```
///  enter ──▶ free here and nobody waits ──▶ taken ──▶ leave
///     └────▶ line ◀── turn: places that came free        question: used, wanted ──▶ ledger ──▶ settle: share
///              └──▶ late: busy │ unavailable
/// ```
package struct PlaceLine {
    private struct Waiter {
        let began: ContinuousClock.Instant
        let deadline: ContinuousClock.Instant
        var isImpatient: Bool { deadline <= began }
    }

    /// How often the ledger is asked while somebody waits, and how long places that came free are kept for the next job.
    package static let tick: Duration = .milliseconds(100)

    let name: String
    private(set) var rule: LimitRule
    /// As many may be used.
    private var share = 0
    /// As many are ours by what the ledger was told and has said last.
    private var held = 0
    private var taken: Set<Int64> = []
    private var line = WaitLine<Waiter>()
    /// The most that was used or waited for, in the present tick and in the one before: what is wanted.
    private var peak = 0
    private var peakBefore = 0
    private var peakAt: ContinuousClock.Instant
    /// Less was had than wanted, so others may want some too: nothing is kept for later, and what comes free is told at once.
    private var isPressed = false
    /// Something happened that the ledger may answer otherwise.
    private var isNews = false
    private var askedAt: ContinuousClock.Instant
    private var retryAt: ContinuousClock.Instant
    /// The word that is under way: how many it said are used, and who stood last in line then.
    private var question: (used: Int, wanted: Int, last: Int64)?
    private var trouble: String?

    package init(_ name: String, _ rule: LimitRule, now: ContinuousClock.Instant) {
        self.name = name
        self.rule = rule
        (peakAt, askedAt, retryAt) = (now, now - Self.tick, now)
    }

    private var usable: Int { question.map { min(share, $0.used) } ?? share }
    private var wanted: Int { taken.count + line.count }

    var waiting: Int { line.count }

    package var isIdle: Bool { line.isEmpty && taken.isEmpty && held == 0 && question == nil }

    // MARK: Using

    /// Takes a place that is free here, unless others wait for it.
    ///
    /// - Parameter number: the place's, if it is taken.
    package mutating func enter(_ number: Int64) -> Bool {
        guard line.isEmpty, taken.count < usable else { return false }
        taken.insert(number)
        peak = max(peak, wanted)
        return true
    }

    /// Gets in line. The id becomes the number of the place.
    package mutating func wait(_ id: Int64, within limit: Duration, now: ContinuousClock.Instant) -> LimitError? {
        if limit <= .zero, !line.isEmpty { return .busy(name: name, retryAfter: Self.tick) }
        line.append(Waiter(began: now, deadline: now + limit), id: id)
        peak = max(peak, wanted)
        isNews = true
        return nil
    }

    /// - Returns: whether somebody may be waiting for it. Otherwise the next tick sees to it.
    package mutating func leave(_ number: Int64) -> Bool {
        // One of an epoch that has ended is no place of ours any more.
        taken.remove(number) != nil && (!line.isEmpty || isPressed)
    }

    package mutating func abandon(_ id: Int64) { line.remove(id) }

    /// Somebody who waits, or a place that came free, in another worker.
    package mutating func hint() {
        isNews = true
        isPressed = true
    }

    /// Lets everyone through, or nobody.
    package mutating func clear(_ error: LimitError? = nil) -> [LimitOutcome] {
        let outcomes = line.all.map { id, _ in error.map { LimitOutcome.failed(id, $0) } ?? .done(id, place: id) }
        line = WaitLine()
        return outcomes
    }

    package mutating func change(_ rule: LimitRule) {
        isNews = isNews || rule != self.rule
        self.rule = rule
    }

    /// The epoch has ended, and with it whatever was held.
    package mutating func lose() {
        (share, held) = (0, 0)
        taken = []
        isNews = !line.isEmpty
    }

    // MARK: Time

    package mutating func turn(_ now: ContinuousClock.Instant) -> [LimitOutcome] {
        var outcomes: [LimitOutcome] = []
        while taken.count < usable, let (id, _) = line.first {
            line.remove(id)
            taken.insert(id)
            outcomes.append(.done(id, place: id))
        }
        // One that is impatient has its question's time.
        for (id, waiter) in line.remove(where: { !$1.isImpatient && $1.deadline <= now }) {
            outcomes.append(.failed(id, lateness(now - waiter.began)))
        }
        if now - peakAt >= Self.tick {
            (peakBefore, peak) = (peak, wanted)
            peakAt = now
        }
        return outcomes
    }

    private func lateness(_ waited: Duration) -> LimitError {
        if let trouble { return .unavailable(name: name, reason: trouble) }
        return .busy(name: name, retryAfter: max(Self.tick, waited))
    }

    package func wake(_ now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        line.isEmpty && held == 0 ? nil : now + Self.tick
    }

    // MARK: Asking

    /// What to tell the ledger, if anything. The answer goes to ``settle(_:_:)``.
    package mutating func ask(_ now: ContinuousClock.Instant) -> PlacesQuestion? {
        guard question == nil, now >= retryAt else { return nil }
        let isTime = now - askedAt >= Self.tick
        let kept = min(isPressed ? wanted : max(wanted, peak, peakBefore), max(wanted, rule.places ?? 0))
        let isLacking = wanted > share && (isNews || isTime)
        let isSpare = isPressed ? max(taken.count, min(share, wanted)) < held : kept < held && isTime
        guard isLacking || isSpare || isNews && held > 0 else { return nil }
        isNews = false
        askedAt = now
        question = (taken.count, kept, line.lastID)
        return PlacesQuestion(name: name, rule: rule.name, used: taken.count, wanted: kept)
    }

    package mutating func settle(_ answer: PlacesAnswer, _ now: ContinuousClock.Instant) -> [LimitOutcome] {
        guard let question else { return [] }
        self.question = nil
        trouble = nil
        switch answer {
        case .share(let places):
            share = places
            held = max(question.used, places)
            isPressed = places < question.wanted
            let served = turn(now)
            let out = line.remove { id, waiter in waiter.isImpatient && id <= question.last }
            return served + out.map { .failed($0.id, .busy(name: name, retryAfter: Self.tick)) }
        case .unlimited:
            (share, held) = (0, 0)
            taken = []
            return clear()
        case .late, .fenced:
            share = min(share, question.used)
            retryAt = now + Self.tick
            isNews = true
            return []
        }
    }

    /// The word was not answered. Whether it was heard is unknown, so no more is used than it said.
    package mutating func fail(_ reason: String, retryAfter pause: Duration, _ now: ContinuousClock.Instant)
        -> [LimitOutcome]
    {
        guard let question else { return [] }
        self.question = nil
        trouble = reason
        share = min(share, question.used)
        retryAt = now + pause
        isNews = true
        let out = line.remove { id, waiter in waiter.isImpatient && id <= question.last }
        return out.map { .failed($0.id, .unavailable(name: name, reason: reason)) }
    }
}
