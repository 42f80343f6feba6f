/// Whether calls to one host make sense just now: pure, the caller brings the time.
///
/// ```
///            failures reach their share of enough calls
///  closed ───────────────────────────────────────────────▶ open
///    ▲                                                     │ cool-down over
///    │ all probes succeeded                                ▼
///    └────────────────────────────────────────────────── half-open ──a probe failed──▶ open
/// ```
///
/// A call brings back the pass it was let through with; one from before the last change of state decides nothing any more.
struct CircuitBreaker: Sendable {
    enum State: String, Sendable, Codable, CaseIterable {
        case closed
        case open
        case halfOpen = "half-open"
    }

    enum Verdict: Sendable {
        case go(Pass)
        /// Not before so long from now.
        case wait(Duration)
    }

    struct Pass: Sendable {
        fileprivate let generation: Int
        /// Whether it goes out to see if the host is well again.
        let isProbe: Bool
    }

    /// What a call says about its host.
    enum CallEnd: Sendable {
        case success
        case failure
        /// It was called off, or never got there.
        case nothing
    }

    enum Change: Sendable, Equatable {
        case opened
        case closed
    }

    private enum Phase: Sendable {
        case closed(CallWindow)
        case open(until: ContinuousClock.Instant)
        case halfOpen(running: Int, succeeded: Int)
    }

    private let rules: BreakerRules
    private var phase: Phase
    private var generation = 0

    init(_ rules: BreakerRules, now: ContinuousClock.Instant) {
        self.rules = rules
        phase = .closed(CallWindow(length: rules.window, now: now))
    }

    /// How much of the cool-down passes before a call that found all probes under way is to ask again.
    private static let probeWaitDivisor = 5

    mutating func admit(_ now: ContinuousClock.Instant) -> Verdict {
        switch phase {
        case .closed: return .go(Pass(generation: generation, isProbe: false))
        case .open(let end) where now < end: return .wait(end - now)
        case .open:
            enter(.halfOpen(running: 1, succeeded: 0))
        case .halfOpen(let running, let succeeded):
            guard running + succeeded < rules.probes else { return .wait(rules.coolDown / Self.probeWaitDivisor) }
            phase = .halfOpen(running: running + 1, succeeded: succeeded)
        }
        return .go(Pass(generation: generation, isProbe: true))
    }

    mutating func end(_ pass: Pass, _ end: CallEnd, _ now: ContinuousClock.Instant) -> Change? {
        guard pass.generation == generation else { return nil }
        switch phase {
        case .closed(var window):
            guard end != .nothing else { return nil }
            window.add(isFailure: end == .failure, now)
            phase = .closed(window)
            return isBroken(window.counts(now)) ? open(now) : nil
        case .halfOpen(let running, let succeeded):
            switch end {
            case .failure: return open(now)
            case .nothing: phase = .halfOpen(running: running - 1, succeeded: succeeded)
            case .success where succeeded + 1 < rules.probes:
                phase = .halfOpen(running: running - 1, succeeded: succeeded + 1)
            case .success:
                enter(.closed(CallWindow(length: rules.window, now: now)))
                return .closed
            }
            return nil
        case .open: return nil
        }
    }

    /// Whether calls of late show the host to be well: enough of them, too few failures.
    func isProvenWell(_ now: ContinuousClock.Instant) -> Bool {
        guard case .closed(let window) = phase else { return false }
        let counts = window.counts(now)
        return counts.calls >= rules.callsMin && !isBroken(counts)
    }

    func state(_ now: ContinuousClock.Instant) -> State {
        switch phase {
        case .closed: .closed
        case .open(let end): now < end ? .open : .halfOpen
        case .halfOpen: .halfOpen
        }
    }

    /// Of the window that is looked at; none while calls are held back.
    func counts(_ now: ContinuousClock.Instant) -> CallWindow.Counts {
        guard case .closed(let window) = phase else { return CallWindow.Counts() }
        return window.counts(now)
    }

    /// How long nothing goes out yet.
    func pause(_ now: ContinuousClock.Instant) -> Duration? {
        guard case .open(let end) = phase, now < end else { return nil }
        return end - now
    }

    private func isBroken(_ counts: CallWindow.Counts) -> Bool {
        rules.failurePercent > 0 && counts.calls >= rules.callsMin
            && counts.failures * 100 >= counts.calls * rules.failurePercent
    }

    private mutating func open(_ now: ContinuousClock.Instant) -> Change {
        enter(.open(until: now + rules.coolDown))
        return .opened
    }

    private mutating func enter(_ next: Phase) {
        phase = next
        generation += 1
    }
}

/// How many calls ended of late, and how many badly, in slices of time: what is older than the window falls out slice by slice.
struct CallWindow: Sendable {
    struct Counts: Sendable, Equatable {
        var calls = 0
        var failures = 0
    }

    private static let sliceCount = 10
    private var slices = [Counts](repeating: Counts(), count: sliceCount)
    /// The slice that calls are added to, counted from the beginning.
    private var current = 0
    private let begin: ContinuousClock.Instant
    private let sliceLength: Duration

    init(length: Duration, now: ContinuousClock.Instant) {
        begin = now
        sliceLength = max(length / Self.sliceCount, .milliseconds(1))
    }

    mutating func add(isFailure: Bool, _ now: ContinuousClock.Instant) {
        let number = number(now)
        // Each slice in between is empty; after a whole window all are.
        for stale in (current + 1)..<max(current + 1, min(number, current + Self.sliceCount) + 1) {
            slices[stale % Self.sliceCount] = Counts()
        }
        current = max(current, number)
        slices[current % Self.sliceCount].calls += 1
        if isFailure { slices[current % Self.sliceCount].failures += 1 }
    }

    func counts(_ now: ContinuousClock.Instant) -> Counts {
        let oldest = number(now) - Self.sliceCount + 1
        var counts = Counts()
        for number in max(oldest, current - Self.sliceCount + 1, 0)..<max(oldest, current + 1) {
            counts.calls += slices[number % Self.sliceCount].calls
            counts.failures += slices[number % Self.sliceCount].failures
        }
        return counts
    }

    private func number(_ now: ContinuousClock.Instant) -> Int { Int((now - begin) / sliceLength) }
}
