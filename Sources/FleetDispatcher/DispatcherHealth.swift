import FleetBroker
import FleetObservability

extension Dispatcher {
    /// How long after a link came up the broker may take to know of its consumer.
    static let presenceGrace: Duration = .seconds(5)

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
        if let since = consuming.connectedSince, .now - since >= Self.presenceGrace {
            do {
                if try await !presence.absent(from: [FleetBroker.enqueueQueue]).isEmpty {
                    health.worsen(
                        .fail,
                        "the broker knows of no consumer of \(FleetBroker.enqueueQueue), though this dispatcher believes to "
                            + "consume from there: restart it")
                }
            } catch {
                health.worsen(.warn, "the broker could not be asked for its consumers: \(error)")
            }
        }
        return health
    }

    /// What it has done since it started, for `MetricsRegistry.collect(_:)`.
    public func metrics() -> [MetricSample] {
        publishing.samples() + consuming.samples() + publisher.samples(part: "dispatcher")
            + answers.samples(pool, part: "dispatcher") + leadership.samples()
    }
}
