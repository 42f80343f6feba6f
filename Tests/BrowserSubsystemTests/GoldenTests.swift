import FleetModel
import Foundation
import Testing

@testable import BrowserSubsystem

@Suite("Parameters of browser jobs")
struct GoldenTests {
    static let types: [JobType] = [VisitParameters.type, ScriptParameters.type]

    /// As a machine without a browser has it.
    private static func definition(_ type: JobType) throws -> JobDefinition {
        try #require(BrowserSubsystem(describing: BrowserSettings()).definitions.first { $0.type == type })
    }

    /// The golden examples of a type whose names begin so.
    private static func examples(_ type: JobType, _ prefix: String) throws -> [(name: String, payload: [UInt8])] {
        let directory = PageServer.resource("golden/\(type.name)")
        return try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
            .filter { $0.hasPrefix("\(prefix)-") }
            .map { ($0, Array(try Data(contentsOf: URL(fileURLWithPath: "\(directory)/\($0)")))) }
    }

    @Test("The golden examples that are valid are taken", arguments: types)
    func valid(_ type: JobType) throws {
        let definition = try Self.definition(type)
        let examples = try Self.examples(type, "valid")
        #expect(examples.count >= 3)
        for (name, payload) in examples {
            do { _ = try definition.prepare(payload) } catch { Issue.record("\(name): \(error)") }
        }
    }

    @Test(
        "The golden examples that are invalid are refused, each with a sentence that names the member", arguments: types
    )
    func invalid(_ type: JobType) throws {
        let definition = try Self.definition(type)
        let examples = try Self.examples(type, "invalid")
        #expect(examples.count >= 10)
        for (name, payload) in examples {
            do throws(InvalidParameters) {
                _ = try definition.prepare(payload)
                Issue.record("\(name) was taken")
            } catch {
                #expect(error.description.contains("'"), "\(name): \(error)")
            }
        }
    }

    @Test("The schemas name every member that the valid examples have", arguments: types)
    func schemas(_ type: JobType) throws {
        let schema = type == VisitParameters.type ? VisitParameters.schema : ScriptParameters.schema
        let text = schema.document(title: type.name, summary: "")
        for (name, payload) in try Self.examples(type, "valid") {
            for member in Self.members(try JSONSerialization.jsonObject(with: Data(payload))) {
                #expect(text.contains("\"\(member)\" :"), "\(name): \(member)")
            }
        }
    }

    /// The names of all members; those of headers are the job's own.
    private static func members(_ json: Any) -> Set<String> {
        switch json {
        case let object as [String: Any]:
            object.reduce(into: Set(object.keys)) { names, member in
                if member.key != "headers" { names.formUnion(members(member.value)) }
            }
        case let list as [Any]: list.reduce(into: []) { $0.formUnion(members($1)) }
        default: []
        }
    }

    @Test("Parameters survive being written and read, whatever the step")
    func roundTrip() throws {
        for (name, payload) in try Self.examples(ScriptParameters.type, "valid") {
            let read = try JSONDecoder().decode(ScriptParameters.self, from: Data(payload))
            let again = try JSONDecoder().decode(ScriptParameters.self, from: try JSONEncoder().encode(read))
            #expect(read.steps == again.steps, "\(name)")
        }
    }

    @Test("A script is repeatable if no step can have an effect, or if it says so")
    func repeatable() {
        let url = "http://www.example.org/"
        func script(_ action: ScriptStep.Action, _ retry: ScriptParameters.Retry? = nil) -> ScriptParameters {
            Desk.parameters(url, [action], retry: retry)
        }
        #expect(script(.wait(.text("a"))).isRepeatable)
        #expect(script(.screenshot(ScreenshotWish())).isRepeatable)
        #expect(!script(.click(selector: "#a", count: 1)).isRepeatable)
        #expect(!script(.evaluate(expression: "1")).isRepeatable)
        #expect(script(.click(selector: "#a", count: 1), .always).isRepeatable)
        #expect(!script(.click(selector: "#a", count: 1), .never).isRepeatable)
    }
}
