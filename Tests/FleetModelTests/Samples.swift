import FleetModel
import FoundationEssentials

/// A JSON document that can be written in many ways.
indirect enum Sample {
    case text(String)
    case array([Sample])
    case object([(name: String, value: Sample)])

    /// Pieces that are JSON by themselves, chosen for what they might upset.
    static let scalars = [
        "true", "false", "null", "0", "-0", "17", "-3", "0.5", "1e5", "2E-7", "-1.25e+3", #""""#, #""plain""#,
        #""a,b""#, #""{}[]:""#, #""\"quoted\"""#, #""back\\slash""#, #""\\""#, #""\u00e9""#, #""\n\t\/""#, #""ä€😀""#,
    ]

    static func random(depth: Int, using random: inout SplitMix64) -> Sample {
        let kind = depth == 0 ? 0 : Int.random(in: 0..<3, using: &random)
        let count = Int.random(in: 0...4, using: &random)
        switch kind {
        case 0: return .text(random.pick(scalars))
        case 1: return .array((0..<count).map { _ in .random(depth: depth - 1, using: &random) })
        default:
            let names = ["a", "b", "B", "aa", "", " ", "!", "é", "😀", #"q\"q"#, #"n\\"#, "0", "10", "9"]
                .shuffled(using: &random).prefix(count)
            return .object(names.map { ($0, .random(depth: depth - 1, using: &random)) })
        }
    }

    /// The document with members in any order and space wherever it may stand.
    func written(using random: inout SplitMix64) -> String {
        let space = random.pick(["", "", "", " ", "\n\t", "\r\n  "])
        switch self {
        case .text(let text): return space + text + space
        case .array(let elements):
            return space + "[" + elements.map { $0.written(using: &random) }.joined(separator: ",")
                + (elements.isEmpty ? space : "")
                + "]"
        case .object(let members):
            let parts = members.shuffled(using: &random).map { name, value in
                "\(space)\"\(name)\"\(space):" + value.written(using: &random)
            }
            return space + "{" + parts.joined(separator: ",") + (parts.isEmpty ? space : "") + "}" + space
        }
    }
}

/// Decodes any JSON document to its last leaf.
enum AnyJSON: Decodable {
    case leaf
    case array([AnyJSON])
    case object([String: AnyJSON])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .leaf
            return
        }
        if let elements = try? container.decode([AnyJSON].self) {
            self = .array(elements)
            return
        }
        if let members = try? container.decode([String: AnyJSON].self) {
            self = .object(members)
            return
        }
        if (try? container.decode(Bool.self)) == nil, (try? container.decode(String.self)) == nil {
            _ = try container.decode(Double.self)
        }
        self = .leaf
    }

    static func accepts(_ bytes: [UInt8]) -> Bool {
        (try? JSONDecoder().decode(AnyJSON.self, from: Data(bytes))) != nil
    }
}

/// The canonical text, or nil when the bytes are refused.
func canonical(_ text: String) -> String? { try? CanonicalJSON.text(of: Array(text.utf8)) }

/// Why the bytes are refused; empty when they are not.
func flaw(_ text: String) -> String { flaw(Array(text.utf8)) }

func flaw(_ bytes: [UInt8]) -> String {
    do throws(InvalidJSON) {
        _ = try CanonicalJSON.text(of: bytes)
        return ""
    } catch {
        return error.description
    }
}
