import FleetModel
import NetworkClient

/// What `network.resolve.v1` takes.
public struct ResolveParameters: JobParameters {
    public static let type: JobType = "network.resolve.v1"

    /// An absolute name; for PTR records an address will do.
    public var name: String
    /// What to ask for; A and AAAA when absent.
    public var types: [String]?
    /// Whether to ask even if the cache knows; the answer goes into the cache. False when absent.
    public var fresh: Bool?

    public static let typesDefault: [DNSRecordType] = [.a, .aaaa]
    static let typesMax = DNSRecordType.allCases.count

    public static let schema = JSONSchema.object(
        [
            "name": .string(description: "an absolute name; for PTR an address will do", lengthMax: 254),
            "types": .array(
                of: .string(values: DNSRecordType.allCases.map(\.rawValue)),
                description: "what to ask for; A and AAAA when absent"),
            "fresh": .boolean(description: "ask even if the cache knows"),
        ], required: ["name"])

    public init(name: String, types: [String]? = nil, fresh: Bool? = nil) {
        self.name = name
        self.types = types
        self.fresh = fresh
    }

    public func validate() throws(InvalidParameters) { _ = try questions() }

    func questions() throws(InvalidParameters) -> [DNSQuestion] {
        var questions: [DNSQuestion] = []
        for type in try recordTypes() {
            do throws(NetworkError) {
                if type == .ptr, let address = Endpoint(address: name, port: 0) {
                    questions.append(DNSQuestion(DNSName(reverseOf: address), .ptr))
                } else {
                    questions.append(DNSQuestion(try DNSName(name), type))
                }
            } catch {
                throw InvalidParameters("'name' is none that can be asked for: \(error.message)")
            }
        }
        return questions
    }

    private func recordTypes() throws(InvalidParameters) -> [DNSRecordType] {
        guard let types else { return Self.typesDefault }
        guard !types.isEmpty, Set(types).count == types.count else {
            throw InvalidParameters("'types' must list at least one type, and each once")
        }
        var found: [DNSRecordType] = []
        for type in types {
            guard let known = DNSRecordType(rawValue: type) else {
                let all = DNSRecordType.allCases.map(\.rawValue).joined(separator: ", ")
                throw InvalidParameters("'types' has '\(type.prefix(20))'; known are \(all)")
            }
            found.append(known)
        }
        return found
    }
}

/// What `network.resolve.v1` yields.
public struct ResolveOutput: Codable, Sendable {
    public struct Record: Codable, Sendable {
        /// Of the record itself: the question's, or one that an alias led to.
        public let name: String
        public let type: String
        /// As the server told it.
        public let ttlSeconds: Int
        /// As zone files have it.
        public let value: String

        enum CodingKeys: String, CodingKey {
            case name, type, value
            case ttlSeconds = "ttl_s"
        }
    }

    public struct Answer: Codable, Sendable {
        public let type: String
        /// `found`; `no_data`: the name has no such record; `no_name`: there is no such name.
        public let status: String
        /// The aliases on the way, first, then the records asked for.
        public let records: [Record]
        /// The name at the end of the aliases.
        public let canonicalName: String
        /// Whether no server had to be asked for this job.
        public let cached: Bool
        /// For how much longer the cache holds the answer; 0 when it does not.
        public let remainingSeconds: Int

        enum CodingKeys: String, CodingKey {
            case type, status, records, cached
            case canonicalName = "canonical_name"
            case remainingSeconds = "remaining_ttl_s"
        }

        init(_ resolution: Resolution) {
            let answer = resolution.answer
            type = resolution.question.type.rawValue
            status =
                switch answer.status {
                case .found: "found"
                case .noData: "no_data"
                case .noName: "no_name"
                }
            records = (answer.aliases + answer.records).map {
                Record(name: "\($0.name)", type: $0.type.rawValue, ttlSeconds: Int($0.ttl), value: $0.text)
            }
            canonicalName = "\(answer.canonicalName(of: resolution.question))"
            cached = resolution.source == .cache
            remainingSeconds = Int(resolution.remaining.components.seconds)
        }
    }

    public let name: String
    public let answers: [Answer]
    public let durationMilliseconds: Int64

    enum CodingKeys: String, CodingKey {
        case name, answers
        case durationMilliseconds = "duration_ms"
    }
}

extension NetworkSubsystem {
    var resolve: JobDefinition {
        JobDefinition(
            ResolveParameters.self, summary: "look a name up; answers are kept for their TTL", timeout: .seconds(60)
        ) { [resolver, metrics] (parameters: ResolveParameters, _: JobContext) -> ResolveOutput in
            let begin = ContinuousClock.now
            var answers: [ResolveOutput.Answer] = []
            do {
                for question in try parameters.questions() {
                    answers.append(
                        ResolveOutput.Answer(try await resolver.resolve(question, fresh: parameters.fresh ?? false)))
                }
            } catch let error as NetworkError {
                throw JobFailure(error)
            }
            metrics.cacheHolds(resolver.cached)
            return ResolveOutput(
                name: parameters.name, answers: answers,
                durationMilliseconds: (ContinuousClock.now - begin).milliseconds)
        }
    }
}
