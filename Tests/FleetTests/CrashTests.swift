import FleetBroker
import FleetModel
import FleetStack
import FleetTestKit
import Glibc
import TestPatience
import Testing

/// Real worker processes that die, drain and stall, on jobs whose end the test decides: HTTP calls to a target of its
/// own.
@Suite("The end of a worker", .serialized, .timeLimit(.minutes(5)))
struct CrashTests {
    private func call(_ target: HTTPTarget, _ key: String) -> Job {
        Job(type: "api.request.v1", key: key, payload: Array(#"{"url":"\#(target.url)"}"#.utf8), replyTo: "reply")
    }

    /// Answers all calls at once but the first, which waits for the gate.
    private func holdingFirst(
        _ gate: Gate, then status: Int = 200
    ) -> @Sendable (HTTPTarget.Request) async throws -> Int {
        { request in
            guard request.number == 1 else { return 200 }
            try await gate.pass()
            return status
        }
    }

    @Test("A worker is killed in the middle of a job: the job runs elsewhere within 3 s and has one result")
    func killed() async throws {
        let never = Gate()
        try await HTTPTarget.use(answer: holdingFirst(never)) { target in
            try await TestFleet.use(workers: 0) { fleet in
                try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                    let dispatcher = try await programs.serve("dispatcher", "dispatcher")
                    let first = try await programs.serve("worker", "first")
                    try await fleet.enqueue([call(target, "k")])
                    try await target.wait(for: "the first call") { $0.count == 1 }
                    let second = try await programs.serve("worker", "second")

                    let killedAt = ContinuousClock.now
                    try first.signal(SIGKILL)
                    let requests = try await target.wait(for: "the second call") { $0.count == 2 }
                    #expect(requests[1].at - killedAt < .seconds(10))
                    #expect(requests.map(\.idempotencyKey) == ["k", "k"])

                    let reply = try await fleet.mailbox.reply("k")
                    #expect(reply.outcome == "succeeded")
                    // The loss is the worker's, not the job's: it is noted and not charged.
                    #expect(reply.attempt == 1)
                    let job = try #require(try await fleet.job("k"))
                    #expect((job.token, job.crashes) == (2, 1))
                    #expect(job.errors.contains("worker-lost"))
                    #expect(job.worker == "second")
                    #expect(try await second.stop(grace: .seconds(30)) == .exited(0))
                    #expect(try await dispatcher.stop(grace: .seconds(30)) == .exited(0))
                    #expect(Set(fleet.mailbox.now.results.map(\.id)) == ["api/k/succeeded"])
                    #expect(try await fleet.leftover(in: "gaia.jobs.api") == 0)
                }
            }
        }
        never.open()
    }

    @Test("SIGTERM drains: what runs may end, what was prefetched goes elsewhere at once, and the exit status is 0")
    func drained() async throws {
        let gate = Gate()
        try await HTTPTarget.use(answer: holdingFirst(gate)) { target in
            try await TestFleet.use(workers: 0) { fleet in
                try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                    let first = try await programs.serve("worker", "first", ["GAIA_WORKER_SLOTS_DEFAULT": "1"])
                    try await fleet.enqueue([call(target, "running")])
                    try await target.wait(for: "the first call") { $0.count == 1 }
                    let waiting = (1...4).map { "waiting-\($0)" }
                    try await fleet.enqueue(waiting.map { call(target, $0) })
                    try await eventually("the worker to have prefetched them") {
                        try await fleet.place.ready(in: "gaia.jobs.api") == 0
                    }

                    try first.signal(SIGTERM)
                    let second = try await programs.serve("worker", "second")
                    for key in waiting {
                        let reply = try await fleet.mailbox.reply(key)
                        #expect(reply.outcome == "succeeded")
                        #expect(reply.attempt == 1)
                    }
                    #expect(first.isRunning)
                    #expect(!fleet.mailbox.now.replies.contains { $0.key == "running" })
                    gate.open()
                    #expect(await first.exitStatus(within: patienceOfTests) == .exited(0))
                    let reply = try await fleet.mailbox.reply("running")
                    #expect(reply.outcome == "succeeded")
                    #expect(reply.attempt == 1)
                    #expect(target.requests.count == 5)
                    #expect(try await second.stop(grace: .seconds(30)) == .exited(0))
                    #expect(try await fleet.leftover(in: "gaia.jobs.api") == 0)
                }
            }
        }
    }

