import AMQPClient
import FleetBroker
import FleetModel
import FleetStack
import FleetTestKit
import Foundation
import Glibc
import TestPatience
import Testing

/// A cluster of three real nodes under a fleet of real processes.
@Suite("A cluster of brokers", .serialized, .timeLimit(.minutes(5)))
struct ClusterTests {
    /// Jobs before the node is killed, and as many after.
    private static let half = 300
    /// Calls of the first half that are under way when it is.
    private static let held = 40

    /// A cluster of this test's own, of which nothing stays.
    private func withCluster(_ body: (PrivateCluster) async throws -> Void) async throws {
        let directory = temporaryDirectory("cluster")
        let cluster = try await PrivateCluster.start(PrivateCluster.Options(directory: directory))
        let result: Result<Void, any Error>
        do { result = .success(try await body(cluster)) } catch { result = .failure(error) }
        try await cluster.stop()
        try FileManager.default.removeItem(atPath: directory)
        try result.get()
    }

    /// A publisher on each node, and each job offered to one after another until the broker has it.
    private func withProducers<Value>(
        _ cluster: PrivateCluster, _ body: (ClusterProducers) async throws -> Value
    ) async throws -> Value {
        let producers = try ClusterProducers(cluster)
        let running = Task { try await producers.run() }
        let result: Result<Value, any Error>
        do { result = .success(try await body(producers)) } catch { result = .failure(error) }
        await producers.close()
        try await running.value
        return try result.get()
    }

    @Test("The node that leads the jobs' queue is killed under load: every job is done once, and the node comes back")
    func nodeKilled() async throws {
        let killed = Gate()
        // Some calls last until the node is gone, so their deliveries are in the workers' hands when it goes.
        let answer: @Sendable (HTTPTarget.Request) async throws -> Int = { request in
            if (Self.half - Self.held + 1...Self.half).contains(request.number) { try await killed.pass() }
            return 200
        }
        try await HTTPTarget.use(answer: answer) { target in
            try await withCluster { cluster in
                try await Isolated.use(amqpURL: cluster.amqpURL) { place in
                    try await TestFleet.use(place, durable: true, workers: 0) { fleet in
                        try await underLoad(cluster, place, fleet, target, killed)
                    }
                }
            }
        }
    }

