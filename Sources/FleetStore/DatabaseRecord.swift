import CoreMetrics
import FleetObservability
import PostgresClient
import Synchronization

/// What a process's pool of connections to the database did so far.
public final class DatabaseRecord: Sendable {
    private struct State {
        var failures = 0
        var lastSuccess: ContinuousClock.Instant?
    }

    private let state = Mutex(State())

    public init() {}

    /// For the pool's `onAnswer`.
    ///
    /// - Parameter timer: where the time is recorded.
    public func note(_ duration: Duration, _ error: PostgresError?, _ timer: CoreMetrics.Timer) {
        timer.took(duration)
        state.withLock { state in
            switch error?.kind {
            // A refusal is an answer too.
            case nil, .server, .decoding: state.lastSuccess = .now
            case .cancelled: break
            default: state.failures += 1
            }
        }
    }

    /// Asks the database for a sign of life, and tells of the pool.
    public func health(_ pool: PostgresPool) async -> PartHealth {
        var health = PartHealth(.pass)
        do {
            try await pool.execute(Self.sign)
        } catch {
            health.worsen(.fail, "the database does not answer: \(error); check that it runs, and database.url")
        }
        let status = pool.status
        health.facts["connections"] = .number(Double(status.connected))
        health.facts["connections_busy"] = .number(Double(status.busy))
        health.facts["waiting"] = .number(Double(status.waiting))
        health.lastSuccess = state.withLock { $0.lastSuccess }
        return health
    }

    private static let sign = PostgresStatement(name: "gaia-sign-of-life", sql: "select 1")

    /// For `MetricsRegistry.collect(_:)`.
    ///
    /// - Parameter part: whose pool it is, such as `worker`.
    public func samples(_ pool: PostgresPool, part: String) -> [MetricSample] {
        let status = pool.status
        return [
            MetricSample(
                "gaia_database_connections", .gauge, help: "Connections of the pool, by what they do.",
                [("part", part), ("state", "busy")], value: Double(status.busy)),
            MetricSample(
                "gaia_database_connections", .gauge, help: "Connections of the pool, by what they do.",
                [("part", part), ("state", "idle")], value: Double(max(0, status.connected - status.busy))),
            MetricSample(
                "gaia_database_waiting", .gauge, help: "Calls that wait for a connection of the pool.",
                [("part", part)], value: Double(status.waiting)),
            MetricSample(
                "gaia_database_failures_total", .counter,
                help: "Calls that got no answer: the database was away, or too slow.",
                [("part", part)], value: Double(state.withLock { $0.failures })),
        ]
    }
}
