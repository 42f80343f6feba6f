import AMQPClient
import FleetObservability
import Synchronization

/// What became of one link to the broker so far, by what it tells of itself.
public final class LinkRecord: Sendable {
    private struct State {
        var isUp = false
        var since = ContinuousClock.now
        var connects = 0
        var losses = 0
        var failures = 0
        var error: String?
        var blockedSince: ContinuousClock.Instant?
        var blockedBefore: Duration = .zero
        var blockedReason = ""
        var consumersCancelled = 0

        mutating func unblock(_ now: ContinuousClock.Instant) {
            if let since = blockedSince { blockedBefore += now - since }
            blockedSince = nil
        }
    }

    /// What it is for, such as `publish`, and whose it is, such as `worker`.
    public let role: String
    public let part: String
    private let state = Mutex(State())

    public init(role: String, part: String) {
        self.role = role
        self.part = part
    }

    /// For the link's `onEvent`.
    public func note(_ event: AMQPLinkEvent) {
        state.withLock { state in
            let now = ContinuousClock.now
            switch event {
            case .connected:
                (state.isUp, state.since, state.error) = (true, now, nil)
                state.connects += 1
            case .disconnected(let error):
                (state.isUp, state.since, state.error) = (false, now, "\(error)")
                state.losses += 1
                state.unblock(now)
            case .retrying(_, let error):
                state.error = "\(error)"
                state.failures += 1
            case .consumerCancelled: state.consumersCancelled += 1
            case .blocked(let reason):
                if state.blockedSince == nil { state.blockedSince = now }
                state.blockedReason = reason
            case .unblocked: state.unblock(now)
            case .queueFoundIdle, .channelRenewed: break
            }
        }
    }

    /// When the present link came up; nil when there is none.
    public var connectedSince: ContinuousClock.Instant? { state.withLock { $0.isUp ? $0.since : nil } }

    /// Adds what is amiss with it, and what can be told.
    public func describe(in health: inout PartHealth) {
        let state = state.withLock { $0 }
        let now = ContinuousClock.now
        health.facts["\(role)_connected"] = .flag(state.isUp)
        health.facts["\(role)_reconnects"] = .number(Double(max(0, state.connects - 1)))
        if !state.isUp {
            let seconds = Int((now - state.since) / .seconds(1))
            let reason = state.error.map { ": \($0)" } ?? ""
            health.worsen(.fail, "no link to the broker to \(role) for \(seconds) s\(reason)")
        } else if let since = state.blockedSince {
            let seconds = Int((now - since) / .seconds(1))
            health.worsen(
                .warn, "the broker has stopped publishing for \(seconds) s (\(state.blockedReason)): see its alarms")
        }
    }

    /// For `MetricsRegistry.collect(_:)`.
    public func samples() -> [MetricSample] {
        let state = state.withLock { $0 }
        let blocked = state.blockedBefore + (state.blockedSince.map { .now - $0 } ?? .zero)
        let labels = [("part", part), ("role", role)]
        return [
            MetricSample(
                "gaia_broker_link_up", .gauge, help: "Whether there is a link to the broker now.", labels,
                value: state.isUp ? 1 : 0),
            MetricSample(
                "gaia_broker_connects_total", .counter, help: "Links to the broker that came up.", labels,
                value: Double(state.connects)),
            MetricSample(
                "gaia_broker_losses_total", .counter, help: "Links to the broker that were lost.", labels,
                value: Double(state.losses)),
            MetricSample(
                "gaia_broker_connect_failures_total", .counter,
                help: "Rounds of attempts to connect to the broker that failed.", labels, value: Double(state.failures)),
            MetricSample(
                "gaia_broker_blocked_seconds_total", .counter,
                help: "Time for which an alarm of the broker has held publishing up.", labels,
                value: blocked / .seconds(1)),
            MetricSample(
                "gaia_broker_consumers_cancelled_total", .counter,
                help: "Consumers that the broker ended, because their queue was deleted or its leader lost.", labels,
                value: Double(state.consumersCancelled)),
        ]
    }
}

extension AMQPPublisher {
    /// For `MetricsRegistry.collect(_:)`.
    ///
    /// - Parameter part: whose publisher it is, such as `worker`.
    public func samples(part: String) -> [MetricSample] {
        let counts = counts
        return [
            ("confirmed", counts.confirmed), ("returned", counts.returned), ("refused", counts.refused),
            ("unknown", counts.unknown), ("not-sent", counts.notSent),
        ].map { outcome, count in
            MetricSample(
                "gaia_broker_published_total", .counter, help: "Messages by the broker's word on them.",
                [("part", part), ("outcome", outcome)], value: Double(count))
        }
    }
}