    @Test("When the drain time is over the job is handed back unspent and another worker runs it")
    func drainTimeOver() async throws {
        let never = Gate()
        try await HTTPTarget.use(answer: holdingFirst(never)) { target in
            try await TestFleet.use(workers: 0) { fleet in
                try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                    let first = try await programs.serve("worker", "first", ["GAIA_WORKER_DRAIN_MS": "300"])
                    try await fleet.enqueue([call(target, "k")])
                    try await target.wait(for: "the first call") { $0.count == 1 }
                    let second = try await programs.serve("worker", "second")
                    try first.signal(SIGTERM)
                    #expect(await first.exitStatus(within: patienceOfTests) == .exited(0))
                    let reply = try await fleet.mailbox.reply("k")
                    #expect(reply.outcome == "succeeded")
                    // The attempt that was broken off is not charged to the job.
                    #expect(reply.attempt == 1)
                    let job = try #require(try await fleet.job("k"))
                    #expect(job.token == 2)
                    #expect(job.errors == "[]")
                    #expect(try await second.stop(grace: .seconds(30)) == .exited(0))
                    #expect(try await fleet.leftover(in: "gaia.jobs.api") == 0)
                }
            }
        }
        never.open()
    }

    @Test("A second SIGTERM ends a draining worker at once")
    func secondSignal() async throws {
        let never = Gate()
        try await HTTPTarget.use(answer: holdingFirst(never)) { target in
            try await TestFleet.use(workers: 0) { fleet in
                try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                    let worker = try await programs.serve("worker", "worker")
                    try await fleet.enqueue([call(target, "k")])
                    try await target.wait(for: "the call") { $0.count == 1 }
                    try worker.signal(SIGTERM)
                    #expect(try await worker.awaitOutput(containing: "another signal", within: patienceOfTests))
                    // The message may be out a moment before the signal has its own meaning again.
                    try await eventually("the worker to end") {
                        try worker.signal(SIGTERM)
                        return !worker.isRunning
                    }
                    #expect(await worker.exitStatus() == .signalled(SIGTERM))
                }
            }
        }
        never.open()
    }

    @Test("A worker stopped past its lease is void when it goes on: another has run its job, and it begins a new epoch")
    func stalled() async throws {
        let gate = Gate()
        // What the stalled worker gets in the end would have its job tried again, if it still counted.
        try await HTTPTarget.use(answer: holdingFirst(gate, then: 500)) { target in
            try await TestFleet.use(workers: 0) { fleet in
                // The broker gives up a silent connection after two heartbeats, and then delivers again.
                let environment = fleet.place.environment.merging(
                    ["GAIA_AMQP_URL": "\(fleet.place.amqpURL)?heartbeat=2"]) { $1 }
                try await ProgramGroup.use(environment: environment) { programs in
                    let dispatcher = try await programs.serve("dispatcher", "dispatcher")
                    let first = try await programs.serve("worker", "first", ["GAIA_WORKER_LEASE_MS": "2000"])
                    try await fleet.enqueue([call(target, "k")])
                    try await target.wait(for: "the first call") { $0.count == 1 }
                    let second = try await programs.serve("worker", "second")

                    #expect(try await first.pause())
                    let reply = try await fleet.mailbox.reply("k", within: .seconds(60))
                    #expect(reply.outcome == "succeeded")
                    #expect(reply.attempt == 1)
                    try first.signal(SIGCONT)
                    gate.open()
                    #expect(try await first.awaitOutput(containing: "epoch 3 begins", within: patienceOfTests))
                    #expect(try await second.stop(grace: .seconds(30)) == .exited(0))
                    try await fleet.enqueue([call(target, "next")])
                    #expect(try await fleet.mailbox.reply("next").outcome == "succeeded")
                    #expect(try await fleet.job("next")?.worker == "first")
                    #expect(try await first.stop(grace: .seconds(30)) == .exited(0))
                    #expect(try await dispatcher.stop(grace: .seconds(30)) == .exited(0))

                    let job = try #require(try await fleet.job("k"))
                    #expect(job.state == "succeeded")
                    #expect(job.output != nil)
                    #expect(job.token == 2)
                    #expect(job.worker == "second")
                    #expect(job.errors.contains("worker-lost"))
                    #expect(target.requests.map(\.idempotencyKey) == ["k", "k", "next"])
                    #expect(Set(fleet.mailbox.now.results.map(\.id)) == ["api/k/succeeded", "api/next/succeeded"])
                    #expect(try await fleet.leftover(in: "gaia.jobs.api") == 0)
                }
            }
        }
    }
}
