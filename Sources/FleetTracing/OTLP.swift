import FleetObservability
import Foundation
import Tracing

/// Spans as OTLP's JSON has them: `ExportTraceServiceRequest` of
/// https://github.com/open-telemetry/opentelemetry-proto, ids in hexadecimal and 64-bit numbers as text, as
/// https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding wants them.
enum OTLP {
    struct Resource: Encodable, Sendable {
        fileprivate let attributes: [Attribute]

        init(_ values: [String: String]) {
            attributes = values.sorted { $0.key < $1.key }.map { Attribute(key: $0.key, value: .string($0.value)) }
        }
    }

    static func document(_ spans: [EndedSpan], _ resource: Resource) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes]
        return try encoder.encode(
            Request(
                resourceSpans: [
                    ResourceSpans(
                        resource: resource,
                        scopeSpans: [ScopeSpans(scope: Scope(name: "gaia"), spans: spans.map(Span.init))])
                ]))
    }

    /// How many spans an answer says that it turned down.
    static func rejected(in body: [UInt8]) -> Int {
        struct Answer: Decodable {
            struct Partial: Decodable { let rejectedSpans: Count? }
            let partialSuccess: Partial?
        }
        /// Text by the rules, though many write a number.
        struct Count: Decodable {
            let value: Int
            init(from decoder: any Decoder) throws {
                let container = try decoder.singleValueContainer()
                value = try (try? container.decode(Int.self)) ?? Int(container.decode(String.self)) ?? 0
            }
        }
        // An answer that is empty or of another kind says nothing of that.
        guard let answer = try? JSONDecoder().decode(Answer.self, from: Data(body)) else { return 0 }
        return answer.partialSuccess?.rejectedSpans?.value ?? 0
    }

    private struct Request: Encodable { let resourceSpans: [ResourceSpans] }

    private struct ResourceSpans: Encodable {
        let resource: Resource
        let scopeSpans: [ScopeSpans]
    }

    private struct ScopeSpans: Encodable {
        let scope: Scope
        let spans: [Span]
    }

    private struct Scope: Encodable { let name: String }

    private struct Span: Encodable {
        let traceId, spanId: String
        let parentSpanId: String?
        let name: String
        let kind: Int
        let startTimeUnixNano, endTimeUnixNano: String
        let attributes: [Attribute]
        let droppedAttributesCount: Int?
        let events: [Event]?
        let links: [Link]?
        let status: Status?

        init(_ span: EndedSpan) {
            traceId = span.own.traceText
            spanId = TraceContext.text(span.own.span)
            parentSpanId = span.parent.map { TraceContext.text($0) }
            name = span.name
            // The numbers of opentelemetry.proto.trace.v1.Span.SpanKind.
            kind =
                switch span.kind {
                case .internal: 1
                case .server: 2
                case .client: 3
                case .producer: 4
                case .consumer: 5
                }
            startTimeUnixNano = "\(span.start)"
            endTimeUnixNano = "\(span.end)"
            let all = Attribute.all(span.attributes)
            attributes = Array(all.prefix(FleetSpan.partsMax))
            droppedAttributesCount = all.count > attributes.count ? all.count - attributes.count : nil
            events = span.events.isEmpty ? nil : span.events.map(Event.init)
            links = span.links.isEmpty ? nil : span.links.compactMap(Link.init)
            status = span.status.map(Status.init)
        }
    }

    private struct Event: Encodable {
        let timeUnixNano, name: String
        let attributes: [Attribute]

        init(_ event: SpanEvent) {
            timeUnixNano = "\(event.nanosecondsSinceEpoch)"
            name = event.name
            attributes = Attribute.all(event.attributes)
        }
    }

    private struct Link: Encodable {
        let traceId, spanId: String
        let attributes: [Attribute]

        init?(_ link: SpanLink) {
            guard let trace = link.context.trace else { return nil }
            traceId = trace.traceText
            spanId = TraceContext.text(trace.span)
            attributes = Attribute.all(link.attributes)
        }
    }

    private struct Status: Encodable {
        let code: Int
        let message: String?

        init(_ status: SpanStatus) {
            code = status.code == .ok ? 1 : 2
            message = status.message.map { Attribute.cut($0) }
        }
    }

    fileprivate struct Attribute: Encodable, Sendable {
        let key: String
        let value: Value

        /// Of a text, in characters; a longer one is cut.
        private static let textMax = 1_024

        static func cut(_ text: String) -> String { text.utf8.count <= textMax ? text : String(text.prefix(textMax)) }

        static func all(_ attributes: SpanAttributes) -> [Attribute] {
            var all: [Attribute] = []
            attributes.forEach { all.append(Attribute(key: $0, value: Value($1))) }
            return all.sorted { $0.key < $1.key }
        }
    }

    fileprivate indirect enum Value: Encodable, Sendable {
        case string(String)
        case int(Int64)
        case double(Double)
        case bool(Bool)
        case list([Value])

        init(_ attribute: SpanAttribute) {
            self =
                switch attribute {
                case .string(let text): .string(Attribute.cut(text))
                case .int32(let number): .int(Int64(number))
                case .int64(let number): .int(number)
                case .double(let number): .double(number)
                case .bool(let flag): .bool(flag)
                case .stringArray(let texts): .list(texts.map { .string(Attribute.cut($0)) })
                case .int32Array(let numbers): .list(numbers.map { .int(Int64($0)) })
                case .int64Array(let numbers): .list(numbers.map { .int($0) })
                case .doubleArray(let numbers): .list(numbers.map { .double($0) })
                case .boolArray(let flags): .list(flags.map { .bool($0) })
                case .stringConvertible(let value): .string(Attribute.cut("\(value)"))
                case .stringConvertibleArray(let values): .list(values.map { .string(Attribute.cut("\($0)")) })
                default: .string("")
                }
        }

        enum Key: String, CodingKey { case stringValue, intValue, doubleValue, boolValue, arrayValue }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Key.self)
            switch self {
            case .string(let text): try container.encode(text, forKey: .stringValue)
            case .int(let number): try container.encode("\(number)", forKey: .intValue)
            // JSON has no word for infinity; Protobuf's mapping has these.
            case .double(let number) where !number.isFinite:
                try container.encode(
                    number.isNaN ? "NaN" : number < 0 ? "-Infinity" : "Infinity", forKey: .doubleValue)
            case .double(let number): try container.encode(number, forKey: .doubleValue)
            case .bool(let flag): try container.encode(flag, forKey: .boolValue)
            case .list(let values): try container.encode(["values": values], forKey: .arrayValue)
            }
        }
    }
}
