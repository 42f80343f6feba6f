/// When a run is told to end, when it is killed, and when it is given up: pure, by the times that it is told.
///
/// ```
///  running ──timeout or stop──▶ terminating ──grace over──▶ killing ──patience over──▶ lost
///     └───────────────────────────────┴────────────────────────┴──the report came──▶ (the caller ends it)
/// ```
struct RunStages {
    enum Action: Equatable {
        /// SIGTERM for the whole tree.
        case terminate
        /// SIGKILL for the whole tree.
        case kill
        /// Nobody waits any longer.
        case giveUp
    }

    enum Stage: Equatable {
        case running
        case terminating
        case killing
        case lost
    }

    /// How long a killed tree may take to be gone. It takes milliseconds, unless the kernel holds a process in a call to
    /// a device that does not answer.
    static let patience: Duration = .seconds(10)

    private(set) var stage = Stage.running
    /// What made it end; nil as long as nothing did.
    private(set) var cause: ProcessEnd.Cause?
    /// When ``tick(_:)`` is to be called at the latest.
    private(set) var deadline: ContinuousClock.Instant
    private let grace: Duration

    init(start: ContinuousClock.Instant, timeout: Duration, grace: Duration) {
        deadline = start + timeout
        self.grace = grace
    }

    /// - Parameter isPolite: whether it is asked before it is killed.
    mutating func stop(_ cause: ProcessEnd.Cause, isPolite: Bool, at now: ContinuousClock.Instant) -> Action? {
        guard stage == .running || (stage == .terminating && !isPolite) else { return nil }
        self.cause = self.cause ?? cause
        return isPolite && grace > .zero ? terminate(now) : kill(now)
    }

    mutating func tick(_ now: ContinuousClock.Instant) -> Action? {
        guard now >= deadline else { return nil }
        switch stage {
        case .running: return stop(.timeout, isPolite: true, at: now)
        case .terminating: return kill(now)
        case .killing:
            stage = .lost
            return .giveUp
        case .lost: return nil
        }
    }

    private mutating func terminate(_ now: ContinuousClock.Instant) -> Action {
        stage = .terminating
        deadline = now + grace
        return .terminate
    }

    private mutating func kill(_ now: ContinuousClock.Instant) -> Action {
        stage = .killing
        deadline = now + Self.patience
        return .kill
    }
}
