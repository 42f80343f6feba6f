import FleetModel
import FoundationEssentials
import Testing

private struct Meal: JobParameters, Equatable {
    static let type: JobType = "kitchen.cook.v1"
    struct Dish: Codable, Sendable, Equatable {
        var name: String
        var grams: Int
    }
    var dishes: [Dish]
    var table: Int
    var vegan: Bool?

    func validate() throws(InvalidParameters) {
        if table < 1 { throw InvalidParameters("'table' must be at least 1") }
    }
}

@Suite("Job definitions")
struct JobDefinitionTests {
    private let definition = JobDefinition(Meal.self) { (meal: Meal, context: JobContext) -> [String] in
        meal.dishes.map(\.name) + ["attempt \(context.attempt)"]
    }
    private let context = JobContext(type: Meal.type, key: "k", attempt: 2, token: 7, subject: nil, traceparent: nil)

    @Test("A payload is read, checked, run, and its output written as JSON")
    func run() async throws {
        let prepared = try definition.prepare(Array(#"{"table":1,"dishes":[{"name":"a/b","grams":5}],"else":0}"#.utf8))
        #expect(try await prepared(context) == #"["a/b","attempt 2"]"#)
        #expect(definition.type == Meal.type)
        #expect(context.idempotencyKey == "k")
    }

    @Test("Under another name it is the same")
    func renamed() async throws {
        let second = definition.renamed("kitchen.meal.v2")
        #expect(second.type == "kitchen.meal.v2")
        #expect(second.schema == definition.schema)
        let prepared = try second.prepare(Array(#"{"table":1,"dishes":[{"name":"a","grams":5}]}"#.utf8))
        #expect(try await prepared(context) == #"["a","attempt 2"]"#)
    }

    @Test("A handler without a result yields null")
    func nothing() async throws {
        #expect(try await NoopParameters.definition.prepare(Array("{}".utf8))(context) == "null")
    }

    @Test(
        "A payload that does not fit names the place",
        arguments: [
            (#"{"table":1}"#, "'dishes' is missing"),
            (#"{"table":1,"dishes":[{"name":"x"}]}"#, "'dishes.Index 0.grams' is missing"),
            (
                #"{"table":1,"dishes":[{"name":"x","grams":1},{"name":5,"grams":1}]}"#,
                "'dishes.Index 1.name' is not of type string"
            ),
            (#"{"table":"1","dishes":[]}"#, "'table' is not of type integer"),
            (#"{"table":1,"dishes":{}}"#, "'dishes' is not of type Array"),
            (#"{"table":null,"dishes":[]}"#, "'table' must not be null"),
            (#"{"table":1,"dishes":[],"vegan":"no"}"#, "'vegan' is not of type boolean"),
            (#"{"table":1.5,"dishes":[]}"#, "the payload is no JSON, or holds a number that does not fit"),
            (#"{"table":0,"dishes":[]}"#, "'table' must be at least 1"),
            ("[]", "the payload is not of type object"), ("{", "the payload is no JSON"),
        ])
    func flaws(_ payload: String, _ expected: String) {
        let error = #expect(throws: InvalidParameters.self) { _ = try definition.prepare(Array(payload.utf8)) }
        #expect(error?.description.hasPrefix(expected) == true, "\(error?.description ?? "")")
    }

    @Test("Parameters encoded for a job are read back by its definition")
    func roundTrip() throws {
        let meal = Meal(dishes: [.init(name: "é\"\\", grams: 3)], table: 4, vegan: true)
        let job = try Job(meal, key: "k", replyTo: "r", correlationID: "c", subject: "s")
        #expect(try CanonicalJSON.text(of: job.payload) == String(decoding: job.payload, as: UTF8.self))
        #expect(try JSONDecoder().decode(Meal.self, from: Data(job.payload)) == meal)
        #expect(job.identity == JobIdentity(subsystem: "kitchen", key: "k"))
    }
}

@Suite("Job results")
struct JobResultTests {
    private struct Document: Decodable {
        struct Content: Decodable {
            struct Fault: Decodable {
                var kind, code, message: String
                var attempt: Int
                var worker: String
            }
            var job, key, outcome: String
            var attempt: Int
            var output: [Int]?
            var error: Fault?
        }
        var specversion, id, source, type, subject, time, datacontenttype: String
        var data: Content
    }

    private func result(_ state: JobState, output: String? = nil, error: String? = nil) -> JobResult {
        JobResult(
            identity: JobIdentity(subsystem: "api", key: "k\"1\n"), type: "api.request.v1", state: state, attempt: 3,
            finishedAt: "2026-01-02T03:04:05.678Z", output: output, error: error)
    }

    @Test("A result is a CloudEvent in canonical names")
    func document() throws {
        let document = try JSONDecoder().decode(Document.self, from: Data(result(.succeeded, output: "[1,2]").document))
        #expect(document.specversion == "1.0")
        #expect(document.id == "api/k\"1\n/succeeded")
        #expect(document.source == "/gaia/api")
        #expect(document.type == "gaia.job.succeeded")
        #expect(document.subject == "k\"1\n")
        #expect(document.time == "2026-01-02T03:04:05.678Z")
        #expect(document.datacontenttype == "application/json")
        #expect(
            (document.data.job, document.data.key, document.data.outcome) == ("api.request.v1", "k\"1\n", "succeeded"))
        #expect(document.data.attempt == 3)
        #expect(document.data.output == [1, 2])
        #expect(document.data.error == nil)
    }

    @Test("A failed job's result holds its last error")
    func error() throws {
        let failure = JobFailure(.permanent, code: "api.404", message: "not \"there\"\u{1}")
        let text = failure.document(attempt: 3, worker: "w\\1")
        let document = try JSONDecoder().decode(Document.self, from: Data(result(.discarded, error: text).document))
        let fault = try #require(document.data.error)
        #expect((fault.kind, fault.code, fault.message) == ("permanent", "api.404", "not \"there\"\u{1}"))
        #expect((fault.attempt, fault.worker) == (3, "w\\1"))
        #expect(document.data.output == nil)
    }

    @Test("The id tells job and outcome, and nothing that changes between repeats")
    func stableID() {
        var seen: Set<String> = []
        for state in JobState.allCases where state.isFinal { #expect(seen.insert(result(state).id).inserted) }
        let later = JobResult(
            identity: JobIdentity(subsystem: "api", key: "k\"1\n"), type: "api.request.v1", state: .succeeded,
            attempt: 9,
            finishedAt: "later", output: "{}", error: nil)
        #expect(later.id == result(.succeeded, output: "[1]").id)
    }

    @Test("Four states are final")
    func states() {
        #expect(JobState.allCases.filter(\.isFinal) == [.succeeded, .discarded, .cancelled, .indeterminate])
    }
}
