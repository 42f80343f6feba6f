import AMQPClient
import CoreMetrics
import FleetBroker
import FleetModel
import FleetStore
import FleetTestKit
import FleetWorker
import Testing

/// Any kind of job of the subsystem in its name.
private func definition(_ type: String) throws -> (JobType, JobDefinition) {
    switch type {
    case "a": (AParameters.type, JobDefinition(AParameters.self) { (_: AParameters, _: JobContext) -> Void in })
    default: (BParameters.type, JobDefinition(BParameters.self) { (_: BParameters, _: JobContext) -> Void in })
    }
}
private struct AParameters: JobParameters {
    static let type: JobType = "a.do.v1"
    var n: Int?
}
private struct BParameters: JobParameters {
    static let type: JobType = "b.do.v1"
    var n: Int?
}

private func arrival(
    _ key: String, _ type: String = "a", payload: String = "{}", generation: UInt32 = 1, number: UInt64 = 1,
    redelivered: Bool = false
) throws -> Arrival {
    let (name, definition) = try definition(type)
    let job = Job(type: name, key: key, payload: Array(payload.utf8))
    return try Arrival(
        delivery(job.message(), queue: "q", generation: generation, number: number, redelivered: redelivered),
        definitions: [name.name: definition], metrics: JobMetrics(NOOPMetricsHandler.instance), payloadBytesMax: 1_000)
}

extension Waiting.Take {
    fileprivate var keys: [String]? {
        if case .batch(let batch) = self { batch.map(\.job.key) } else { nil }
    }
    fileprivate var isStopped: Bool {
        if case .stopped = self { true } else { false }
    }
}

@Suite("Arrivals")
struct ArrivalTests {
    private func rejection(_ payload: String, known: Bool = true) throws -> Rejection? {
        let (name, definition) = try definition("a")
        let message = Job(type: name, key: "k", payload: Array(payload.utf8)).message()
        do throws(Rejection) {
            _ = try Arrival(
                delivery(message), definitions: known ? [name.name: definition] : [:],
                metrics: JobMetrics(NOOPMetricsHandler.instance), payloadBytesMax: 1_000)
            return nil
        } catch {
            return error
        }
    }

    @Test("A delivery is read once: its payload in canonical form, its parameters decoded")
    func read() throws {
        let arrival = try arrival("k", payload: #" { "n" : 5 } "#, number: 9)
        #expect(arrival.payload == #"{"n":5}"#)
        #expect(arrival.job.payload.isEmpty, "one copy is enough")
        #expect(arrival.tag.value == 9)
    }

    @Test("Why a delivery cannot be run is told apart")
    func rejections() throws {
        #expect(try rejection("{}") == nil)
        #expect(try rejection("{}", known: false)?.reason == .unknownType)
        #expect(try rejection("{")?.reason == .invalidJSON)
        #expect(try rejection(#"{"n":1,"n":2}"#)?.reason == .invalidJSON)
        #expect(
            try rejection(String(repeating: "[", count: 500) + String(repeating: "]", count: 500))?.reason
                == .invalidJSON)
        #expect(try rejection(#"{"n":"x"}"#)?.reason == .invalidParameters)
        #expect(try rejection(#"{"n":"x"}"#)?.description.contains("'n' is not of type integer") == true)
        #expect(try rejection(String(repeating: " ", count: 1_001))?.reason == .tooLarge)
    }
}

@Suite("Waiting for a slot")
struct WaitingTests {
    @Test("As many are taken as slots are free, in order of arrival")
    func slots() throws {
        var waiting = Waiting(slots: ["a": 2])
        #expect(waiting.take(atMost: 10).keys == nil)
        _ = waiting.arrive(try ["1", "2", "3"].map { try arrival($0) })
        _ = waiting.arrive([try arrival("4")])
        #expect(waiting.take(atMost: 10).keys == ["1", "2"])
        #expect(waiting.take(atMost: 10).keys == nil)
        waiting.release("a", 1)
        #expect(waiting.take(atMost: 10).keys == ["3"])
        waiting.release("a", 2)
        #expect(waiting.take(atMost: 10).keys == ["4"])
        _ = waiting.arrive([try arrival("5")])
        #expect(waiting.take(atMost: 10).keys == ["5"], "a slot that nobody waited for stays free")
    }

    @Test("A batch has a limit, and what is beyond it keeps its place")
    func limit() throws {
        var waiting = Waiting(slots: ["a": 100])
        _ = waiting.arrive(try (0..<5).map { try arrival("\($0)") })
        #expect(waiting.take(atMost: 2).keys == ["0", "1"])
        #expect(waiting.take(atMost: 2).keys == ["2", "3"])
        #expect(waiting.take(atMost: 2).keys == ["4"])
    }

