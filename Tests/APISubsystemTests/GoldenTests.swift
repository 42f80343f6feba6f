import APISubsystem
import FleetModel
import Foundation
import Testing

@Suite("Golden examples")
struct GoldenTests {
    private static let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("Resources/golden").path

    /// `type/file`, of all types.
    static let examples: [String] = {
        let all = (try? FileManager.default.subpathsOfDirectory(atPath: directory)) ?? []
        return all.filter { $0.hasSuffix(".json") }.sorted()
    }()

    @Test("Valid payloads are taken, invalid ones refused with a sentence", arguments: examples)
    func example(_ path: String) async throws {
        let parts = path.split(separator: "/").map(String.init)
        let definition = try await definition(JobType(validating: parts[0]))
        let payload = try Data(contentsOf: URL(fileURLWithPath: "\(Self.directory)/\(path)"))
        var flaw: String?
        do throws(InvalidParameters) { _ = try definition.prepare(Array(payload)) } catch { flaw = error.description }
        if parts[1].hasPrefix("valid") {
            #expect(flaw == nil)
        } else {
            #expect((flaw ?? "").split(separator: " ").count > 3, "\(flaw ?? "taken")")
        }
    }

    @Test("Every type has examples of both kinds", arguments: ["api.request.v1", "api.batch.v1"])
    func complete(_ type: String) {
        for kind in ["valid", "invalid"] {
            #expect(Self.examples.filter { $0.hasPrefix("\(type)/\(kind)-") }.count >= 2)
        }
    }
}
