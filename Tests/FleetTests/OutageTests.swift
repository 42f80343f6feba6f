import FleetBroker
import FleetModel
import FleetStack
import FleetTestKit
import Glibc
import TestPatience
import Testing

/// A broker and a database of their own, which die and come back under a fleet of real processes.
@Suite("Outages of broker and database", .serialized, .timeLimit(.minutes(5)))
struct OutageTests {
    private static let starting = Task { try await TestStack.start("outage") }

    /// The servers and a place on them.
    private func use(_ body: (Stack, Isolated) async throws -> Void) async throws {
        let stack = try await Self.starting.value
        let servers = try #require(stack.own)
        try await Isolated.use(on: stack) { try await body(servers, $0) }
    }

    /// Jobs for each fault.
    private static let jobs = 1_000

    /// Publishes jobs to two workers, lets each fault happen in the midst of its share of them, and counts at the end.
    private func underLoad(_ place: Isolated, _ faults: [@Sendable () async throws -> Void]) async throws {
        try await TestFleet.use(place, durable: true, workers: 0) { fleet in
            try await ProgramGroup.use(environment: place.environment) { programs in
                let children = [
                    try await programs.serve("dispatcher", "dispatcher"),
                    try await programs.serve("worker", "first"), try await programs.serve("worker", "second"),
                ]
                let keys = faults.indices.map { fault in (0..<Self.jobs).map { "job-\(fault)-\($0)" } }
                for (fault, keys) in zip(faults, keys) {
                    let before = fleet.mailbox.now.results.count
                    async let publishing: Void = {
                        for start in stride(from: 0, to: keys.count, by: 100) {
                            let batch = keys[start..<start + 100]
                            try await fleet.enqueuePatiently(batch.map { try Job(NoopParameters(), key: $0) })
                        }
                    }()
                    do {
                        try await fleet.mailbox.wait(for: "some results") {
                            $0.results.count >= before + 200
                        }
                    } catch {
                        let queues = try await place.stack.own?.broker.control(
                            ["list_queues", "--vhost", place.name, "name", "state", "leader", "messages"])
                        let logs = children.map { $0.capturedOutput.suffix(2_000) }.joined(separator: "\n")
                        throw NotInTime(
                            "results \(fleet.mailbox.now.results.count), queues \(queues ?? ""), jobs "
                                + "\(try await fleet.store.counts(subsystem: "gaia").mapValues(\.jobs)), logs:\n\(logs)"
                        )
                    }
                    try await fault()
                    try await publishing
                }
                let wanted = Set(keys.joined())
                let contents = try await fleet.mailbox.wait(for: "all results") { contents in
                    Set(contents.results.compactMap(\.key)).count >= wanted.count
                }
                #expect(Set(contents.results.compactMap(\.key)) == wanted)
                // A result may come twice after an outage, but it is the same one.
                #expect(Set(contents.results.map(\.document)).count == wanted.count)
                let counts = try await fleet.store.counts(subsystem: "gaia")
                #expect(counts.mapValues(\.jobs) == [.succeeded: wanted.count])
                // What was published twice, since its first confirm was lost, is answered before they go.
                try await eventually("all repeats to be taken") { try await place.ready(in: "gaia.jobs.gaia") == 0 }
                for child in children { #expect(try await child.stop(grace: .seconds(60)) == .exited(0)) }
                // Nobody takes anything any more: what stays, stays for good. A quorum queue's figure is a little late.
                try await eventually("nothing to be left") { try await fleet.leftover(in: "gaia.jobs.gaia") == 0 }
                #expect(try await place.ready(in: FleetBroker.deadQueue) == 0)
            }
        }
    }

    @Test("The database is restarted, then killed, under load: every job has its one result")
    func database() async throws {
        try await use { servers, place in
            try await underLoad(
                place,
                [
                    { try await servers.database.restart() },
                    {
                        try servers.database.kill()
                        try await servers.database.startAgain()
                    },
                ])
        }
    }

    @Test("Readiness goes with database and broker and comes back with them; a worker stays alive all the while")
    func readiness() async throws {
        try await use { servers, place in
            try await ProgramGroup.use(environment: place.environment) { programs in
                let worker = try await programs.serve("worker", "worker", AdminPage.listening)
                let page = try await AdminPage(of: worker)
                func comes(_ status: Int, _ part: String) async throws {
                    try await eventually("\(part) to make readiness \(status)") {
                        #expect(try await page.get("/livez").status == 200)
                        return try await page.get("/readyz").status == status
                    }
                    let word = status == 200 ? "pass" : "fail"
                    #expect(try await page.health(part).document["status"] == .string(word))
                }
                try await comes(200, "database")
                try await servers.database.stopImmediately()
                try await comes(503, "database")
                try await servers.database.startAgain()
                try await comes(200, "database")
                try await servers.broker.stop()
                try await comes(503, "broker")
                #expect(try await page.get("/readyz?verbose").text.contains("[-]broker fail: no link to the broker"))
                try await servers.broker.startAgain()
                try await comes(200, "broker")
                #expect(try await worker.stop(grace: .seconds(30)) == .exited(0))
            }
        }
    }

    @Test("A worker whose consumer the broker has lost, and not said so, is not ready")
    func consumerLost() async throws {
        try await use { servers, place in
            try await ProgramGroup.use(environment: place.environment) { programs in
                let worker = try await programs.serve("worker", "worker", AdminPage.listening)
                let page = try await AdminPage(of: worker)
                try await eventually("it to be ready") { try await page.get("/readyz").status == 200 }
                // As after a fault of the broker's own: the queue forgets its consumer, and the client hears nothing.
                _ = try await servers.broker.control([
                    "eval",
                    """
                    {ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"\(place.name)">>, queue, <<"gaia.jobs.gaia">>)),
                    [{ok, _, _} = ra:process_command(amqqueue:get_pid(Q),
                        rabbit_fifo:make_checkout({element(2, C), element(1, C)}, cancel, #{}))
                     || C <- rabbit_amqqueue:consumers(Q)].
                    """,
                ])
                try await eventually("it to be found out") { try await page.get("/readyz").status == 503 }
                let reason = try await page.health("broker").document["reason"]?.string ?? ""
                #expect(reason.contains("no consumer of gaia.jobs.gaia,"), "\(reason)")
                #expect(try await page.get("/livez").status == 200)
            }
        }
    }

    @Test("One of two workers whose consumer the broker has lost is told by the jobs that wait and do not come")
    func oneConsumerLost() async throws {
        try await use { servers, place in
            try await ProgramGroup.use(environment: place.environment) { programs in
                var pages: [String: AdminPage] = [:]
                for name in ["lost", "busy"] {
                    let settings = ["GAIA_WORKER_SLOTS_DEFAULT": "1", "GAIA_WORKER_LEND_SLOTS": "false"]
                    let worker = try await programs.serve("worker", name, AdminPage.listening.merging(settings) { $1 })
                    pages[name] = try await AdminPage(of: worker)
                }
                let (lost, busy) = (try #require(pages["lost"]), try #require(pages["busy"]))
                for page in [lost, busy] {
                    try await eventually("both to be ready") { try await page.get("/readyz").status == 200 }
                }
                _ = try await servers.broker.control([
                    "eval",
                    """
                    {ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"\(place.name)">>, queue, <<"gaia.jobs.gaia">>)),
                    [{ok, _, _} = ra:process_command(amqqueue:get_pid(Q),
                        rabbit_fifo:make_checkout({element(2, C), element(1, C)}, cancel, #{}))
                     || C <- rabbit_amqqueue:consumers(Q), binary:match(element(2, C), <<"lost">>) =/= nomatch].
                    """,
                ])
                // More than the other takes in advance, each longer than the test.
                try await TestFleet.use(place, workers: 0) { fleet in
                    try await fleet.enqueue(try (1...500).map { try Job(NoopParameters(ms: 300_000), key: "k-\($0)") })
                }
                try await eventually("it to be found out") { try await lost.get("/readyz").status == 503 }
                let reason = try await lost.health("broker").document["reason"]?.string ?? ""
                #expect(reason.contains("jobs wait in gaia.jobs.gaia, this worker has room"), "\(reason)")
                #expect(try await busy.get("/readyz").status == 200)
            }
        }
    }

    @Test("A worker that finds no database waits for it, and serves when it comes up in time")
    func databaseLate() async throws {
        try await use { servers, place in
            try await servers.database.stopImmediately()
            try await ProgramGroup.use(environment: place.environment) { programs in
                let worker = try programs.start("worker", "worker")
                let isWaiting = try await worker.awaitOutput(
                    containing: "waiting for the database", within: patienceOfTests)
                #expect(isWaiting, "\(worker.capturedOutput)")
                try await servers.database.startAgain()
                let serves = try await worker.awaitOutput(containing: "worker serves", within: patienceOfTests)
                #expect(serves, "\(worker.capturedOutput)")
                #expect(try await worker.stop(grace: .seconds(30)) == .exited(0))
            }
        }
    }

    @Test("A broker that stands still leaves an enqueue over HTTP unknown; sent again, the job runs once")
    func brokerSilent() async throws {
        try await use { servers, place in
            try await TestFleet.use(place, durable: true, workers: 0) { fleet in
                try await ProgramGroup.use(environment: place.environment) { programs in
                    _ = try await programs.serve("worker", "worker")
                    try await HTTPInProcess.use(place) { configuration in
                        configuration.patience = .seconds(2)
                    } _: { address in
                        try await HTTPClient.use { http in
                            func post(_ key: String) async throws -> HTTPAnswer {
                                try await http.send(
                                    "POST", "http://\(address)/v1/jobs",
                                    body: #"{"type": "gaia.noop.v1", "key": "\#(key)", "payload": {}}"#)
                            }
                            #expect(try await post("before").status == 202)
                            try await servers.broker.pause()
                            let said: Result<HTTPAnswer, any Error>
                            do { said = .success(try await post("during")) } catch { said = .failure(error) }
                            try servers.broker.resume()
                            let answer = try said.get()
                            #expect(answer.isProblem(503) && answer.header("Retry-After") != nil, "\(answer)")
                            #expect(answer.json["outcome"] == .string("unknown"), "\(answer)")
                            try await eventually("the broker to take jobs again") {
                                [200, 202].contains(try await post("during").status)
                            }
                        }
                    }
                    for key in ["before", "during"] { #expect(try await fleet.mailbox.result(of: key).attempt == 1) }
                    #expect(try await fleet.store.counts(subsystem: "gaia").mapValues(\.jobs) == [.succeeded: 2])
                }
            }
        }
    }

    /// The first test that kills the broker: on a node that was killed, RabbitMQ 3.10 now and then leaves a quorum queue that
    /// is declared later without a leader. And the restart comes before the kill: within moments of the queue's declaration,
    /// before Ra's directory of names is on disk, a kill may leave it without one, too.
    @Test("The broker is restarted, then killed, under load: every job has its one result")
    func broker() async throws {
        try await use { servers, place in
            try await underLoad(
                place,
                [
                    { try await servers.broker.restart() },
                    {
                        try servers.broker.kill()
                        try await servers.broker.startAgain()
                    },
                ])
        }
    }

    @Test("A worker that finds no broker waits for it, and serves when it comes up in time")
    func brokerLate() async throws {
        try await use { servers, place in
            try servers.broker.kill()
            try await ProgramGroup.use(environment: place.environment) { programs in
                let worker = try programs.start("worker", "worker")
                #expect(try await worker.awaitOutput(containing: "waiting for the broker", within: patienceOfTests))
                try await servers.broker.startAgain()
                #expect(try await worker.awaitOutput(containing: "worker serves", within: patienceOfTests))
                #expect(try await worker.stop(grace: .seconds(30)) == .exited(0))
            }
        }
    }
}
