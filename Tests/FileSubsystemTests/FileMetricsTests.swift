import FleetModel
import MetricsTestKit
import Testing

@testable import FileSubsystem

@Suite("What the file subsystem counts")
struct FileMetricsTests {
    @Test("Operations by outcome, bytes, repeats and refusals")
    func counts() async throws {
        let metrics = TestMetrics()
        let workplace = try Workplace(metrics: metrics)
        _ = try await workplace.text(WriteParameters(path: "data:a", content: "12345"))
        _ = try await workplace.text(WriteParameters(path: "data:a", content: "12345"), token: 2)
        _ = try await workplace.text(ReadParameters(path: "data:a"))
        _ = try await workplace.text(ListParameters(path: "data:"))
        #expect(try await workplace.failure(ReadParameters(path: "other:a")) == "file.unknown-root")
        func total(_ label: String, _ dimensions: [(String, String)] = []) throws -> Int64 {
            try metrics.expectCounter(label, dimensions).values.reduce(0, +)
        }
        #expect(try total("gaia_file_operations_total", [("op", "write"), ("outcome", "succeeded")]) == 2)
        #expect(try total("gaia_file_operations_total", [("op", "read"), ("outcome", "permanent")]) == 1)
        #expect(try total("gaia_file_written_bytes_total") == 5)
        #expect(try total("gaia_file_read_bytes_total") == 5)
        #expect(try total("gaia_file_entries_listed_total") == 1)
        #expect(try total("gaia_file_repeats_total") == 1)
        #expect(try total("gaia_file_refusals_total", [("reason", "unknown-root")]) == 1)
        #expect(try metrics.expectTimer("gaia_file_operation_seconds", [("op", "write")]).values.count == 2)
        #expect(try metrics.expectMeter("gaia_file_active").values.last == 0)
    }
}
