import FleetBroker
import FleetModel
import FleetStack
import FleetTestKit
import Glibc
import PostgresClient
import TestPatience
import Testing

/// The rows of the crash table in docs/guarantees.md: a real worker process dies by SIGKILL at that very step, another
/// takes over, and the effects are counted at the other side.
@Suite("The crash table", .serialized, .timeLimit(.minutes(5)))
struct CrashTableTests {
    /// A step, and what is to be found in the end: how often the target was called, and the token of the last claim.
    struct Row: Sendable, CustomTestStringConvertible {
        let fault: String
        let calls: Int
        let token: Int64
        let crashes: Int
        var testDescription: String { fault }
    }

    private func call(_ target: HTTPTarget, _ key: String) -> Job {
        Job(type: "api.request.v1", key: key, payload: Array(#"{"url":"\#(target.url)"}"#.utf8), replyTo: "reply")
    }

    private func answer(after gate: Gate) -> @Sendable (HTTPTarget.Request) async throws -> Int {
        { _ in
            try await gate.pass()
            return 200
        }
    }

    /// Deletes the queue of the jobs when so many consume from it.
    private func deleteQueue(_ fleet: TestFleet, consumers: Int) async throws {
        try await eventually("\(consumers) to consume") {
            try await fleet.place.withBroker { try await $0.queueStatus("gaia.jobs.api") }?.consumers == consumers
        }
        try await fleet.place.withBroker { try await $0.deleteQueue("gaia.jobs.api") }
    }

    @Test(
        "A worker dies at a step: one result under one id, one effect, nothing left",
        arguments: [
            Row(fault: "claiming:k", calls: 1, token: 1, crashes: 0),
            Row(fault: "running:k", calls: 1, token: 2, crashes: 1),
            Row(fault: "completed:k", calls: 1, token: 1, crashes: 0),
            Row(fault: "published:api/k/succeeded", calls: 1, token: 1, crashes: 0),
        ])
    func step(_ row: Row) async throws {
        try await HTTPTarget.use(answer: { _ in 200 }) { target in
            try await TestFleet.use(workers: 0) { fleet in
                try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                    let dispatcher = try await programs.serve("dispatcher", "dispatcher")
                    let first = try await programs.serve("worker", "first", ["GAIA_FAULT_POINT": row.fault])
                    try await fleet.enqueue([call(target, "k")])
                    #expect(await first.exitStatus(within: patienceOfTests) == .signalled(SIGKILL))

                    let second = try await programs.serve("worker", "second")
                    let reply = try await fleet.mailbox.reply("k")
                    #expect((reply.outcome, reply.attempt) == ("succeeded", 1))
                    let job = try #require(try await fleet.job("k"))
                    #expect((job.state, job.token, job.crashes) == ("succeeded", row.token, row.crashes))
                    // What is delivered again comes before this one; by now the second has it.
                    try await fleet.enqueue([call(target, "next")])
                    _ = try await fleet.mailbox.reply("next")
                    #expect(try await second.stop(grace: .seconds(30)) == .exited(0))
                    #expect(try await dispatcher.stop(grace: .seconds(30)) == .exited(0))
                    #expect(target.requests.map(\.idempotencyKey) == Array(repeating: "k", count: row.calls) + ["next"])
                    #expect(Set(fleet.mailbox.now.results.map(\.id)) == ["api/k/succeeded", "api/next/succeeded"])
                    #expect(try await fleet.leftover(in: "gaia.jobs.api") == 0)
                }
            }
        }
    }

    @Test("A worker dies while its completion commits: the ledger has it, and the job does not run again")
    func committing() async throws {
        let answered = Gate()
        try await HTTPTarget.use(answer: answer(after: answered)) { target in
            try await TestFleet.use(workers: 0) { fleet in
                try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                    let first = try await programs.serve("worker", "first")
                    try await fleet.enqueue([call(target, "k")])
                    try await target.wait(for: "the call") { $0.count == 1 }
                    // The completion is sent and cannot commit while another holds the row.
                    try await fleet.place.withPool { pool in
                        try await pool.withTransaction { session in
                            try await session.script("select from gaia.job where key = 'k' for update")
                            answered.open()
                            let waiting = PostgresStatement(
                                name: "test-waiting",
                                sql: """
                                    select count(*) from pg_stat_activity
                                    where datname = current_database() and wait_event_type = 'Lock'
                                    """)
                            try await eventually("the completion to wait for the row") {
                                // Not in the transaction, which would see the same answer for ever.
                                try await pool.execute(waiting).first?.get(0, as: Int64.self) == 1
                            }
                            try first.signal(SIGKILL)
                            #expect(await first.exitStatus(within: patienceOfTests) == .signalled(SIGKILL))
                        }
                    }
                    try await eventually("the completion to commit without its worker") {
                        try await fleet.job("k")?.state == "succeeded"
                    }
                    let second = try await programs.serve("worker", "second")
                    #expect(try await fleet.mailbox.reply("k").outcome == "succeeded")
                    #expect(try await fleet.job("k")?.token == 1)
                    #expect(try await second.stop(grace: .seconds(30)) == .exited(0))
                    #expect(target.requests.count == 1)
                    #expect(Set(fleet.mailbox.now.results.map(\.id)) == ["api/k/succeeded"])
                    #expect(try await fleet.leftover(in: "gaia.jobs.api") == 0)
                }
            }
        }
    }

