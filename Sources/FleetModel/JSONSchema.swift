import FoundationEssentials

/// A JSON Schema (2020-12), built in the program beside the parameters that it describes.
///
/// Only the words that our types need exist; `gaia types --json` prints the schemas for other languages to check with.
public indirect enum JSONSchema: Sendable, Equatable {
    case string(description: String? = nil, format: String? = nil, values: [String] = [], lengthMax: Int? = nil)
    case integer(description: String? = nil, min: Int? = nil, max: Int? = nil)
    case number(description: String? = nil, min: Double? = nil, max: Double? = nil)
    case boolean(description: String? = nil)
    /// Any JSON at all.
    case any(description: String? = nil)
    case array(of: JSONSchema, description: String? = nil)
    /// An object whose members may have any name and all have one schema.
    case map(of: JSONSchema, description: String? = nil)
    case members([String: JSONSchema], required: [String], additional: Bool, description: String?)

    /// An object with known members.
    public static func object(
        _ members: [String: JSONSchema], required: [String] = [], additional: Bool = true, description: String? = nil
    ) -> JSONSchema {
        .members(members, required: required, additional: additional, description: description)
    }

    /// The schema as a document of its own.
    public func document(title: String, summary: String) -> String {
        var tree = tree
        tree["$schema"] = .text("https://json-schema.org/draft/2020-12/schema")
        tree["title"] = .text(title)
        if !summary.isEmpty { tree["description"] = .text(summary) }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        // A tree of strings, numbers and booleans: the encoder has nothing to refuse.
        guard let data = try? encoder.encode(Node.tree(tree)) else { preconditionFailure("a schema that is no JSON") }
        return String(decoding: data, as: UTF8.self)
    }

    private var tree: [String: Node] {
        var tree: [String: Node] = [:]
        func describe(_ type: String, _ description: String?) {
            tree["type"] = .text(type)
            if let description { tree["description"] = .text(description) }
        }
        switch self {
        case .string(let description, let format, let values, let lengthMax):
            describe("string", description)
            if let format { tree["format"] = .text(format) }
            if !values.isEmpty { tree["enum"] = .list(values.map { .text($0) }) }
            if let lengthMax { tree["maxLength"] = .integer(lengthMax) }
        case .integer(let description, let min, let max):
            describe("integer", description)
            if let min { tree["minimum"] = .integer(min) }
            if let max { tree["maximum"] = .integer(max) }
        case .number(let description, let min, let max):
            describe("number", description)
            if let min { tree["minimum"] = .number(min) }
            if let max { tree["maximum"] = .number(max) }
        case .boolean(let description): describe("boolean", description)
        case .any(let description): if let description { tree["description"] = .text(description) }
        case .array(let element, let description):
            describe("array", description)
            tree["items"] = .tree(element.tree)
        case .map(let element, let description):
            describe("object", description)
            tree["additionalProperties"] = .tree(element.tree)
        case .members(let members, let required, let additional, let description):
            describe("object", description)
            tree["properties"] = .tree(members.mapValues { .tree($0.tree) })
            if !required.isEmpty { tree["required"] = .list(required.sorted().map { .text($0) }) }
            tree["additionalProperties"] = .boolean(additional)
        }
        return tree
    }

    private indirect enum Node: Encodable {
        case text(String)
        case integer(Int)
        case number(Double)
        case boolean(Bool)
        case list([Node])
        case tree([String: Node])

        func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            switch self {
            case .text(let value): try container.encode(value)
            case .integer(let value): try container.encode(value)
            case .number(let value): try container.encode(value)
            case .boolean(let value): try container.encode(value)
            case .list(let value): try container.encode(value)
            case .tree(let value): try container.encode(value)
            }
        }
    }
}
