import FleetModel
import FleetStore

/// Looks how the fleet stands, for the metrics: one dispatcher does so for all, since each look counts rows.
struct MeasureDuty: Duty {
    let store: FleetStore
    let record: LeadershipRecord
    let bell = Bell()

    static let interval: Duration = .seconds(10)

    var name: String { "measure" }

    func round(term: Int64) async throws -> Duration {
        record.measured(try await store.fleetState())
        return Self.interval
    }
}
