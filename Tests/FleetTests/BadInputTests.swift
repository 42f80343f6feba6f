import AMQPClient
import APISubsystem
import FleetBroker
import FleetModel
import FleetTestKit
import FleetWorker
import RawAMQP
import Testing

/// A message that no worker can take.
struct BadInput: Sendable, CustomTestStringConvertible {
    enum Form: Sendable {
        case message(AMQPMessage)
        /// The properties as bytes, for what the client would not send.
        case raw(properties: [UInt8], body: [UInt8])
    }

    let testDescription: String
    let form: Form
    let reason: Rejection.Reason
    /// What the explanation must mention.
    let hint: String

    /// A message that is right but for what `change` makes of it.
    init(
        _ description: String, _ reason: Rejection.Reason, hint: String,
        _ change: (inout AMQPMessage) -> Void
    ) {
        var properties = AMQPProperties(contentType: "application/json", messageID: "bad", type: Work.type.name)
        properties.headers["x-other"] = .string("kept")
        var message = AMQPMessage(
            exchange: FleetBroker.jobsExchange, routingKey: Work.type.name, mandatory: true, properties: properties,
            body: Array(#"{"text":"bad"}"#.utf8))
        change(&message)
        (testDescription, form, self.reason, self.hint) = (description, .message(message), reason, hint)
    }

    init(_ description: String, _ reason: Rejection.Reason, hint: String, rawProperties: [UInt8]) {
        testDescription = description
        form = .raw(properties: rawProperties, body: Array(#"{"text":"bad"}"#.utf8))
        (self.reason, self.hint) = (reason, hint)
    }

    /// An HTTP call to what is no place for one.
    init(_ description: String, url: String) {
        self.init(description, .invalidParameters, hint: "http") {
            $0.properties.type = "api.request.v1"
            $0.routingKey = "api.request.v1"
            $0.body = Array(#"{"url":"\#(url)"}"#.utf8)
        }
    }

    /// Valid JSON around one string that nests like nothing a person would write.
    static func nested(_ levels: Int) -> [UInt8] {
        let opening = String(repeating: "[", count: levels)
        let closing = String(repeating: "]", count: levels)
        return Array(#"{"text":"a","number":\#(opening)\#(closing)}"#.utf8)
    }

    static let all: [BadInput] = [
        BadInput("not JSON", .invalidJSON, hint: "no JSON") { $0.body = Array("hello".utf8) },
        BadInput("an empty body", .invalidJSON, hint: "empty") { $0.body = [] },
        BadInput("JSON that is cut off", .invalidJSON, hint: "it ends where") { $0.body = Array(#"{"text":"a"#.utf8) },
        BadInput("a name that stands twice", .invalidJSON, hint: "twice") {
            $0.body = Array(#"{"text":"a","text":"b"}"#.utf8)
        },
        BadInput("JSON nested 10,000 deep", .invalidJSON, hint: "nests deeper") { $0.body = nested(10_000) },
        BadInput("a body that is not UTF-8", .invalidJSON, hint: "UTF-8") {
            $0.body = Array(#"{"text":""#.utf8) + [0xFF, 0xC0] + Array(#""}"#.utf8)
        },
        BadInput("a NUL byte in a JSON string", .invalidJSON, hint: "control character") {
            $0.body = Array(#"{"text":""#.utf8) + [0] + Array(#""}"#.utf8)
        },
        BadInput("JSON of the wrong shape", .invalidParameters, hint: "'text' is not of type string") {
            $0.body = Array(#"{"text":5}"#.utf8)
        },
        BadInput("JSON without a required member", .invalidParameters, hint: "'text' is missing") {
            $0.body = Array("{}".utf8)
        },
        BadInput("JSON that is no object", .invalidParameters, hint: "not of type object") {
            $0.body = Array("[1]".utf8)
        },
        BadInput("a value that makes no sense", .invalidParameters, hint: "must not be negative") {
            $0.body = Array(#"{"text":"a","number":-1}"#.utf8)
        },
        BadInput("a number that fits no integer", .invalidParameters, hint: "does not fit") {
            $0.body = Array(#"{"text":"a","number":1e999}"#.utf8)
        },
        BadInput("an unknown type", .unknownType, hint: "it knows") { $0.properties.type = "test.other.v1" },
        BadInput("a type that is none", .unknownType, hint: "'type'") { $0.properties.type = "Do Something" },
        BadInput("no message_id", .missingKey, hint: "idempotency key") { $0.properties.messageID = nil },
        BadInput("an empty message_id", .missingKey, hint: "empty") { $0.properties.messageID = "" },
        BadInput("a message_id that is too long", .missingKey, hint: "hash it") {
            $0.properties.messageID = String(repeating: "k", count: 201)
        },
        BadInput("a NUL in message_id", .missingKey, hint: "control character") { $0.properties.messageID = "a\0b" },
        BadInput("a NUL in correlation_id", .malformed, hint: "correlation_id") {
            $0.properties.correlationID = "a\0b"
        },
        BadInput("a NUL in a header", .malformed, hint: JobHeader.subject) {
            $0.properties.headers[JobHeader.subject] = .string("a\0b")
        },
        BadInput("a header of the wrong kind", .malformed, hint: JobHeader.attemptsMax) {
            $0.properties.headers[JobHeader.attemptsMax] = .string("three")
        },
        BadInput("a payload over the limit", .tooLarge, hint: "limits.payload_bytes") {
            $0.body = Array(#"{"text":""#.utf8) + [UInt8](repeating: 0x78, count: 1 << 20) + Array(#""}"#.utf8)
        },
        BadInput("a URL that is not http or https", url: "file:///etc/passwd"),
        BadInput("a URL of another protocol", url: "ftp://127.0.0.1/x"),
        BadInput("a URL without a scheme", url: "127.0.0.1/x"),
        BadInput("a URL without a host", url: "http://"),
        BadInput("a URL with an impossible port", url: "http://127.0.0.1:99999/"),
        BadInput("no URL at all", url: ""),
        BadInput("a script for a URL", url: "javascript:alert(1)"),
        BadInput("a URL with a line break", url: "http://127.0.0.1/\\r\\nHost: x"),
        BadInput(
            "a header table nested 10,000 deep", .malformed, hint: "nests too deep",
            rawProperties: Wire.properties(
                type: Array(Work.type.name.utf8), messageID: Array("bad".utf8),
                headers: Wire.nestedTable(levels: 10_000))),
        BadInput(
            "a message_id that is not UTF-8", .malformed, hint: "UTF-8",
            rawProperties: Wire.properties(type: Array(Work.type.name.utf8), messageID: [0x62, 0xFF, 0xFE])),
        BadInput(
            "a type that is not UTF-8", .malformed, hint: "UTF-8",
            rawProperties: Wire.properties(type: [0xC3, 0x28], messageID: Array("bad".utf8))),
    ]
}

@Suite("Bad input", .timeLimit(.minutes(5)))
struct BadInputTests {
    @Test("It is set aside with its reason and its neighbours are untouched", arguments: BadInput.all)
    func setAside(input: BadInput) async throws {
        let (recorder, api) = (Recorder(), APISubsystem())
        try await TestFleet.use(workers: 0) { fleet in
            let worker = try await fleet.addWorker([Work.definition(recorder)] + api.definitions)
            try await fleet.enqueue(Work("before"), key: "before")
            var isRaw = false
            switch input.form {
            case .message(let message): try await fleet.publish([message])
            case .raw(let properties, let body):
                isRaw = true
                try await RawPublisher(fleet.place.amqp).publish(
                    exchange: "gaia.jobs", routingKey: Work.type.name, properties: properties, body: body)
            }
            try await fleet.enqueue(Work("after"), key: "after")
            #expect(try await fleet.mailbox.reply("before").outcome == "succeeded")
            #expect(try await fleet.mailbox.reply("after").outcome == "succeeded")

            let dead = try await fleet.dead(1)[0]
            let headers = dead.properties.headers
            #expect(headers[JobHeader.reason] == .string(input.reason.rawValue))
            guard case .string(let error)? = headers[JobHeader.error] else {
                Issue.record("no \(JobHeader.error) among \(headers.keys)")
                return
            }
            #expect(error.contains(input.hint))
            #expect(headers[JobHeader.worker] == .string("worker-1"))
            if case .message(let message) = input.form {
                #expect(headers["x-other"] == .string("kept"))
                #expect(dead.body == message.body)
                #expect(
                    headers[JobHeader.queue]
                        == .string(FleetBroker.jobsQueue(String(message.routingKey.prefix { $0 != "." }))))
            }
            #expect(dead.redelivered == false)
            #expect(isRaw || dead.properties.persistent)

            let news = try await fleet.mailbox.wait(for: "the event") { !$0.events.isEmpty }
            #expect(news.events.map(\.type) == ["gaia.job.rejected"])
            #expect(news.events[0].document["data"]?["reason"] == .string(input.reason.rawValue))

            // One delivery, one rejection: a message that went round would be counted again.
            #expect(worker.counters.values.rejected == 1)
            #expect(recorder.runs.count == 2)
            for queue in ["gaia.jobs.test", "gaia.jobs.api"] { #expect(try await fleet.leftover(in: queue) == 0) }
            #expect(try await fleet.place.ready(in: FleetBroker.deadQueue) == 0)
        }
        await api.close()
    }

    @Test("A producer that asked for an answer is told why")
    func told() async throws {
        try await TestFleet.use(definitions: [Work.definition(Recorder())]) { fleet in
            var message = try Job(Work("a"), key: "k", replyTo: fleet.mailbox.replyQueue, correlationID: "c").message()
            message.body = Array("{".utf8)
            try await fleet.publish([message])
            let refusal = try await fleet.mailbox.reply("c")
            #expect(refusal.type == "gaia.job.rejected")
            #expect(refusal.key == "k")
            #expect(refusal.document["data"]?["reason"] == .string("invalid-json"))
        }
    }

    @Test("A message that was set aside does not use up its key")
    func keyStaysFree() async throws {
        try await TestFleet.use(definitions: [Work.definition(Recorder())]) { fleet in
            var message = try Job(Work("a"), key: "k").message()
            message.body = Array("{".utf8)
            try await fleet.publish([message])
            _ = try await fleet.dead(1)
            #expect(try await fleet.job("k") == nil)
            try await fleet.enqueue(Work("corrected"), key: "k")
            #expect(try await fleet.mailbox.reply("k").output?["text"] == .string("corrected"))
        }
    }

    @Test("A body larger than a client takes into memory is moved to gaia.dead by the broker, its neighbours untouched")
    func overTheClientsCap() async throws {
        let recorder = Recorder()
        try await TestFleet.use(workers: 0) { fleet in
            let worker = try await fleet.addWorker([Work.definition(recorder)])
            try await fleet.enqueue(Work("before"), key: "before")
            var message = try Job(Work(), key: "bad", replyTo: fleet.mailbox.replyQueue).message()
            message.body = [UInt8](repeating: 0x20, count: fleet.place.amqp.maxBodyBytes + 1)
            try await fleet.publish([message])
            try await fleet.enqueue(Work("after"), key: "after")
            #expect(try await fleet.mailbox.reply("before").outcome == "succeeded")
            #expect(try await fleet.mailbox.reply("after").outcome == "succeeded")
            let refusal = try await fleet.mailbox.reply("bad")
            #expect(refusal.document["data"]?["reason"] == .string("too-large"))

            let dead = try await fleet.dead(1)[0]
            #expect(dead.properties.messageID == "bad")
            #expect(dead.bodyBytes == UInt64(message.body.count))
            #expect(dead.properties.headers["x-first-death-reason"] == .string("rejected"))
            #expect(dead.properties.headers["x-first-death-queue"] == .string("gaia.jobs.test"))
            #expect(worker.counters.values.rejected == 1)
            #expect(try await fleet.leftover() == 0)
        }
    }

    @Test("A NUL that is escaped as JSON demands is text like any other")
    func escapedNUL() async throws {
        try await TestFleet.use(definitions: [Work.definition(Recorder())]) { fleet in
            try await fleet.enqueue(Work("a\0b"), key: "k")
            let reply = try await fleet.mailbox.reply("k")
            #expect(reply.output?["text"] == .string("a\0b"))
            try await fleet.enqueue(Work("a\0b"), key: "k", correlationID: "again")
            #expect(try await fleet.mailbox.reply("again").document == reply.document)
        }
    }

    @Test("A job for a subsystem that no worker has ends in gaia.unroutable")
    func unroutable() async throws {
        try await TestFleet.use(definitions: [Work.definition(Recorder())]) { fleet in
            var job = try Job(Work("a"), key: "lost")
            job = Job(type: "nobody.there.v1", key: job.key, payload: job.payload)
            try await fleet.enqueue([job])
            let lost = try await fleet.place.take(1, from: FleetBroker.unroutableQueue)[0]
            #expect(lost.properties.messageID == "lost")
            #expect(lost.routingKey == "nobody.there.v1")
            #expect(lost.body == job.payload)
        }
    }
}
