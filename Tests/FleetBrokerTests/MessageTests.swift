import AMQPClient
import FleetBroker
import FleetModel
import FleetTestKit
import FoundationEssentials
import Testing

private let plain = Job(type: "api.request.v1", key: "k-1", payload: Array("{}".utf8))
private let full = Job(
    type: "api.request.v1", key: "k-ä", payload: Array(#"{"url":"http://x"}"#.utf8), replyTo: "answers",
    correlationID: "c-1",
    subject: "class 4b", traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    deadline: .milliseconds(1_500),
    attemptsMax: 3, producer: "shop")

/// Why a message is rejected; nil when it is a job.
private func rejection(
    _ flaws: AMQPDeliveryFlaws = [], payloadBytesMax: Int = 100, _ change: (inout AMQPMessage) -> Void = { _ in }
) -> Rejection? {
    var message = full.message()
    change(&message)
    do throws(Rejection) {
        _ = try Job(delivery(message, flaws: flaws), payloadBytesMax: payloadBytesMax)
        return nil
    } catch {
        return error
    }
}

@Suite("Jobs as messages")
struct JobMessageTests {
    @Test("A job that travels comes out as it went in", arguments: [plain, full])
    func roundTrip(_ job: Job) throws {
        #expect(try Job(delivery(job.message()), payloadBytesMax: 100) == job)
    }

    @Test("A job's message is plain AMQP: persistent, mandatory, routed by its type")
    func message() {
        let message = full.message()
        #expect((message.exchange, message.routingKey) == ("gaia.jobs", "api.request.v1"))
        #expect(message.mandatory)
        #expect(message.properties.persistent)
        #expect(message.properties.contentType == "application/json")
        #expect((message.properties.messageID, message.properties.type) == ("k-ä", "api.request.v1"))
        #expect(
            (message.properties.replyTo, message.properties.correlationID, message.properties.appID) == (
                "answers", "c-1", "shop"
            ))
        #expect(
            message.properties.headers == [
                "x-gaia-deadline-ms": .int(1_500), "x-gaia-max-attempts": .int(3),
                "x-gaia-subject": .string("class 4b"),
                "traceparent": .string("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ])
        #expect(message.body == full.payload)
        #expect(plain.message().properties.headers.isEmpty)
    }

    @Test("Without the property 'type' the routing key names the type; foreign headers do no harm")
    func foreign() throws {
        var message = plain.message()
        message.properties.type = nil
        message.properties.headers = ["x-other": .table(["a": .array([.null])])]
        #expect(try Job(delivery(message), payloadBytesMax: 2) == plain)
    }

    @Test("A payload of the greatest size is taken, one byte more is not")
    func size() {
        #expect(rejection(payloadBytesMax: full.payload.count) == nil)
        let over = rejection(payloadBytesMax: full.payload.count - 1)
        #expect(over?.reason == .tooLarge)
        #expect(over?.description.contains("\(full.payload.count) bytes, at most \(full.payload.count - 1)") == true)
        #expect(rejection(.oversize)?.reason == .tooLarge)
    }

    @Test("Flawed deliveries are rejected with the flaw")
    func deliveryFlaws() {
        #expect(rejection(.invalidUTF8)?.description.contains("UTF-8") == true)
        #expect(rejection(.invalidUTF8)?.reason == .malformed)
        #expect(rejection(.headersTooDeep)?.description.contains("nests too deep") == true)
        #expect(rejection(.headersTooDeep)?.reason == .malformed)
    }

    @Test("A type that is none, and a key that is missing or none, are rejected as such")
    func typeAndKey() {
        #expect(rejection { $0.properties.type = "nonsense" }?.reason == .unknownType)
        #expect(rejection { ($0.properties.type, $0.routingKey) = (nil, "") }?.reason == .unknownType)
        #expect(rejection { $0.properties.messageID = nil }?.reason == .missingKey)
        for key in ["", "a\0b", "a\nb", String(repeating: "x", count: 201)] {
            let rejection = rejection { $0.properties.messageID = key }
            #expect(rejection?.reason == .missingKey)
            #expect(rejection?.description.hasPrefix("message_id: the idempotency key") == true)
        }
    }

    @Test(
        "A header of ours with a value that makes no sense is rejected by name",
        arguments: [
            (JobHeader.deadline, AMQPValue.int(0)), (JobHeader.deadline, .int(-1)), (JobHeader.deadline, .string("5")),
            (JobHeader.deadline, .int(.max)), (JobHeader.deadline, .double(5)), (JobHeader.attemptsMax, .int(0)),
            (JobHeader.attemptsMax, .int(1_001)), (JobHeader.attemptsMax, .bool(true)), (JobHeader.subject, .int(5)),
            (JobHeader.subject, .string(String(repeating: "x", count: 256))), (JobHeader.subject, .string("a\0")),
        ])
    func headers(_ name: String, _ value: AMQPValue) {
        let rejection = rejection { $0.properties.headers[name] = value }
        #expect(rejection?.reason == .malformed)
        #expect(rejection?.description.contains(name) == true)
    }

    @Test(
        "A trace that cannot be read is none, and no reason to refuse a job",
        arguments: [
            AMQPValue.bytes([0xFF]), .null, .int(5), .string(String(repeating: "x", count: 256)), .string("a\0"),
        ])
    func trace(_ value: AMQPValue) {
        #expect(rejection { $0.properties.headers[JobHeader.traceparent] = value } == nil)
    }

    @Test("A property with a NUL is rejected by name: no table would hold it")
    func nul() {
        #expect(rejection { $0.properties.replyTo = "a\0" }?.description == "reply_to holds a NUL character")
        #expect(rejection { $0.properties.correlationID = "\0" }?.description == "correlation_id holds a NUL character")
        #expect(rejection { $0.properties.appID = "a\0b" }?.description == "app_id holds a NUL character")
        #expect(rejection { $0.properties.appID = "a\0b" }?.reason == .malformed)
    }
}

@Suite("Messages that are set aside")
struct SetAsideTests {
    private struct Notice: Decodable {
        struct Content: Decodable { var job, key, outcome, reason, message: String }
        var type, subject: String
        var data: Content
    }

    @Test("The message is kept as it came, with the reason in its headers", arguments: Rejection.Reason.allCases)
    func message(_ reason: Rejection.Reason) {
        var original = full.message()
        original.properties.priority = 4
        original.properties.expiration = "1000"
        original.properties.userID = "somebody"
        original.properties.timestamp = 1_700_000_000
        original.properties.contentEncoding = "identity"
        original.body = [0, 0xFF, 1]
        let aside = Rejection(reason, "because \"x\"").setAside(delivery(original), worker: "w-1")
        #expect((aside.exchange, aside.routingKey) == ("gaia.dead", "api.request.v1"))
        #expect(aside.mandatory)
        #expect(aside.body == original.body)
        var expected = original.properties
        expected.expiration = nil
        expected.userID = nil
        expected.headers["x-gaia-reason"] = .string(reason.rawValue)
        expected.headers["x-gaia-error"] = .string("because \"x\"")
        expected.headers["x-gaia-queue"] = .string("gaia.jobs.api")
        expected.headers["x-gaia-worker"] = .string("w-1")
        #expect(aside.properties == expected)
    }

    @Test("A long reason is cut, so that the headers stay small")
    func longReason() {
        let aside = Rejection(.malformed, String(repeating: "é", count: 5_000)).setAside(
            delivery(plain.message()), worker: "w")
        #expect(aside.properties.headers["x-gaia-error"] == .string(String(repeating: "é", count: 1_000)))
    }

    @Test("Operators and whoever asked are told; nobody is told at a queue name that was not text")
    func notices() throws {
        let rejection = Rejection(.invalidJSON, "no \"JSON\"")
        let notices = rejection.notices(delivery(full.message()), worker: "w-1")
        #expect(notices.map(\.exchange) == ["gaia.events", ""])
        #expect(notices.map(\.routingKey) == ["job.rejected", "answers"])
        #expect(notices.allSatisfy { $0.properties.correlationID == "c-1" && !$0.mandatory })
        for notice in notices {
            let event = try JSONDecoder().decode(Notice.self, from: Data(notice.body))
            #expect((event.type, event.subject) == ("gaia.job.rejected", "k-ä"))
            #expect((event.data.job, event.data.key, event.data.outcome) == ("api.request.v1", "k-ä", "rejected"))
            #expect((event.data.reason, event.data.message) == ("invalid-json", "no \"JSON\""))
        }
        #expect(rejection.notices(delivery(full.message(), flaws: .invalidUTF8), worker: "w").count == 1)
        #expect(rejection.notices(delivery(plain.message()), worker: "w").count == 1)
        #expect(
            rejection.notices(delivery(AMQPMessage(exchange: "", routingKey: "", body: [])), worker: "w").count == 1)
    }
}

@Suite("Answers and events")
struct AnswerTests {
    private let result = JobResult(
        identity: JobIdentity(subsystem: "api", key: "k"), type: "api.request.v1", state: .succeeded, attempt: 2,
        finishedAt: "2026-01-01T00:00:00Z", output: "1", error: nil)

    @Test("A result goes to everyone by type and outcome, and the same result to one queue")
    func toEveryone() {
        let message = result.message(correlationID: "c")
        let reply = result.reply(to: "answers", correlationID: "c")
        #expect((message.exchange, message.routingKey) == ("gaia.results", "api.request.v1.succeeded"))
        #expect((reply.exchange, reply.routingKey) == ("", "answers"))
        #expect(message.properties == reply.properties)
        #expect(message.body == reply.body && message.body == result.document)
        #expect(message.properties.messageID == "api/k/succeeded")
        #expect(message.properties.correlationID == "c")
        #expect(message.properties.contentType == "application/cloudevents+json")
        #expect(message.properties.persistent)
        #expect(result.message(correlationID: nil).properties.correlationID == "k")
    }

    @Test(
        "An event tells what happened, once per claim", arguments: [JobEvent.Kind.retrying, .discarded, .indeterminate])
    func event(_ kind: JobEvent.Kind) throws {
        struct Event: Decodable {
            struct Content: Decodable {
                var job, key: String
                var attempt: Int
                var retryInMilliseconds: Int?
                var `for`: String?
                var error: [String: String]

                enum CodingKeys: String, CodingKey {
                    case job, key, attempt, `for`, error
                    case retryInMilliseconds = "retry_in_ms"
                }
            }
            var id, type: String
            var data: Content
        }
        let message = JobEvent(
            kind, job: full, attempt: 2, content: ("error", #"{"code":"x"}"#),
            delay: kind == .retrying ? .seconds(3) : nil
        )
        .message(token: 9)
        #expect((message.exchange, message.routingKey) == ("gaia.events", "job.\(kind.rawValue)"))
        let event = try JSONDecoder().decode(Event.self, from: Data(message.body))
        #expect((event.id, event.type) == ("api/k-ä/\(kind.rawValue)/9", "gaia.job.\(kind.rawValue)"))
        #expect((event.data.job, event.data.key, event.data.attempt) == ("api.request.v1", "k-ä", 2))
        #expect(event.data.retryInMilliseconds == (kind == .retrying ? 3_000 : nil))
        #expect(event.data.for == "class 4b")
        #expect(event.data.error == ["code": "x"])
    }

    @Test("The broker's word is told in the producer's words")
    func outcomes() {
        #expect(EnqueueOutcome(.confirmed) == .queued)
        #expect(EnqueueOutcome(.returned(code: 312, reason: "NO_ROUTE")) == .failed("no queue takes it: 312 NO_ROUTE"))
        #expect(EnqueueOutcome(.unknown(reason: "lost")) == .unknown("lost"))
        #expect(EnqueueOutcome(.notSent(reason: "blocked")) == .failed("blocked"))
        guard case .failed(let text) = EnqueueOutcome(.refused) else {
            Issue.record("a refused message is not safe")
            return
        }
        #expect(text.contains("refused"))
    }
}

@Suite("Topology")
struct TopologyTests {
    private let topology = FleetBroker.topology(subsystems: ["gaia", "api", "gaia"])

    private func queue(_ name: String) throws -> AMQPQueue { try #require(topology.queues.first { $0.name == name }) }

    @Test("Everything lasts, each name stands once, and each subsystem has a queue bound to its types")
    func names() {
        #expect(
            topology.exchanges.map(\.name).sorted()
                == [
                    "gaia.control", "gaia.dead", "gaia.enqueue", "gaia.events", "gaia.jobs", "gaia.results",
                    "gaia.unroutable",
                ])
        #expect(
            topology.queues.map(\.name).sorted()
                == [
                    "gaia.dead", "gaia.enqueue", "gaia.jobs.api", "gaia.jobs.api.high", "gaia.jobs.gaia",
                    "gaia.jobs.gaia.high", "gaia.unroutable",
                ])
        #expect(topology.exchanges.allSatisfy { $0.durable && !$0.autoDelete })
        #expect(topology.queues.allSatisfy { $0.durable && !$0.autoDelete && !$0.exclusive })
        #expect(
            topology.bindings.contains(AMQPBinding(queue: "gaia.jobs.api", exchange: "gaia.jobs", routingKey: "api.#")))
        #expect(
            topology.bindings.contains(AMQPBinding(queue: "gaia.enqueue", exchange: "gaia.enqueue", routingKey: "")))
        #expect(topology.bindings.contains(AMQPBinding(queue: "gaia.dead", exchange: "gaia.dead", routingKey: "")))
        #expect(
            topology.bindings.contains(
                AMQPBinding(queue: "gaia.unroutable", exchange: "gaia.unroutable", routingKey: "")))
        #expect(
            topology.bindings.contains(
                AMQPBinding(queue: "gaia.jobs.api.high", exchange: "gaia.jobs", routingKey: "urgent.api.#")))
        #expect(topology.bindings.count == 7)
    }

    @Test("Jobs that fit no queue are kept, and what is set aside does not depend on its routing key")
    func exchanges() throws {
        let jobs = try #require(topology.exchanges.first { $0.name == "gaia.jobs" })
        #expect(jobs.kind == "topic")
        #expect(jobs.arguments == ["alternate-exchange": .string("gaia.unroutable")])
        for name in ["gaia.dead", "gaia.enqueue", "gaia.unroutable"] {
            #expect(topology.exchanges.first { $0.name == name }?.kind == "fanout")
        }
    }

    @Test("Queues of jobs and requests end a loop of redeliveries and lose nothing on the way to gaia.dead")
    func arguments() throws {
        for name in ["gaia.jobs.api", "gaia.jobs.gaia", "gaia.enqueue"] {
            #expect(
                try queue(name).arguments == [
                    "x-queue-type": .string("quorum"), "x-delivery-limit": .int(50),
                    "x-dead-letter-exchange": .string("gaia.dead"),
                    "x-dead-letter-strategy": .string("at-least-once"), "x-overflow": .string("reject-publish"),
                ])
        }
        for name in ["gaia.dead", "gaia.unroutable"] {
            #expect(
                try queue(name).arguments
                    == ["x-queue-type": .string("quorum"), "x-delivery-limit": .int(1_000_000)],
                "nothing drops what was set aside, not even the limit of 20 that RabbitMQ 4 has by itself")
        }
    }
}
