import FleetBroker
import FleetObservability

extension Dispatcher {
    /// What a dispatcher can be asked about.
    public var health: [HealthPart] {
        [
            HealthPart("broker", isNeeded: true) { await self.brokerHealth() },
            HealthPart("database", isNeeded: true) { await self.answers.health(self.pool) },
            HealthPart("dispatcher", isNeeded: false) { self.leadership.health },
        ]
    }

    private func brokerHealth() async -> PartHealth {
        var health = PartHealth(.pass)
        publishing.describe(in: &health)
        consuming.describe(in: &health)
        // A dispatcher takes request after request, so one that has room cannot be told from one that is busy for long.
        await presence.describe(
            consuming, queues: [FleetBroker.enqueueQueue: false], part: "dispatcher", in: &health)
        return health
    }

    /// What it has done since it started, for `MetricsRegistry.collect(_:)`.
    public func metrics() -> [MetricSample] {
        publishing.samples() + consuming.samples() + publisher.samples(part: "dispatcher")
            + answers.samples(pool, part: "dispatcher") + leadership.samples()
    }
}
