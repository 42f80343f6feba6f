import FleetModel
import Foundation
import Testing

@Suite("Parameters of file jobs")
struct GoldenTests {
    private static let directory = URL(filePath: #filePath).deletingLastPathComponent().appending(
        path: "Resources/golden")

    /// A payload that must not be taken, and how the sentence begins that says why.
    private struct Refused: Decodable {
        var sentence: String
    }

    private static func files(_ prefix: String, of type: String) throws -> [URL] {
        try FileManager.default.contentsOfDirectory(
            at: directory.appending(path: type), includingPropertiesForKeys: nil
        ).filter { $0.lastPathComponent.hasPrefix(prefix) }
    }

    @Test("Each type has examples, and those that are valid are taken")
    func valid() throws {
        let workplace = try Workplace()
        for definition in workplace.subsystem.definitions {
            let files = try Self.files("valid-", of: definition.type.name)
            #expect(!files.isEmpty, "\(definition.type)")
            for file in files {
                #expect(throws: Never.self, "\(file.path)") {
                    _ = try definition.prepare(Array(try Data(contentsOf: file)))
                }
            }
        }
    }

    @Test("Those that are not are refused with a sentence that names the member")
    func invalid() throws {
        let workplace = try Workplace()
        for definition in workplace.subsystem.definitions {
            let files = try Self.files("invalid-", of: definition.type.name)
            #expect(!files.isEmpty, "\(definition.type)")
            for file in files {
                let data = try Data(contentsOf: file)
                let expected = try JSONDecoder().decode(Refused.self, from: data).sentence
                let document = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
                let payload = try JSONSerialization.data(
                    withJSONObject: try #require(document["payload"]), options: .withoutEscapingSlashes)
                let error = #expect(throws: InvalidParameters.self, "\(file.path)") {
                    _ = try definition.prepare(Array(payload))
                }
                #expect(error?.description.hasPrefix(expected) == true, "\(file.path): \(error?.description ?? "-")")
            }
        }
    }

    @Test("Each type has a schema that names its members, and a sentence")
    func schemas() throws {
        let workplace = try Workplace()
        #expect(workplace.subsystem.definitions.count == 11)
        for definition in workplace.subsystem.definitions {
            #expect(!definition.summary.isEmpty)
            #expect(definition.isRepeatable)
            let schema = try #require(
                try JSONSerialization.jsonObject(
                    with: Data(
                        definition.schema.document(title: definition.type.name, summary: definition.summary).utf8))
                    as? [String: Any])
            let members = try #require(schema["properties"] as? [String: Any])
            for file in try Self.files("valid-", of: definition.type.name) {
                let example = try #require(
                    try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any])
                #expect(Set(example.keys).subtracting(["later"]).isSubset(of: members.keys), "\(file.path)")
            }
        }
    }
}
