import CurlClient
import FleetDemoTarget
import Foundation
import Logging
import ServiceLifecycle
import TestPatience
import Testing

@Suite("The demo's target", .serialized)
struct DemoTargetTests {
    @Test("applies an effect once per key and counts every request that got so far")
    func once() async throws {
        try await withTarget(.perfect) { target, post async throws in
            #expect(try await post("a").text == "applied\n")
            #expect(try await post("a").text == "repeated\n")
            #expect(try await post("a").text == "repeated\n")
            #expect(try await post("b").text == "applied\n")
            let counts = try await post.counts(keys: true)
            #expect(
                counts
                    == DemoCounts(
                        requests: 4, effects: 2, raw: 4, repeats: 2, failures500: 0, throttled429: 0,
                        keys: ["a": 3, "b": 1]))
            #expect(try await post.counts(keys: false).keys == nil)
            #expect(target.counts.raw == 4)
        }
    }

    @Test("fails before, throttles before and fails after the effect, about as often as told")
    func shares() async throws {
        var behaviour = DemoTarget.Behaviour.perfect
        (behaviour.failures, behaviour.throttled, behaviour.failuresAfterEffect) = (0.2, 0.1, 0.1)
        behaviour.retryAfterSeconds = 3
        try await withTarget(behaviour) { target, post async throws in
            let count = 2000
            let answers = try await withThrowingTaskGroup(of: CurlResponse.self) { group in
                for number in 0..<count { group.addTask { try await post("key-\(number)") } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            let statuses = Dictionary(grouping: answers, by: { $0.status }).mapValues { $0.count }
            #expect(Set(statuses.keys) == [200, 429, 500])
            #expect(answers.filter { $0.status == 429 }.allSatisfy { $0.retryAfter == .seconds(3) })
            let counts = target.counts
            #expect(counts.requests == count)
            #expect(counts.throttled429 == statuses[429])
            #expect(counts.failures500 == statuses[500])
            // The nasty case: applied, and answered 500.
            let afterEffect = counts.effects - (statuses[200] ?? 0)
            // Of 2,000 draws: each bound is more than five standard deviations away.
            #expect((120...290).contains(afterEffect))
            #expect((120...290).contains(counts.throttled429))
            #expect((300...500).contains(counts.failures500 - afterEffect))
            #expect(counts.repeats == 0 && counts.raw == counts.effects)
        }
    }

    @Test("gives the n-th request of a key the same fate in every run with a seed, whatever the order")
    func seeded() async throws {
        var behaviour = DemoTarget.Behaviour.perfect
        (behaviour.failures, behaviour.throttled) = (0.3, 0.2)
        let keys = (0..<40).map { "key-\($0)" }
        func fates(seed: UInt64, order: [String]) async throws -> [String: [Int]] {
            try await withTarget(behaviour, seed: seed) { _, post async throws in
                var fates: [String: [Int]] = [:]
                for _ in 0..<3 { for key in order { fates[key, default: []].append(try await post(key).status) } }
                return fates
            }
        }
        let first = try await fates(seed: 7, order: keys)
        #expect(try await fates(seed: 7, order: keys.reversed()) == first)
        #expect(try await fates(seed: 8, order: keys) != first)
    }

    @Test("takes its time, within what it was told")
    func latency() async throws {
        var behaviour = DemoTarget.Behaviour.perfect
        behaviour.latencyMilliseconds = 30...60
        try await withTarget(behaviour) { _, post async throws in
            for number in 0..<5 {
                #expect(try await post("k\(number)").timing.firstByte >= .milliseconds(29))
            }
        }
    }

    @Test(
        "asks for a key of a sensible length",
        arguments: [nil, "", String(repeating: "k", count: DemoTarget.maxKeyBytes + 1)])
    func badKey(key: String?) async throws {
        try await withTarget(.perfect) { target, post async throws in
            #expect(try await post(key).status == 400)
            #expect(target.counts.requests == 0)
        }
    }

    @Test("remembers so many keys and says when it is full, while known keys go on")
    func full() async throws {
        var behaviour = DemoTarget.Behaviour.perfect
        behaviour.maxKeys = 3
        try await withTarget(behaviour) { target, post async throws in
            for key in ["a", "b", "c"] { #expect(try await post(key).status == 200) }
            let refused = try await post("d")
            #expect(refused.status == 507)
            #expect(refused.text.contains("3 keys"))
            #expect(try await post("a").status == 200)
            #expect(target.counts.effects == 3 && target.counts.requests == 4)
        }
    }

    @Test("answers an oversized body 413, an unknown route 404, and health 200")
    func routes() async throws {
        try await withTarget(.perfect) { _, post async throws in
            #expect(try await post("a", body: [UInt8](repeating: 1, count: DemoTarget.maxBodyBytes + 1)).status == 413)
            #expect(try await post.client.perform(CurlRequest(url: post.url("/nowhere"))).status == 404)
            #expect(try await post.client.perform(CurlRequest(url: post.url("/health"))).status == 200)
        }
    }

    @Test("lets requests under way end when it is shut down")
    func shutdown() async throws {
        var behaviour = DemoTarget.Behaviour.perfect
        behaviour.latencyMilliseconds = 300...300
        let target = DemoTarget(seed: 1, behaviour: behaviour)
        let ready = AsyncStream<Int>.makeStream()
        let group = ServiceGroup(
            services: [Served(target: target, onReady: { ready.continuation.yield($0) })], logger: Logger(label: "test")
        )
        let client = CurlMulti()
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            let port = try #require(await ready.stream.first { _ in true })
            let request = CurlRequest(
                method: "POST", url: "http://127.0.0.1:\(port)/effect", headers: [("Idempotency-Key", "a")])
            async let answer = client.perform(request)
            try await eventually("the request is under way") { target.counts.requests == 1 }
            await group.triggerGracefulShutdown()
            #expect(try await answer.status == 200)
            try await tasks.waitForAll()
            var error: CurlError?
            do { _ = try await client.perform(request) } catch let caught as CurlError { error = caught }
            #expect(error?.kind == .connect)
        }
        await client.close()
    }

    @Test("ends when its task is cancelled")
    func cancelled() async throws {
        let ready = AsyncStream<Int>.makeStream()
        let running = Task { try await DemoTarget(seed: 1).run(onReady: { ready.continuation.yield($0) }) }
        _ = await ready.stream.first { _ in true }
        running.cancel()
        _ = await running.result
    }

    // MARK: Means

    private struct Served: Service {
        let target: DemoTarget
        let onReady: @Sendable (Int) -> Void
        func run() async throws { try await target.run(onReady: onReady) }
    }

    struct Post: Sendable {
        let client: CurlMulti
        let port: Int

        func url(_ path: String) -> String { "http://127.0.0.1:\(port)\(path)" }

        func callAsFunction(_ key: String?, body: [UInt8]? = nil) async throws -> CurlResponse {
            let headers = key.map { [(name: "Idempotency-Key", value: $0)] } ?? []
            return try await client.perform(
                CurlRequest(method: "POST", url: url("/effect"), headers: headers, body: body))
        }

        func counts(keys: Bool) async throws -> DemoCounts {
            let response = try await client.perform(CurlRequest(url: url(keys ? "/counts?keys=1" : "/counts")))
            return try JSONDecoder().decode(DemoCounts.self, from: Data(response.body))
        }
    }

    private func withTarget<R: Sendable>(
        _ behaviour: DemoTarget.Behaviour, seed: UInt64 = 1,
        _ body: @Sendable @escaping (DemoTarget, Post) async throws -> R
    ) async throws -> R {
        let target = DemoTarget(seed: seed, behaviour: behaviour)
        let ready = AsyncStream<Int>.makeStream()
        let client = CurlMulti(maxConnections: 200, maxConnectionsPerHost: 200, maxInFlight: 200)
        let group = ServiceGroup(
            services: [Served(target: target, onReady: { ready.continuation.yield($0) })], logger: Logger(label: "test")
        )
        let running = Task { try await group.run() }
        let result: Result<R, any Error>
        do {
            let port = try #require(await ready.stream.first { _ in true })
            result = .success(try await body(target, Post(client: client, port: port)))
        } catch {
            result = .failure(error)
        }
        await client.close()
        await group.triggerGracefulShutdown()
        try await running.value
        return try result.get()
    }
}

extension CurlResponse {
    fileprivate var text: String { String(decoding: body, as: UTF8.self) }
}
