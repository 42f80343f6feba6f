import FleetBroker
import FleetObservability
import FleetStore

extension Worker {
    /// What this worker has done since it started and what it has to do, for `MetricsRegistry.collect(_:)`.
    public func metrics() -> [MetricSample] {
        jobSamples + slotSamples + leaseSamples + publishing.samples() + consuming.samples()
            + publisher.samples(part: "worker")
            + answers.samples(pool, part: "worker") + waitSamples
    }

    private var jobSamples: [MetricSample] {
        let done = counters.values
        return [
            ("claimed", done.claimed), ("succeeded", done.succeeded), ("retried", done.retried),
            ("discarded", done.discarded), ("fenced", done.fenced), ("repeated", done.repeats),
            ("parked", done.parked), ("set-aside", done.rejected), ("conflict", done.conflicts),
        ].map { what, count in
            MetricSample(
                "gaia_worker_jobs_total", .counter, help: "Jobs and deliveries by what became of them in this worker.",
                [("what", what)], value: Double(count))
        }
    }

    private var slotSamples: [MetricSample] {
        load.subsystems.flatMap { subsystem in
            [
                ("gaia_worker_slots", "Jobs of the subsystem that may run at once.", subsystem.slots),
                ("gaia_worker_busy", "Jobs of the subsystem that have a slot.", subsystem.busy),
                ("gaia_worker_waiting", "Jobs that were delivered and wait for a slot.", subsystem.waiting),
                (
                    "gaia_worker_notices", "What is amiss with the subsystem in this worker, as gaia status words it.",
                    subsystem.notices.count
                ),
            ].map { name, help, value in
                MetricSample(name, .gauge, help: help, [("subsystem", subsystem.name)], value: Double(value))
            }
        }
            + subsystems.map { subsystem in
                MetricSample(
                    "gaia_worker_resting", .gauge, help: "Whether the subsystem was told to rest.",
                    [("subsystem", subsystem)], value: pauses.withLock { $0.rests(subsystem: subsystem) } ? 1 : 0)
            }
    }

    private var leaseSamples: [MetricSample] {
        let lease = lease.record
        return [
            MetricSample(
                "gaia_worker_lease_held", .gauge, help: "Whether the worker may own jobs now.",
                value: lease.isHeld ? 1 : 0),
            MetricSample(
                "gaia_worker_lease_age_seconds", .gauge, help: "Time since the lease was last renewed.",
                value: (.now - lease.renewedAt) / .seconds(1)),
            MetricSample(
                "gaia_worker_lease_losses_total", .counter,
                help: "Leases that were lost: everything that ran was cancelled.", value: Double(lease.losses)),
        ]
    }

    private var waitSamples: [MetricSample] {
        let (held, wanted) = locks.counts
        return [
            MetricSample(
                "gaia_worker_locks", .gauge, help: "Locks of jobs that run here.", [("state", "held")],
                value: Double(held)),
            MetricSample(
                "gaia_worker_locks", .gauge, help: "Locks of jobs that run here.", [("state", "waiting")],
                value: Double(wanted)),
            MetricSample(
                "gaia_worker_limit_waiters", .gauge, help: "Jobs that run here and wait for a limit of the fleet.",
                value: Double(limits.waiting)),
        ]
    }
}
