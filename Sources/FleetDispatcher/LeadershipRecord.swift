import CoreMetrics
import FleetObservability
import FleetStore
import Synchronization

/// What a dispatcher did as leader, and whether it leads now.
final class LeadershipRecord: Sendable {
    /// What the leader does to jobs and workers, as a label says it. All are told from the start, at zero: of a counter that
    /// comes into being with its first event, Prometheus sees no increase then.
    enum Deed: String, CaseIterable {
        case owed, released, removed, rescued, scheduled, staged
        case workersEnded = "workers-ended"
    }

    struct Duty: Sendable {
        var lastSuccess: ContinuousClock.Instant?
        var error: String?
    }

    private struct State {
        var term: Int64?
        var since = ContinuousClock.now
        var terms = 0
        var duties: [String: Duty] = [:]
        var fleet: FleetState?
    }

    /// A duty of the present leader that has had no good round for so long is told of. A round may pause for a minute.
    static let lateness: Duration = .seconds(150)

    private let factory: any MetricsFactory
    private let state = Mutex(State())
    private let meters = Mutex<[String: (time: CoreMetrics.Timer, failures: Counter)]>([:])
    private let deeds: [Deed: Counter]

    init(_ factory: any MetricsFactory) {
        self.factory = factory
        deeds = Dictionary(
            uniqueKeysWithValues: Deed.allCases.map {
                (
                    $0,
                    Counter(label: "gaia_dispatcher_jobs_total", dimensions: [("what", $0.rawValue)], factory: factory)
                )
            })
    }

    // MARK: Told by the leadership

    func begin(_ term: Int64) {
        state.withLock { state in
            (state.term, state.since, state.duties, state.fleet) = (term, .now, [:], nil)
            state.terms += 1
        }
    }

    func end() { state.withLock { ($0.term, $0.since, $0.fleet) = (nil, .now, nil) } }

    func done(_ duty: String, _ duration: Duration) {
        state.withLock { $0.duties[duty] = Duty(lastSuccess: .now) }
        meter(duty).time.took(duration)
    }

    func failed(_ duty: String, _ duration: Duration, _ error: String) {
        state.withLock { $0.duties[duty, default: Duty()].error = error }
        meter(duty).failures.increment()
    }

    /// So many jobs, or workers, were dealt with.
    func count(_ deed: Deed, _ count: Int) { deeds[deed]?.increment(by: count) }

    func measured(_ fleet: FleetState) { state.withLock { $0.fleet = $0.term == nil ? nil : fleet } }

    private func meter(_ duty: String) -> (time: CoreMetrics.Timer, failures: Counter) {
        meters.withLock { meters in
            if let known = meters[duty] { return known }
            let labels = [("duty", duty)]
            let made = (
                time: CoreMetrics.Timer(label: "gaia_dispatcher_duty_seconds", dimensions: labels, factory: factory),
                failures: Counter(label: "gaia_dispatcher_duty_failures_total", dimensions: labels, factory: factory)
            )
            meters[duty] = made
            return made
        }
    }

    // MARK: Asked from outside

    /// The term of the present leadership, if it leads, and its duties.
    var now: (term: Int64?, duties: [String: Duty]) { state.withLock { ($0.term, $0.duties) } }

    var health: PartHealth {
        let state = state.withLock { $0 }
        var health = PartHealth(.pass, facts: ["leads": .flag(state.term != nil)])
        guard let term = state.term else { return health }
        health.facts["term"] = .number(Double(term))
        health.lastSuccess = state.duties.values.compactMap(\.lastSuccess).max()
        for (name, duty) in state.duties.sorted(by: { $0.key < $1.key }) {
            let age = .now - (duty.lastSuccess ?? state.since)
            health.facts["duty_\(name)_age_s"] = .number(age / .seconds(1))
            if age > Self.lateness {
                let reason = duty.error.map { ": \($0)" } ?? ""
                health.worsen(
                    .warn, "the duty '\(name)' has had no good round for \(Int(age / .seconds(1))) s\(reason)")
            }
        }
        return health
    }

    func samples() -> [MetricSample] {
        let state = state.withLock { $0 }
        var samples = [
            MetricSample(
                "gaia_dispatcher_leads", .gauge, help: "Whether this dispatcher leads.",
                value: state.term == nil ? 0 : 1),
            MetricSample(
                "gaia_dispatcher_terms_total", .counter, help: "Times that this dispatcher came to lead.",
                value: Double(state.terms)),
        ]
        guard state.term != nil else { return samples }
        samples += state.duties.map { name, duty in
            MetricSample(
                "gaia_dispatcher_duty_age_seconds", .gauge, help: "Time since a duty's last good round, of the leader.",
                [("duty", name)], value: (.now - (duty.lastSuccess ?? state.since)) / .seconds(1))
        }
        if let fleet = state.fleet { samples += Self.samples(fleet) }
        return samples
    }

    private static func samples(_ fleet: FleetState) -> [MetricSample] {
        [
            ("agenda_jobs", "Jobs for later, retries, and jobs to be published again.", Double(fleet.agenda)),
            ("overdue_jobs", "Jobs of the agenda whose time has come.", Double(fleet.overdue)),
            ("overdue_seconds", "How long the oldest of those has been due.", fleet.overdueSeconds),
            ("held_jobs", "Jobs that are held while their type rests.", Double(fleet.held)),
            ("dead_jobs", "Discarded and indeterminate jobs that are kept for an operator.", Double(fleet.dead)),
            ("workers", "Workers that have not gone.", Double(fleet.workers)),
            ("workers_late", "Workers whose lease has run out.", Double(fleet.workersLate)),
            ("schedules", "Schedules that are not paused.", Double(fleet.schedules)),
            ("schedule_late_seconds", "How far the latest schedule is behind.", fleet.scheduleLateSeconds),
            ("database_sessions", "Sessions in the database.", Double(fleet.sessions)),
            ("database_sessions_max", "Sessions that the server takes.", Double(fleet.sessionsMax)),
            (
                "database_transaction_seconds", "Age of the oldest transaction that the dispatcher's role may see.",
                fleet.transactionSeconds
            ),
            (
                "database_transaction_ids", "Transaction ids in use; at 2e9 the server stops.",
                Double(fleet.transactionIDs)
            ),
            ("ledger_bytes", "The table of jobs with its indexes.", Double(fleet.ledgerBytes)),
        ].map { name, help, value in
            MetricSample("gaia_fleet_\(name)", .gauge, help: "\(help) Told by the leader.", value: value)
        }
    }
}