    private func underLoad(
        _ cluster: PrivateCluster, _ place: Isolated, _ fleet: TestFleet, _ target: HTTPTarget, _ killed: Gate
    ) async throws {
        let jobs = (0..<2 * Self.half + 30).map {
            Job(
                type: "api.request.v1", key: "job-\($0)", payload: Array(#"{"url":"\#(target.url)"}"#.utf8),
                replyTo: fleet.mailbox.replyQueue)
        }
        let (first, second) = (jobs[..<Self.half], jobs[Self.half..<2 * Self.half])
        let last = jobs[(2 * Self.half)...]
        let queue = FleetBroker.jobsQueue("api")
        try await ProgramGroup.use(environment: place.environment) { programs in
            let children = [
                try await programs.serve("dispatcher", "dispatcher"),
                try await programs.serve("worker", "first"), try await programs.serve("worker", "second"),
            ]
            for name in ["results", queue] { try await cluster.awaitQuorum(of: name) }
            try await withProducers(cluster) { producers in
                try await producers.enqueue(first)
                try await target.wait(for: "all calls of the first half") { $0.count == Self.half }
                let node = try #require(
                    try await cluster.quorum(of: queue).first { $0.state == "leader" }.flatMap { cluster.node($0.node) }
                )
                async let publishing: Void = producers.enqueue(second)
                try node.kill()
                let keys = Set(second.map(\.key))
                try await fleet.mailbox.wait(for: "a result of the second half") { contents in
                    contents.results.contains { $0.key.map { keys.contains($0) } ?? false }
                }
                killed.open()
                try await publishing
                try await expectDone(first + second, fleet, target, cluster, children)

                // It comes back, has all that it missed, and serves like the others.
                try await node.startAgain()
                try await cluster.awaitQuorum(of: queue)
                try await producers.enqueue(last, on: node)
                try await expectDone(jobs[...], fleet, target, cluster, children)
            }
            for child in children { #expect(try await child.stop(grace: .seconds(60)) == .exited(0)) }
            #expect(try await fleet.leftover(in: queue) == 0)
            #expect(try await place.ready(in: FleetBroker.deadQueue) == 0)
        }
    }

    /// Waits for every result, and looks whether each job was done once.
    private func expectDone(
        _ jobs: ArraySlice<Job>, _ fleet: TestFleet, _ target: HTTPTarget, _ cluster: PrivateCluster,
        _ children: [ChildProcess]
    ) async throws {
        let wanted = Set(jobs.map(\.key))
        do {
            try await fleet.mailbox.wait(for: "each result", within: .seconds(60)) {
                wanted.isSubset(of: Set($0.results.compactMap(\.key)))
            }
        } catch is NotInTime {
            let missing = wanted.subtracting(fleet.mailbox.now.results.compactMap(\.key))
            let columns = ["name", "messages_ready", "messages_unacknowledged", "consumers", "leader", "online"]
            let node = try #require(cluster.nodes.first { $0.isRunning })
            let queues = try await node.control(["list_queues"] + columns)
            let channels = try await node.control(["list_channels", "name", "connection", "messages_unconfirmed"])
            let counts = try await fleet.store.counts(subsystem: "api").mapValues(\.jobs)
            throw NotInTime(
                "\(missing.count) of \(wanted.count) results did not come, \(missing.sorted().prefix(5)) among them; "
                    + "the ledger has \(counts); the queues are\n\(queues)\(channels)"
                    + children.map { String($0.capturedOutput.suffix(4_000)) }.joined(separator: "\n--\n"))
        }
        let contents = fleet.mailbox.now
        #expect(Set(contents.results.compactMap(\.key)) == wanted)
        // Those who asked have their answer too, though their queue's leader may be the one that was lost.
        try await fleet.mailbox.wait(for: "an answer to each") {
            wanted.isSubset(of: Set($0.replies.compactMap(\.key)))
        }
        // A result may come twice, but it is the same one.
        #expect(Set(contents.results.map(\.document)).count == wanted.count)
        #expect(contents.results.allSatisfy { $0.attempt == 1 })
        #expect(try await fleet.store.counts(subsystem: "api").mapValues(\.jobs) == [.succeeded: wanted.count])
        // No worker died, so no call was made twice.
        #expect(target.requests.map(\.idempotencyKey).sorted() == wanted.sorted())
    }
}

/// A connection for publishing to each node of a cluster.
private struct ClusterProducers: Sendable {
    private let cluster: PrivateCluster
    private let publishers: [AMQPPublisher]

    init(_ cluster: PrivateCluster) throws {
        self.cluster = cluster
        publishers = try cluster.nodes.map { node in
            AMQPPublisher(
                configuration: try AMQPConfiguration(url: node.amqpURL), publishTimeout: .seconds(3),
                logger: testLogger)
        }
    }

    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for publisher in publishers { group.addTask { try await publisher.run() } }
            try await group.waitForAll()
        }
    }

    func close() async { for publisher in publishers { await publisher.close() } }

    /// Publishes by all nodes at once, in small batches. What a node does not confirm goes to the next.
    func enqueue(_ jobs: ArraySlice<Job>) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, start) in stride(from: jobs.startIndex, to: jobs.endIndex, by: 20).enumerated() {
                let batch = jobs[start..<min(start + 20, jobs.endIndex)]
                group.addTask { try await enqueue(batch, beginningWith: index) }
            }
            try await group.waitForAll()
        }
    }

    private func enqueue(_ jobs: ArraySlice<Job>, beginningWith index: Int) async throws {
        var open = Array(jobs)
        var turn = index
        try await eventually("every job to be confirmed", within: .seconds(60)) {
            let outcomes = await publishers[turn % publishers.count].publish(open.map { $0.message() })
            open = zip(open, outcomes).filter { $1 != .confirmed }.map(\.0)
            turn += 1
            return open.isEmpty
        }
    }

    /// Publishes by one node alone.
    func enqueue(_ jobs: ArraySlice<Job>, on node: PrivateBroker) async throws {
        guard let index = cluster.nodes.firstIndex(where: { $0.nodeName == node.nodeName }) else { return }
        try await eventually("the node to take jobs again", within: .seconds(60)) {
            await publishers[index].publish(jobs.map { $0.message() }).allSatisfy { $0 == .confirmed }
        }
    }
}
