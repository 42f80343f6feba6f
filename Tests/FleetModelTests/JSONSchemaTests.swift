import FleetModel
import FoundationEssentials
import Testing

/// What a schema of ours may hold, by the words of JSON Schema 2020-12.
private struct Schema: Decodable {
    var dialect: String?
    var title, description, format, type: String?
    var properties: [String: Schema]?
    var required, values: [String]?
    var items: [Schema]?
    var additional: Additional?
    var minimum, maximum: Double?
    var maxLength: Int?
    var unknown: [String]

    indirect enum Additional {
        case allowed(Bool)
        case schema(Schema)
    }

    private struct Name: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: Name.self)
        func member<Value: Decodable>(_ name: String) throws -> Value? {
            try members.decodeIfPresent(Value.self, forKey: Name(stringValue: name))
        }
        dialect = try member("$schema")
        title = try member("title")
        description = try member("description")
        format = try member("format")
        type = try member("type")
        properties = try member("properties")
        required = try member("required")
        values = try member("enum")
        items = try (member("items") as Schema?).map { [$0] }
        minimum = try member("minimum")
        maximum = try member("maximum")
        maxLength = try member("maxLength")
        let additional = Name(stringValue: "additionalProperties")
        if members.contains(additional) {
            self.additional =
                if let allowed = try? members.decode(Bool.self, forKey: additional) {
                    .allowed(allowed)
                } else {
                    .schema(try members.decode(Schema.self, forKey: additional))
                }
        }
        let known: Set = [
            "$schema", "title", "description", "format", "type", "properties", "required", "enum", "items", "minimum",
            "maximum",
            "maxLength", "additionalProperties",
        ]
        unknown = members.allKeys.map(\.stringValue).filter { !known.contains($0) }
    }

    /// What breaks the rules of 2020-12, or contradicts itself.
    func flaws(at place: String = "#") -> [String] {
        var flaws = unknown.map { "\(place): unknown word \($0)" }
        let types = ["string", "integer", "number", "boolean", "array", "object"]
        if !types.contains(type ?? "") { flaws.append("\(place): type \(type ?? "absent")") }
        if let required {
            if Set(required).count != required.count { flaws.append("\(place): required repeats itself") }
            for name in required where properties?[name] == nil {
                flaws.append("\(place): \(name) is required and unknown")
            }
        }
        if let values, values.isEmpty || Set(values).count != values.count { flaws.append("\(place): enum") }
        if let minimum, let maximum, minimum > maximum { flaws.append("\(place): bounds") }
        if let maxLength, maxLength < 0 { flaws.append("\(place): maxLength") }
        for (name, schema) in properties ?? [:] { flaws += schema.flaws(at: "\(place)/\(name)") }
        for schema in items ?? [] { flaws += schema.flaws(at: "\(place)[]") }
        if case .schema(let schema)? = additional { flaws += schema.flaws(at: "\(place)/*") }
        return flaws
    }
}

@Suite("JSON Schema")
struct JSONSchemaTests {
    @Test("Every kind of schema makes a valid document of the 2020-12 dialect")
    func everyKind() throws {
        let schema = JSONSchema.object(
            [
                "text": .string(description: "a \"text\"", format: "uri", values: ["a", "b"], lengthMax: 9),
                "whole": .integer(description: "d", min: 1, max: 9), "real": .number(min: 0.5, max: 1.5),
                "flag": .boolean(description: "d"),
                "list": .array(of: .object(["x": .string()], required: ["x"], additional: false), description: "d"),
                "table": .map(of: .integer(min: 0), description: "d"), "bare": .string(),
            ], required: ["whole", "text"], description: "inner")
        let text = schema.document(title: "a.b.v1", summary: "does it")
        let read = try JSONDecoder().decode(Schema.self, from: Data(text.utf8))
        #expect(read.flaws() == [])
        #expect(read.dialect == "https://json-schema.org/draft/2020-12/schema")
        #expect((read.title, read.description) == ("a.b.v1", "does it"))
        #expect(read.required == ["text", "whole"])
        let members = try #require(read.properties)
        #expect((members["text"]?.format, members["text"]?.maxLength) == ("uri", 9))
        #expect(members["text"]?.values == ["a", "b"])
        #expect((members["whole"]?.minimum, members["whole"]?.maximum) == (1, 9))
        #expect((members["real"]?.minimum, members["real"]?.maximum) == (0.5, 1.5))
        guard case .allowed(false)? = members["list"]?.items?.first?.additional else {
            Issue.record("items lost")
            return
        }
        guard case .schema(let values)? = members["table"]?.additional else {
            Issue.record("map lost")
            return
        }
        #expect(values.minimum == 0)
        #expect(schema.document(title: "a.b.v1", summary: "does it") == text, "the same text each time")
    }

    @Test("The schema of a type without one of its own takes any object")
    func open() throws {
        struct Open: JobParameters { static let type: JobType = "a.b.v1" }
        let read = try JSONDecoder().decode(
            Schema.self, from: Data(Open.schema.document(title: "a.b.v1", summary: "").utf8))
        #expect(read.flaws() == [])
        #expect(read.description == nil)
        guard case .allowed(true)? = read.additional else {
            Issue.record("more members must be allowed")
            return
        }
    }

    @Test("The schema of gaia.noop.v1 is valid")
    func noop() throws {
        let text = NoopParameters.schema.document(title: NoopParameters.type.name, summary: "s")
        #expect(try JSONDecoder().decode(Schema.self, from: Data(text.utf8)).flaws() == [])
    }
}