    @Test("A subsystem without free slots does not hold up another")
    func lanes() throws {
        var waiting = Waiting(slots: ["a": 1, "b": 2])
        _ = waiting.arrive([
            try arrival("1"), try arrival("2"), try arrival("3", "b"), try arrival("4", "b"), try arrival("5", "b"),
        ])
        #expect(waiting.take(atMost: 10).keys.map(Set.init) == ["1", "3", "4"])
        waiting.release("b", 1)
        #expect(waiting.take(atMost: 10).keys == ["5"])
        waiting.release("a", 1)
        #expect(waiting.take(atMost: 10).keys == ["2"])
    }

    @Test(
        "Of several with one key a batch has only the first; the next waits its turn and loses no place to later ones")
    func repeats() throws {
        var waiting = Waiting(slots: ["a": 3, "b": 9])
        _ = waiting.arrive(try ["1", "1", "2", "1", "3", "4"].map { try arrival($0) } + [arrival("1", "b")])
        #expect(
            waiting.take(atMost: 10).keys.map { $0.sorted() } == ["1", "1", "2", "3"],
            "the same key in another subsystem is another job")
        waiting.release("a", 2)
        #expect(waiting.take(atMost: 10).keys == ["1", "4"])
        waiting.release("a", 2)
        #expect(waiting.take(atMost: 10).keys == ["1"])
        #expect(waiting.take(atMost: 10).keys == nil)
    }

    @Test("A busy subsystem does not fill every batch: which comes first changes from turn to turn")
    func fairness() throws {
        var waiting = Waiting(slots: ["a": 100, "b": 100, "c": 100])
        for number in 0..<10 {
            let rest = waiting.arrive([try arrival("a\(number)"), try arrival("b\(number)", "b")])
            #expect(rest.isEmpty)
        }
        let firsts = (0..<6).compactMap { _ in waiting.take(atMost: 2).keys?.first?.first }
        #expect(firsts.filter { $0 == "a" }.count >= 2 && firsts.filter { $0 == "b" }.count >= 2, "\(firsts)")
    }

    @Test("Once stopped nothing is taken: what waited and what still arrives is given back")
    func stopped() throws {
        var waiting = Waiting(slots: ["a": 1, "b": 1])
        _ = waiting.arrive([try arrival("1"), try arrival("2"), try arrival("3", "b")])
        #expect(waiting.take(atMost: 1).keys?.count == 1)
        #expect(waiting.stop().count == 2)
        #expect(waiting.take(atMost: 10).isStopped)
        #expect(waiting.arrive([try arrival("4")]).map(\.job.key) == ["4"])
        waiting.release("a", 1)
        #expect(waiting.take(atMost: 10).isStopped)
        #expect(waiting.stop().isEmpty)
    }
}

@Suite("Publications")
struct PublicationTests {
    private let identity = JobIdentity(subsystem: "a", key: "k")
    private var result: JobResult {
        JobResult(
            identity: identity, type: "a.do.v1", state: .succeeded, attempt: 1, finishedAt: "", output: "1", error: nil)
    }

    /// The result for everyone, a reply, and a waiter's reply.
    private func publication() -> Publication {
        var publication = Publication()
        publication.answer(
            with: result, replyTo: "r1", correlationID: "c",
            waiters: [Waiter(identity: identity, replyTo: "r2", correlationID: "d")])
        return publication
    }

    @Test("Everyone is told, whoever asked, and each that waits once")
    func answer() {
        var publication = Publication()
        publication.answer(
            with: result, replyTo: "r1", correlationID: nil,
            waiters: [
                Waiter(identity: identity, replyTo: "r1", correlationID: "k"),
                Waiter(identity: identity, replyTo: "r1", correlationID: "x"),
                Waiter(identity: identity, replyTo: "r2", correlationID: "k"),
            ])
        #expect(publication.required.map(\.exchange) == ["gaia.results"])
        #expect(publication.courtesy.map(\.routingKey) == ["r1", "r1", "r2"])
        #expect(publication.courtesy.map(\.properties.correlationID) == ["k", "x", "k"])
        #expect(publication.waiters.count == 3, "all of them are struck out, the one that is the asker too")
    }

    @Test("What is confirmed is struck out; outcomes of others are left alone")
    func confirmed() {
        var publication = publication()
        let outcome = publication.strike([.confirmed, .confirmed, .confirmed, .refused, .refused][...]) { _ in true }
        #expect((outcome.count, outcome.reason) == (3, ""))
        #expect(publication.isDone)
        #expect(publication.refusals == 0)
    }

