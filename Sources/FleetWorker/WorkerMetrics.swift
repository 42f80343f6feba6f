import FleetObservability
import FleetStore

extension Worker {
    /// What this worker has done since it started and what it has to do, for `MetricsRegistry.collect(_:)`.
    public func metrics() -> [MetricSample] {
        let done = counters.values
        let jobs = [
            ("claimed", done.claimed), ("succeeded", done.succeeded), ("retried", done.retried),
            ("discarded", done.discarded), ("fenced", done.fenced), ("repeated", done.repeats),
            ("parked", done.parked), ("set-aside", done.rejected),
        ].map { what, count in
            MetricSample(
                "gaia_worker_jobs_total", .counter, help: "Jobs and deliveries by what became of them in this worker.",
                [("what", what)], value: Double(count))
        }
        return jobs
            + load.subsystems.flatMap { subsystem in
                [
                    ("gaia_worker_slots", "Jobs of the subsystem that may run at once.", subsystem.slots),
                    ("gaia_worker_busy", "Jobs of the subsystem that have a slot.", subsystem.busy),
                    ("gaia_worker_waiting", "Jobs that were delivered and wait for a slot.", subsystem.waiting),
                ].map { name, help, value in
                    MetricSample(name, .gauge, help: help, [("subsystem", subsystem.name)], value: Double(value))
                }
            }
    }
}
