import APISubsystem
import FleetModel
import Foundation
import Synchronization
import Testing

extension ServerTests {
    @Suite("Batches of calls", .timeLimit(.minutes(2)))
    struct BatchTests {
        private let url: String

        init() async throws { url = try await WebService.shared.value.url }

        private func batch(
            _ calls: [RequestParameters], concurrency: Int? = nil, require: BatchParameters.Requirement? = nil,
            keepHeaders: [String]? = nil
        ) -> BatchParameters {
            BatchParameters(calls: calls, concurrency: concurrency, require: require, keepHeaders: keepHeaders)
        }

        private func to(_ path: String) -> RequestParameters { RequestParameters(url: "\(url)/\(path)") }

        @Test("Each call is reported in its place, the failed ones with what may be done")
        func partial() async throws {
            try await withAPI { api async throws in
                let calls = [to("bytes/3"), to("status/404"), to("status/503"), to("echo"), to("bytes/1001")]
                let output: BatchOutput = try await api.run(batch(calls), context(BatchParameters.type))
                #expect((output.succeeded, output.failed) == (2, 3))
                #expect(output.calls.map { $0.response?.status } == [200, nil, nil, 200, nil])
                #expect(output.calls.map { $0.error?.kind } == [nil, "permanent", "transient", nil, "permanent"])
                #expect(output.calls[1].error?.code == "api.404")
                #expect(output.calls[4].error?.code == "api.response-too-large")
            }
        }

        @Test("Each call has an idempotency key of its own, the same over all attempts")
        func keys() async throws {
            try await withAPI { api async throws in
                for _ in 0..<2 {
                    let output: BatchOutput = try await api.run(
                        batch([to("echo"), to("echo")]), context(BatchParameters.type, key: "k"))
                    let keys = try output.calls.map { try Asked(try #require($0.response)).headers["idempotency-key"] }
                    #expect(keys == ["k/0", "k/1"])
                }
            }
        }

        @Test("A host that asks for a pause gets no more of the batch, and the calls left say when to ask again")
        func throttled() async throws {
            try await WebService.with { service async throws in
                try await withAPI { api async throws in
                    let limits = UnsharedLimits()
                    let calls =
                        [to("echo")]
                        + Array(
                            repeating: RequestParameters(
                                url: service.url.replacing("127.0.0.1", with: "localhost") + "/status/429?after=30"),
                            count: 30)
                    let output: BatchOutput = try await api.run(
                        batch(calls, concurrency: 2), context(BatchParameters.type, limits: limits))
                    #expect((output.succeeded, output.failed) == (1, 30))
                    #expect(output.calls.dropFirst().allSatisfy { ($0.error?.retryAfterMilliseconds ?? 0) > 20_000 })
                    #expect(try await service.counts().requests <= 2)
                }
            }
        }

        @Test(
            "With none that succeeded the batch fails, as hopefully as its calls",
            arguments: [
                (["status/404", "status/410"], "permanent"), (["status/404", "status/500"], "transient"),
                (["status/500", "status/429?after=7"], "throttled"),
            ])
        func none(paths: [String], kind: String) async throws {
            try await withAPI { api async throws in
                let end = try await failureOf {
                    try await api.run(batch(paths.map(to)), context(BatchParameters.type), as: BatchOutput.self).failed
                }
                #expect((end.kind.name, end.code) == (kind, "api.batch-failed"))
                #expect(end.message.hasPrefix("2 of 2 calls failed; the first: api."))
                if case .throttled(let pause) = end.kind { #expect(pause == .seconds(7)) }
            }
        }

        @Test("A batch that requires all fails with one")
        func all() async throws {
            try await withAPI { api async throws in
                let end = try await failureOf {
                    try await api.run(
                        batch([to("echo"), to("status/404"), to("echo")], require: .all), context(BatchParameters.type),
                        as: BatchOutput.self
                    ).failed
                }
                #expect((end.kind, end.code) == (.permanent, "api.batch-failed"))
                let output: BatchOutput = try await api.run(
                    batch([to("echo"), to("echo")], require: .all), context(BatchParameters.type))
                #expect(output.succeeded == 2)
            }
        }

        @Test("No more calls are under way than the batch wants, and progress tells of each")
        func concurrency() async throws {
            try await WebService.with { service async throws in
                try await withAPI { api async throws in
                    let notes = Mutex<[JobProgress]>([])
                    let calls = Array(repeating: RequestParameters(url: "\(service.url)/echo"), count: 60)
                    let output: BatchOutput = try await api.run(
                        batch(calls, concurrency: 3),
                        context(BatchParameters.type, report: { progress in notes.withLock { $0.append(progress) } }))
                    #expect(output.succeeded == 60)
                    let progress = notes.withLock { $0 }
                    #expect(progress.count == 60)
                    #expect(progress.last == JobProgress(1, "60 of 60 calls"))
                    #expect(zip(progress, progress.dropFirst()).allSatisfy { $0.fraction < $1.fraction })
                    let counts = try await service.counts()
                    #expect(counts.connections <= 3, "connections are used again")
                    #expect(counts.requests == 60)
                }
            }
        }

        @Test("The bodies of a batch share the room in its result, and headers are those asked for")
        func room() async throws {
            try await withAPI(try localSettings { $0.batchBytesMax = 1_000 }) { api async throws in
                let fits: BatchOutput = try await api.run(
                    batch([to("bytes/500"), to("headers")], keepHeaders: ["X-One"]), context(BatchParameters.type))
                #expect(fits.calls[0].response?.bytes == 500)
                #expect(fits.calls[1].response?.headers == ["x-one": "a, b"])
                let over: BatchOutput = try await api.run(
                    batch([to("bytes/501"), to("headers")]), context(BatchParameters.type))
                #expect(over.calls[0].error?.code == "api.response-too-large")
                #expect(over.calls[1].response?.headers == [:])
            }
        }

        @Test("Bodies that go to files have a file each")
        func files() async throws {
            try await ResultPlace.with { place async throws in
                try await withAPI(results: place.results) { api async throws in
                    let output: BatchOutput = try await api.run(
                        batch([to("bytes/2000"), to("bytes/3000"), to("bytes/1")]),
                        context(BatchParameters.type, key: "k"))
                    #expect(output.calls.map { $0.response?.file?.bytes } == [2_000, 3_000, nil])
                    #expect(try place.files.count == 2)
                }
            }
        }

        @Test("A cancelled batch ends at once as cancelled, and a lost claim ends it too")
        func cancelled() async throws {
            try await ResultPlace.with { place async throws in
                try await withAPI(results: place.results) { api async throws in
                    let task = Task { [url] in
                        try await failureOf {
                            try await api.run(
                                BatchParameters(calls: Array(repeating: .init(url: "\(url)/silence"), count: 5)),
                                context(BatchParameters.type), as: BatchOutput.self
                            ).failed
                        }
                    }
                    while api.status.active < 5 { await Task.yield() }
                    task.cancel()
                    #expect(try await task.value.code == "cancelled")
                    let lost = try await failureOf {
                        try await api.run(
                            batch([to("bytes/5000"), to("silence")]),
                            context(BatchParameters.type, confirm: { throw ClaimLost("another has it") }),
                            as: BatchOutput.self
                        ).failed
                    }
                    #expect(lost.code == "claim.lost")
                    #expect(api.status.active == 0)
                }
            }
        }
    }
}