    @Test("A slice is read from its own beginning")
    func slice() {
        var publication = publication()
        let outcomes: [AMQPPublishOutcome] = [.refused, .refused, .confirmed, .confirmed, .notSent(reason: "blocked")]
        let outcome = publication.strike(outcomes[2...]) { _ in false }
        #expect((outcome.count, outcome.reason) == (3, "blocked"))
        #expect(publication.required.isEmpty)
        #expect(publication.courtesy.map(\.routingKey) == ["r2"])
        #expect(!publication.isDone)
    }

    @Test("Courtesy is given up where there is no hope for it, what is required never is")
    func refused() {
        var publication = publication()
        let outcomes = [AMQPPublishOutcome](repeating: .returned(code: 312, reason: "NO_ROUTE"), count: 3)
        for round in 1...20 {
            #expect(publication.strike(outcomes[...]) { _ in false }.reason == "returned: 312 NO_ROUTE")
            #expect(publication.refusals == round)
        }
        #expect(publication.courtesy.map(\.routingKey) == ["r1", "r2"])
        _ = publication.strike(outcomes[...]) { $0.routingKey == "r1" }
        #expect(publication.courtesy.map(\.routingKey) == ["r2"])
        _ = publication.strike(outcomes[...2]) { _ in true }
        #expect(publication.courtesy.isEmpty)
        #expect(publication.required.count == 1)
        #expect(publication.strike([.refused][...]) { _ in true }.reason == "refused by the broker")
        #expect(publication.required.count == 1)
        _ = publication.strike([.confirmed][...]) { _ in true }
        #expect(publication.isDone)
    }

    @Test("A destination is hopeless when it has refused for long and taken nothing in between; others are not")
    func hopeless() {
        let begin = ContinuousClock.now
        let late = begin + Refusals.patience
        func reply(_ queue: String) -> AMQPMessage { AMQPMessage(exchange: "", routingKey: queue, body: []) }
        var refusals = Refusals()
        refusals.note(.refused, of: reply("r1"), at: begin)
        refusals.note(.refused, of: reply("r1"), at: begin + .seconds(1))
        refusals.note(.notSent(reason: "lost"), of: reply("r2"), at: begin)
        #expect(!refusals.isHopeless(reply("r1"), at: late - .milliseconds(1)))
        #expect(refusals.isHopeless(reply("r1"), at: late))
        #expect(!refusals.isHopeless(reply("r2"), at: late))
        refusals.note(.confirmed, of: reply("r1"), at: late)
        #expect(!refusals.isHopeless(reply("r1"), at: late))
        let event = AMQPMessage(exchange: "gaia.events", routingKey: "job.progress", body: [])
        refusals.note(.returned(code: 312, reason: "NO_ROUTE"), of: event, at: begin)
        #expect(refusals.isHopeless(AMQPMessage(exchange: "gaia.events", routingKey: "x", body: []), at: late))
        #expect(!refusals.isHopeless(reply("gaia.events"), at: late))
    }

    @Test("A lost link is no refusal")
    func lost() {
        var publication = publication()
        for _ in 0..<20 {
            _ = publication.strike(
                [.unknown(reason: "lost"), .unknown(reason: "lost"), .notSent(reason: "lost")][...]
            ) { _ in false }
        }
        #expect(publication.refusals == 0)
        #expect((publication.required.count, publication.courtesy.count) == (1, 2))
    }
}

@Suite("Running jobs")
struct RunningJobsTests {
    private let ownership = Ownership(token: 7, attempt: 1, attemptsMax: 3, remaining: nil)
    private let never = ContinuousClock.now + .seconds(3_600)

    private func start(
        _ running: RunningJobs, _ arrival: Arrival, expiry: ContinuousClock.Instant? = nil,
        kind: RunningJobs.Interruption = .timeout, body: @escaping @Sendable () async -> Void = {}
    ) {
        running.start([RunningJobs.Run(arrival, ownership, expiry: expiry ?? never, expiryKind: kind, body: body)])
    }

