import AMQPClient
import FleetBroker
import FleetModel
import FleetTestKit
import Foundation
import TestPatience
import Testing

/// `gaia dead` as an operator runs it, on a fleet of real processes.
@Suite("Dead letters", .timeLimit(.minutes(5)))
struct DeadTests {
    private struct Group: Decodable {
        let group, type, cause, message: String
        let count: Int
    }

    private struct Item: Decodable {
        let group, key, cause, at, worker: String?
        let attempt: Int?
        let payload: String
    }

    private func gaia(
        _ fleet: TestFleet, _ arguments: String...
    ) async throws -> (status: Int32, output: String) {
        let (status, output) = try await Program.run(
            try Program.gaia, ["dead"] + arguments, environment: fleet.place.environment, within: .seconds(120))
        guard case .exited(let code) = status else { throw NotInTime("gaia dead \(arguments) ended by \(status)") }
        return (code, output)
    }

    private func groups(_ fleet: TestFleet) async throws -> [Group] {
        try JSONDecoder().decode([Group].self, from: Data(try await gaia(fleet, "list", "--json").output.utf8))
    }

    private func call(_ target: HTTPTarget, _ key: String, path: String = "") -> Job {
        Job(
            type: "api.request.v1", key: key, payload: Array(#"{"url":"\#(target.url)\#(path)"}"#.utf8),
            replyTo: "reply")
    }

    /// A fleet of a dispatcher and a worker.
    private func use(
        answer: @escaping @Sendable (HTTPTarget.Request) async throws -> Int,
        _ body: @escaping @Sendable (TestFleet, HTTPTarget) async throws -> Void
    ) async throws {
        try await HTTPTarget.use(answer: answer) { target in
            try await TestFleet.use(workers: 0) { fleet in
                try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                    _ = try await programs.serve("dispatcher", "dispatcher")
                    _ = try await programs.serve("worker", "worker")
                    try await body(fleet, target)
                }
            }
        }
    }

    @Test("A group is run again by canaries: they stop it while the cause lasts, and let all through when it is mended")
    func canaries() async throws {
        let status = Watched(404)
        try await use(answer: { _ in status.value }) { fleet, target in
            let keys = (1...10).map { "k-\($0)" }
            try await fleet.enqueue(keys.map { call(target, $0) })
            for key in keys { #expect(try await fleet.mailbox.reply(key).outcome == "discarded") }
            let group = try #require(try await groups(fleet).first)
            #expect((group.count, group.type, group.cause) == (10, "api.request.v1", "permanent api.404"))
            let items = try JSONDecoder().decode(
                [Item].self, from: Data(try await gaia(fleet, "show", group.group, "--json").output.utf8))
            #expect(items.count == 10 && items.allSatisfy { $0.at != nil && $0.worker == "worker" && $0.attempt == 1 })

            let stopped = try await gaia(fleet, "replay", group.group, "--canary", "2")
            #expect(stopped.status == 1 && stopped.output.contains("failed again"))
            #expect(target.requests.count == 12, "two canaries and no more")
            #expect(try await groups(fleet).map(\.count) == [10])

            status.update { $0 = 200 }
            let mended = try await gaia(fleet, "replay", group.group, "--canary", "2")
            #expect(mended.status == 0 && mended.output.contains("10 jobs run again"))
            try await fleet.mailbox.wait(for: "all to succeed") { contents in
                Set(contents.results.filter { $0.outcome == "succeeded" }.compactMap(\.key)) == Set(keys)
            }
            #expect(try await groups(fleet).isEmpty)
            #expect(target.requests.count == 22)
            // Once more is once too often: nothing is left to run, and nothing runs.
            #expect(try await gaia(fleet, "replay", group.group).status == 66)
            #expect(try await gaia(fleet, "replay", "k-1").status == 66)
            #expect(target.requests.count == 22)
        }
    }

    @Test("A payload may be changed, checked by its type")
    func changed() async throws {
        try await use(answer: { $0.number == 1 ? 404 : 200 }) { fleet, target in
            try await fleet.enqueue([call(target, "k")])
            #expect(try await fleet.mailbox.reply("k").outcome == "discarded")
            for (option, value, code, words) in [
                ("--patch", #"{"url":5}"#, Int32(65), "gaia types api.request.v1"),
                ("--patch", "[]", 64, "JSON object"),
                ("--payload", "nonsense", 64, "--payload"), ("--payload", "{}", 65, "'url'"),
            ] {
                let refused = try await gaia(fleet, "replay", "api/k", option, value)
                #expect(refused.status == code && refused.output.contains(words), "\(refused.output)")
            }
            let taken = try await gaia(fleet, "replay", "api/k", "--patch", #"{"method":"PUT"}"#)
            #expect(taken.status == 0, "\(taken.output)")
            let job = try #require(try await fleet.job("k"))
            #expect(job.state == "succeeded" && job.payload.contains(#""method":"PUT""#))
        }
    }

    @Test("Messages set aside by workers and by the broker are listed with their reason, published again, or dropped")
    func messages() async throws {
        try await use(answer: { _ in 200 }) { fleet, target in
            var malformed = call(target, "flawed").message()
            malformed.body = Array("no JSON".utf8)
            var unroutable = call(target, "lost").message()
            unroutable.routingKey = "nowhere.do.v1"
            unroutable.properties.type = "nowhere.do.v1"
            // As the broker moves what was delivered too often.
            var poisoned = call(target, "poisoned").message()
            poisoned.exchange = FleetBroker.deadExchange
            poisoned.properties.headers["x-death"] = .array([
                .table([
                    "reason": .string("delivery_limit"), "queue": .string("gaia.jobs.api"),
                    "exchange": .string("gaia.jobs"), "count": .int(1),
                ])
            ])
            try await fleet.publish([malformed, unroutable, poisoned])
            _ = try await fleet.mailbox.reply("flawed")
            try await eventually("all to be set aside") {
                let dead = try await fleet.place.ready(in: FleetBroker.deadQueue)
                let lost = try await fleet.place.ready(in: FleetBroker.unroutableQueue)
                return dead == 2 && lost == 1
            }
            let found = try await groups(fleet)
            #expect(Set(found.map(\.cause)) == ["invalid-json", "unroutable", "poison"])
            func name(_ cause: String) throws -> String { try #require(found.first { $0.cause == cause }).group }

            let again = try await gaia(fleet, "replay", try name("poison"))
            #expect(again.status == 0, "\(again.output)")
            #expect(try await fleet.mailbox.reply("poisoned").outcome == "succeeded")
            let nowhere = try await gaia(fleet, "replay", "lost")
            #expect(nowhere.status == 1 && nowhere.output.contains("set aside again"), "\(nowhere.output)")
            let flawed = try await gaia(fleet, "replay", try name("invalid-json"))
            #expect(flawed.status == 1 && flawed.output.contains("set aside again"), "\(flawed.output)")

            let preview = try await gaia(fleet, "drop", "flawed")
            #expect(preview.status == 0 && preview.output.contains("--yes"))
            #expect(try await groups(fleet).map(\.cause).sorted() == ["invalid-json", "unroutable"])
            #expect(try await gaia(fleet, "drop", "flawed", "--yes").status == 0)
            #expect(try await groups(fleet).map(\.cause) == ["unroutable"])
            #expect(try await gaia(fleet, "show", "flawed").status == 66)
        }
    }
}