    @Test("A worker dies before its result is out, and the delivery that would have told is gone with its queue")
    func untoldAndUndelivered() async throws {
        let answered = Gate()
        try await HTTPTarget.use(answer: answer(after: answered)) { target in
            try await TestFleet.use(workers: 0) { fleet in
                try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                    let dispatcher = try await programs.serve("dispatcher", "dispatcher")
                    let first = try await programs.serve("worker", "first", ["GAIA_FAULT_POINT": "completed:k"])
                    try await fleet.enqueue([call(target, "k")])
                    try await target.wait(for: "the call") { $0.count == 1 }
                    let second = try await programs.serve("worker", "second")
                    try await deleteQueue(fleet, consumers: 2)
                    answered.open()
                    #expect(await first.exitStatus(within: patienceOfTests) == .signalled(SIGKILL))

                    #expect(try await fleet.mailbox.reply("k").outcome == "succeeded")
                    #expect(try await fleet.job("k")?.token == 1)
                    #expect(try await second.stop(grace: .seconds(30)) == .exited(0))
                    #expect(try await dispatcher.stop(grace: .seconds(30)) == .exited(0))
                    #expect(target.requests.count == 1)
                    #expect(Set(fleet.mailbox.now.results.map(\.id)) == ["api/k/succeeded"])
                }
            }
        }
    }

    @Test("A job that was claimed only after its queue was lost, by a worker that dies before it tells of it")
    func claimedAfterTheLoss() async throws {
        let answered = Gate()
        try await HTTPTarget.use(answer: answer(after: answered)) { target in
            try await TestFleet.use(workers: 0) { fleet in
                try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                    let dispatcher = try await programs.serve("dispatcher", "dispatcher")
                    // One slot: the other two are in its hands, and nobody has heard of them.
                    let settings = [
                        "GAIA_FAULT_POINT": "completed:told-by-none", "GAIA_WORKER_SLOTS_API": "1",
                        "GAIA_WORKER_LEND_SLOTS": "false",
                    ]
                    let first = try await programs.serve("worker", "first", settings)
                    let keys = ["blocks", "told-by-none", "unclaimed"]
                    try await fleet.enqueue(keys.map { call(target, $0) })
                    try await eventually("all to be in its hands") {
                        try await fleet.place.ready(in: "gaia.jobs.api") == 0 && target.requests.count == 1
                    }
                    let second = try await programs.serve("worker", "second")
                    try await deleteQueue(fleet, consumers: 2)
                    // Neither will look again.
                    for worker in [first, second] {
                        #expect(
                            try await worker.awaitOutput(
                                containing: "gaia.jobs.api was deleted", within: patienceOfTests))
                    }
                    #expect(try await fleet.job("told-by-none") == nil)
                    answered.open()
                    #expect(await first.exitStatus(within: patienceOfTests) == .signalled(SIGKILL))

                    #expect(try await fleet.mailbox.reply("told-by-none").outcome == "succeeded")
                    #expect(try await fleet.job("told-by-none")?.token == 1)
                    #expect(try await second.stop(grace: .seconds(30)) == .exited(0))
                    #expect(try await dispatcher.stop(grace: .seconds(30)) == .exited(0))
                    #expect(target.requests.count { $0.idempotencyKey == "told-by-none" } == 1)
                }
            }
        }
    }

    @Test("A job that kills its workers is set aside after three; of 999 neighbours in their hands none loses anything")
    func poison() async throws {
        try await HTTPTarget.use(answer: { _ in 200 }) { target in
            try await TestFleet.use(workers: 0) { fleet in
                try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                    let dispatcher = try await programs.serve("dispatcher", "dispatcher")
                    let neighbours = (1...999).map { "innocent-\($0)" }
                    let keys = neighbours[..<500] + ["poison"] + neighbours[500...]
                    // All of them fit into one worker.
                    let poisoned = ["GAIA_FAULT_POINT": "running:poison", "GAIA_WORKER_SLOTS_DEFAULT": "1000"]
                    // Declared by the first worker, which has nothing to do yet.
                    try await programs.serve("worker", "opener").stop(grace: .seconds(30))
                    try await fleet.enqueue(keys.map { call(target, $0) })
                    for number in 1...3 {
                        let worker = try programs.start("worker", "victim-\(number)", poisoned)
                        #expect(await worker.exitStatus(within: patienceOfTests) == .signalled(SIGKILL))
                    }
                    let last = try await programs.serve("worker", "last", poisoned)
                    for key in neighbours {
                        let reply = try await fleet.mailbox.reply(key, within: .seconds(60))
                        #expect((reply.outcome, reply.attempt) == ("succeeded", 1))
                    }
                    let reply = try await fleet.mailbox.reply("poison", within: .seconds(60))
                    #expect((reply.outcome, reply.errorCode) == ("discarded", "poison"))
                    let job = try #require(try await fleet.job("poison"))
                    #expect((job.state, job.attempt, job.crashes) == ("discarded", 1, 3))
                    #expect(last.isRunning)
                    #expect(try await last.stop(grace: .seconds(30)) == .exited(0))
                    #expect(try await dispatcher.stop(grace: .seconds(30)) == .exited(0))
                    #expect(try await fleet.leftover(in: "gaia.jobs.api") == 0)
                }
            }
        }
    }
}