    @Test("A delivery that comes again over a new connection takes the place of the one that was lost")
    func adopted() throws {
        let running = RunningJobs()
        let first = try arrival("k", payload: #"{"n":1}"#, generation: 1, number: 5)
        #expect(running.match(first) == .none)
        start(running, first)
        let again = try arrival("k", payload: #"{ "n": 1 }"#, generation: 2, number: 1, redelivered: true)
        #expect(running.match(again) == .adopted)
        #expect(running.match(again) == .duplicate, "a place is taken once")
        #expect(running.remove([again.job.identity]) == [again.tag])
        #expect(running.count == 0)
    }

    @Test("Anything else under the key of a running job is a repeat")
    func duplicates() throws {
        let running = RunningJobs()
        let first = try arrival("k", payload: #"{"n":1}"#, generation: 2, number: 5)
        start(running, first)
        for other in [
            try arrival("k", payload: #"{"n":1}"#, generation: 2, number: 6, redelivered: true),
            try arrival("k", payload: #"{"n":1}"#, generation: 1, number: 6, redelivered: true),
            try arrival("k", payload: #"{"n":1}"#, generation: 3, number: 6, redelivered: false),
            try arrival("k", payload: #"{"n":2}"#, generation: 3, number: 6, redelivered: true),
        ] { #expect(running.match(other) == .duplicate) }
        #expect(running.match(try arrival("k", "b", generation: 3, redelivered: true)) == .none)
        #expect(running.remove([first.job.identity]) == [first.tag])
    }

    @Test("A job is settled once, and only with the token under which it runs")
    func settling() throws {
        let running = RunningJobs()
        let job = try arrival("k")
        start(running, job)
        #expect(running.beginSettling(job.job.identity, token: 6) == nil)
        #expect(running.beginSettling(JobIdentity(subsystem: "a", key: "other"), token: 7) == nil)
        let settling = try #require(running.beginSettling(job.job.identity, token: 7))
        #expect((settling.0.tag, settling.1, settling.2) == (job.tag, ownership, nil))
        #expect(running.beginSettling(job.job.identity, token: 7) == nil)
        #expect(running.count == 1, "it is owned until its completion is committed")
        #expect(running.match(try arrival("k", number: 2)) == .duplicate)
    }

    @Test(
        "What has run too long is cancelled and told why; what ignores that is stubborn after its grace",
        .timeLimit(.minutes(1)))
    func expiry() async throws {
        let running = RunningJobs()
        let begin = ContinuousClock.now
        let (cancelled, signal) = AsyncStream.makeStream(of: String.self)
        for (key, kind, seconds) in [("timeout", RunningJobs.Interruption.timeout, 10), ("deadline", .deadline, 20)] {
            start(running, try arrival(key), expiry: begin + .seconds(seconds), kind: kind) {
                await withTaskCancellationHandler {
                    while !Task.isCancelled { await Task.yield() }
                } onCancel: {
                    signal.yield(key)
                }
            }
        }
        #expect(running.interruptExpired(now: begin + .seconds(9), grace: .seconds(5)).isEmpty)
        #expect(running.interruptExpired(now: begin + .seconds(10), grace: .seconds(5)).isEmpty)
        for await key in cancelled {
            #expect(key == "timeout")
            break
        }
        #expect(
            running.interruptExpired(now: begin + .seconds(15), grace: .seconds(5)).isEmpty, "its grace is not over")
        let stubborn = running.interruptExpired(now: begin + .seconds(20), grace: .seconds(5))
        #expect(stubborn.map(\.0.key) == ["timeout"])
        #expect(stubborn.map(\.1) == [7])
        #expect(
            try #require(running.beginSettling(JobIdentity(subsystem: "a", key: "timeout"), token: 7)).2 == .timeout)
        #expect(
            running.interruptExpired(now: begin + .seconds(21), grace: .seconds(5)).isEmpty,
            "what is settled is left alone")
        #expect(
            try #require(running.beginSettling(JobIdentity(subsystem: "a", key: "deadline"), token: 7)).2 == .deadline)
    }

    @Test("Everything may be interrupted for another worker to run; what has been interrupted before keeps its reason")
    func interruptAll() throws {
        let running = RunningJobs()
        let now = ContinuousClock.now
        start(running, try arrival("late"), expiry: now)
        start(running, try arrival("other"))
        _ = running.interruptExpired(now: now, grace: .seconds(5))
        running.interruptAll()
        #expect(try #require(running.beginSettling(JobIdentity(subsystem: "a", key: "late"), token: 7)).2 == .timeout)
        #expect(try #require(running.beginSettling(JobIdentity(subsystem: "a", key: "other"), token: 7)).2 == .handBack)
    }

    @Test("Whoever waits for none to be left is told when the last is removed", .timeLimit(.minutes(1)))
    func empty() async throws {
        let running = RunningJobs()
        await running.empty()
        start(running, try arrival("1"))
        start(running, try arrival("2"))
        let left = Task {
            await running.empty()
            return running.count
        }
        #expect(!running.remove(["1", "2"].map { JobIdentity(subsystem: "a", key: $0) }).contains(nil))
        #expect(await left.value == 0)
        #expect(running.remove([JobIdentity(subsystem: "a", key: "2")]) == [nil])
    }
}
