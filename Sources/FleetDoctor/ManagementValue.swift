import Foundation

/// A value of an argument or a policy.
enum ManagementValue: Sendable, Hashable, Decodable {
    case text(String)
    case number(Double)
    case truth(Bool)
    /// A list or a table, which nothing here asks for.
    case other

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        // Which of them it is shows only in the trying.
        if let text = try? container.decode(String.self) {
            self = .text(text)
        } else if let truth = try? container.decode(Bool.self) {
            self = .truth(truth)
        } else if let number = try? container.decode(Double.self) {
            self = .number(number)
        } else {
            self = .other
        }
    }

    var text: String? { if case .text(let text) = self { text } else { nil } }
    var number: Double? { if case .number(let number) = self { number } else { nil } }
}

/// A JSON object that Erlang writes as an empty list when there is nothing in it.
struct LenientTable: Sendable, Decodable {
    let values: [String: ManagementValue]

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        values = (try? container.decode([String: ManagementValue].self)) ?? [:]
    }
}

/// A number where there is one: some fields hold a word while the broker has not measured yet.
struct LenientNumber: Sendable, Decodable {
    let value: Double?

    init(from decoder: any Decoder) throws {
        value = try? decoder.singleValueContainer().decode(Double.self)
    }
}

/// Words in a list, or in one text with commas, as older versions write them.
struct LenientWords: Sendable, Decodable {
    let words: [String]

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let list = try? container.decode([String].self) {
            words = list.filter { !$0.isEmpty }
        } else {
            words = try container.decode(String.self).split(separator: ",").map(String.init)
        }
    }
}
