import FleetModel
import Foundation
import Testing

@testable import NetworkSubsystem

@Suite("Parameters of network jobs")
struct ParameterTests {
    private static let types: [JobType] = [ResolveParameters.type, ProbeParameters.type, DownloadParameters.type]

    /// The golden examples of a type whose names begin so.
    private static func examples(_ type: JobType, _ prefix: String) throws -> [(name: String, payload: [UInt8])] {
        let directory = FileServer.resource("golden/\(type.name)")
        return try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
            .filter { $0.hasPrefix("\(prefix)-") }
            .map { ($0, Array(try Data(contentsOf: URL(fileURLWithPath: "\(directory)/\($0)")))) }
    }

    @Test("The golden examples that are valid are taken", arguments: types)
    func valid(_ type: JobType) async throws {
        try await Desk.with { desk in
            let definition = try desk.definition(type)
            let examples = try Self.examples(type, "valid")
            #expect(examples.count >= 2)
            for (name, payload) in examples {
                do { _ = try definition.prepare(payload) } catch { Issue.record("\(name): \(error)") }
            }
        }
    }

    @Test(
        "The golden examples that are invalid are refused, each with a sentence that names the member", arguments: types
    )
    func invalid(_ type: JobType) async throws {
        try await Desk.with { desk in
            let definition = try desk.definition(type)
            let examples = try Self.examples(type, "invalid")
            #expect(examples.count >= 5)
            for (name, payload) in examples {
                do throws(InvalidParameters) {
                    _ = try definition.prepare(payload)
                    Issue.record("\(name) was taken")
                } catch {
                    #expect(error.description.contains("'"), "\(name): \(error)")
                }
            }
        }
    }

    @Test("The schemas name every member that is written")
    func schemas() async throws {
        let resolve = ResolveParameters(name: "a", types: ["A"], fresh: true)
        let probe = ProbeParameters(
            host: "a", port: 1, tls: true, serverName: "a", timeoutMilliseconds: 1, require: .nothing)
        let download = DownloadParameters(
            url: "http://h", path: "data:a", headers: [:], checksum: "", size: 1, bytesPerSecond: 1, ifExists: .keep,
            timeoutMilliseconds: 1)
        try await Desk.with { desk in
            for (type, parameters) in [
                (ResolveParameters.type, try JSONEncoder().encode(resolve)),
                (ProbeParameters.type, try JSONEncoder().encode(probe)),
                (DownloadParameters.type, try JSONEncoder().encode(download)),
            ] {
                let definition = try desk.definition(type)
                let text = definition.schema.document(title: type.name, summary: definition.summary)
                let schema = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
                let members = try #require(schema["properties"] as? [String: Any])
                let written = try #require(try JSONSerialization.jsonObject(with: parameters) as? [String: Any])
                #expect(Set(members.keys) == Set(written.keys))
            }
        }
    }
}
