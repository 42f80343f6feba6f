import AMQPClient
import FleetBroker
import FleetModel
import FleetTestKit
import FleetWorker
import Foundation
import TestPatience
import Testing

/// A trace as a collector has it.
private struct Trace {
    let spans: [Collector.Span]

    init(_ collector: Collector, _ id: String) throws { spans = try collector.spans.filter { $0.trace == id } }

    func named(_ name: String) -> [Collector.Span] { spans.filter { $0.name == name } }

    /// The path of names from the root to each span.
    var paths: [String] {
        spans.map { span in
            var names = [span.name]
            var parent = span.parent
            while let above = spans.first(where: { $0.span == parent }) {
                names.insert(above.name, at: 0)
                parent = above.parent
            }
            return names.joined(separator: " > ")
        }.sorted()
    }
}

extension Letter {
    fileprivate var traceparent: String? {
        if case .string(let text) = delivery.properties.headers[JobHeader.traceparent] { text } else { nil }
    }
}

private let id = "4bf92f3577b34da6a3ce929d0e0e4736"
private let caller = "00-\(id)-00f067aa0ba902b7-01"

@Suite("Traces", .timeLimit(.minutes(5)))
struct TraceTests {
    @Test(
        "A trace goes on through enqueue, claim, run, the call that the job makes, result and event, and the logs name it"
    )
    func whole() async throws {
        try await Collector.use { collector in
            // The first answer makes the job come again.
            try await HTTPTarget.use(answer: { $0.number == 1 ? 500 : 200 }) { target in
                let tracing = ["GAIA_TRACE_URL": collector.url, "GAIA_TRACE_RATIO": "0"]
                try await HTTPFleet.use(workers: 0, settings: tracing) { fleet in
                    let worker = try await fleet.programs.serve(
                        "worker", "tracing",
                        tracing.merging(["GAIA_API_ALLOW": "127.0.0.1", "GAIA_LOG_FORMAT": "json"]) { $1 })
                    let answer = try await fleet.http.send(
                        "POST", fleet.url + "/v1/jobs?wait=60",
                        body: """
                            {"type": "api.request.v1", "key": "k", "subject": "Ada", "backoff": "fixed 10ms",
                             "payload": {"url": "\(target.url)?secret=1"}}
                            """, headers: [("traceparent", caller)])
                    #expect(answer.status == 200, "\(answer)")
                    let expected = [
                        "POST /v1/jobs",
                        "POST /v1/jobs > send gaia.jobs",
                    ]
                    let attempt = "POST /v1/jobs > send gaia.jobs > process gaia.jobs.api"
                    let each = [
                        attempt, "\(attempt) > claim", "\(attempt) > complete", "\(attempt) > run",
                        "\(attempt) > run > GET", "\(attempt) > send gaia.results",
                    ]
                    let paths = (expected + each + each).sorted()
                    // Both shut down, so that all that they have goes out.
                    #expect(try await worker.stop(grace: .seconds(60)) == .exited(0))
                    #expect(try await fleet.dispatchers[0].process.stop(grace: .seconds(60)) == .exited(0))
                    let trace = try Trace(collector, id)
                    #expect(trace.paths == paths)
                    #expect(trace.named("POST /v1/jobs").first?.parent == "00f067aa0ba902b7")
                    #expect(Set(try collector.spans.map(\.trace)) == [id], "nothing else is recorded at this ratio")
                    #expect(trace.named("POST /v1/jobs").map(\.kind) == [2])
                    #expect(trace.named("process gaia.jobs.api").map(\.kind) == [5, 5])
                    #expect(trace.named("GET").map(\.kind) == [3, 3])

                    let attempts = trace.named("process gaia.jobs.api").sorted { $0.start < $1.start }
                    #expect(attempts.map { $0.attributes["gaia.job.attempt"] } == ["1", "2"])
                    #expect(attempts.map { $0.attributes["error.type"] } == ["api.500", nil])
                    #expect(attempts.map(\.status) == [2, 0])
                    #expect(attempts[1].attributes["messaging.message.id"] == "k")
                    #expect(
                        attempts[1].attributes["messaging.destination.name"]
                            == "gaia.jobs:api.request.v1:gaia.jobs.api")
                    let calls = trace.named("GET").sorted { $0.start < $1.start }
                    #expect(calls.map { $0.attributes["http.response.status_code"] } == ["500", "200"])
                    #expect(calls.map { $0.attributes["url.full"] } == [target.url, target.url], "without the query")

                    // What the world outside was told of.
                    #expect(target.requests.map(\.traceparent) == calls.map { "00-\(id)-\($0.span)-01" })
                    let sends = trace.named("send gaia.results").sorted { $0.start < $1.start }
                    let letters = try await fleet.fleet.mailbox.wait(for: "result and events") {
                        $0.results.count == 1 && $0.events.count >= 3
                    }
                    #expect(letters.results.map(\.traceparent) == ["00-\(id)-\(sends[1].span)-01"])
                    #expect(
                        Set(letters.events.compactMap(\.traceparent)) == Set(sends.map { "00-\(id)-\($0.span)-01" }))
                    // The stages lie one behind the other, within the whole.
                    for attempt in attempts {
                        let stages = ["claim", "run", "complete", "send gaia.results"].compactMap { name in
                            trace.spans.first { $0.parent == attempt.span && $0.name == name }
                        }
                        let times = [attempt.start] + stages.flatMap { [$0.start, $0.end] } + [attempt.end]
                        // Each is reckoned from two clocks, anew each time.
                        for (earlier, later) in zip(times, times.dropFirst()) { #expect(earlier < later + 1_000_000) }
                    }
                    let lines = worker.capturedOutput.split(separator: "\n").filter { $0.hasPrefix("{") }
                    #expect(!lines.isEmpty)
                    for line in lines {
                        let fields = try JSONDecoder().decode([String: String].self, from: Data(line.utf8))
                        #expect(fields["level"] != nil && fields["message"] != nil && fields["time"] != nil)
                    }
                }
            }
        }
    }

    @Test(
        "A job that is given up is logged with its key, attempt and trace; without a tracer the producer's trace is passed on"
    )
    func untraced() async throws {
        try await HTTPTarget.use(answer: { _ in 404 }) { target in
            try await TestFleet.use(workers: 0) { fleet in
                try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                    let worker = try await programs.serve(
                        "worker", "plain", ["GAIA_LOG_FORMAT": "json", "GAIA_API_ALLOW": "127.0.0.1"])
                    let payload = #"{"url":"\#(target.url)secret"}"#
                    try await fleet.enqueue([
                        Job(
                            type: "api.request.v1", key: "k", payload: Array(payload.utf8),
                            replyTo: fleet.mailbox.replyQueue, traceparent: caller)
                    ])
                    #expect(try await fleet.mailbox.reply("k").outcome == "discarded")
                    let letters = try await fleet.mailbox.wait(for: "everything") {
                        !$0.results.isEmpty && !$0.replies.isEmpty && !$0.events.isEmpty
                    }
                    let told = [letters.results, letters.replies, letters.events].flatMap { $0.map(\.traceparent) }
                    #expect(Set(told) == [caller])
                    #expect(target.requests.map(\.traceparent) == [caller])
                    #expect(try await worker.awaitOutput(containing: "discarded: api/k", within: patienceOfTests))
                    #expect(try await worker.stop(grace: .seconds(60)) == .exited(0))
                    let line = try #require(
                        worker.capturedOutput.split(separator: "\n").first { $0.contains("discarded: api/k") })
                    let fields = try JSONDecoder().decode([String: String].self, from: Data(line.utf8))
                    #expect(fields["message"] == "discarded: api/k after attempt 1: api.404")
                    #expect(fields["job"] == "api/k")
                    #expect(fields["attempt"] == "1")
                    #expect(fields["trace_id"] == id)
                    #expect(!worker.capturedOutput.contains("secret"))
                }
            }
        }
    }

    @Test("Repeats, conflicts and messages that are set aside have a span that says so")
    func notRun() async throws {
        try await Collector.use { collector in
            try await TestFleet.use(workers: 0) { fleet in
                try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                    let worker = try await programs.serve("worker", "tracing", ["GAIA_TRACE_URL": collector.url])
                    func job(_ key: String, _ payload: String = "{}") -> Job {
                        Job(
                            type: NoopParameters.type, key: key, payload: Array(payload.utf8),
                            replyTo: fleet.mailbox.replyQueue)
                    }
                    try await fleet.enqueue([job("k")])
                    #expect(try await fleet.mailbox.reply("k").outcome == "succeeded")
                    try await fleet.enqueue([job("k"), job("k", #"{"note":"other"}"#), job("bad", #"{"ms":-1}"#)])
                    try await fleet.mailbox.wait(for: "two answers and two refusals") { $0.replies.count >= 4 }
                    #expect(try await worker.stop(grace: .seconds(60)) == .exited(0))
                    let spans = try collector.spans.filter { $0.name == "process gaia.jobs.gaia" }
                    let ends = spans.map { $0.attributes["gaia.claim"] ?? $0.attributes["error.type"] ?? "run" }
                    #expect(ends.sorted() == ["conflict", "invalid-parameters", "repeat", "run"])
                }
            }
        }
    }

    @Test(
        "A collector's address or a ratio that is none is refused at the start",
        arguments: [
            ["GAIA_TRACE_URL": "collector:4318"], ["GAIA_TRACE_RATIO": "10%"], ["GAIA_TRACE_RATIO": "1.5"],
            ["GAIA_TRACE_URL": "http://c/v1/traces", "GAIA_TRACE_TOKEN": "t", "GAIA_TRACE_TOKEN_FILE": "f"],
        ])
    func wrong(_ settings: [String: String]) async throws {
        let run = try await Program.run(
            try Program.gaia, ["worker"],
            environment: ["GAIA_AMQP_URL": "amqp://localhost", "GAIA_DATABASE_URL": "postgres://localhost/x"]
                .merging(settings) { $1 })
        #expect(run.status == .exited(78), "\(run.output)")
        #expect(run.output.contains("GAIA_TRACE_"), "\(run.output)")
    }
}
