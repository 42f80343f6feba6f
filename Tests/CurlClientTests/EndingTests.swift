import CurlClient
import Glibc
import TestPatience
import TestSockets
import Testing

extension ServerTests {
    @Suite("A request that gets no answer says why")
    struct EndingTests {
        @Test(
            "when the time is over, and while doing what",
            arguments: [
                ("/hold", "waiting for the answer"), ("/drip", "while the answer came in"),
                ("/announce?count=5", "while the answer came in"),
            ])
        func timeout(path: String, doing: String) async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let start = ContinuousClock.now
                    let error = try await failure(
                        client, CurlRequest(url: server.url(path), timeout: .milliseconds(200)))
                    let took = ContinuousClock.now - start
                    #expect(error.kind == .timeout)
                    #expect(error.message.contains(doing))
                    #expect(error.mayHaveBeenSent)
                    #expect(took >= .milliseconds(200) && took < .seconds(10))
                    try await server.eventually("the connection is gone") { $0.abandoned == 1 && $0.running == 0 }
                }
            }
        }

        @Test("when nobody listens")
        func refused() async throws {
            try await withClient { client async throws in
                let error = try await failure(client, CurlRequest(url: "http://127.0.0.1:1/secret?token=s3cret"))
                #expect(error.kind == .connect)
                #expect(error.isTransient)
                #expect(!error.mayHaveBeenSent)
                #expect(error.description.contains("127.0.0.1"))
                #expect(!error.description.contains("secret") && !error.description.contains("s3cret"))
            }
        }

        @Test("when nobody answers the call", .timeLimit(.minutes(1)))
        func unanswered() async throws {
            // A listener whose backlog is full: further connections get no answer at all.
            let listener = try LoopbackSocket.listening(backlog: 0)
            defer { listener.shutdown() }
            let url = "http://127.0.0.1:\(listener.port)/"
            try await withClient { client async throws in
                try await withThrowingTaskGroup(of: CurlError.self) { group in
                    for _ in 0..<8 {
                        group.addTask {
                            try await failure(
                                client, CurlRequest(url: url, timeout: .seconds(1), connectTimeout: .milliseconds(100)))
                        }
                    }
                    var connecting = 0
                    for try await error in group {
                        #expect(error.kind == .timeout)
                        if !error.mayHaveBeenSent { connecting += 1 }
                    }
                    #expect(connecting > 0)
                }
            }
        }

        @Test("when the name has no address")
        func unresolvable() async throws {
            try await withClient { client async throws in
                let error = try await failure(
                    client,
                    CurlRequest(
                        url: "http://no-such-name.invalid/", timeout: .seconds(20), connectTimeout: .seconds(15)))
                #expect(error.kind == .resolve)
                #expect(!error.mayHaveBeenSent)
            }
        }

        @Test("when many names have no address, with few asked for at once")
        func manyUnresolvable() async throws {
            try await withClient { client async throws in
                let kinds = await withTaskGroup(of: CurlError.Kind?.self) { group in
                    for number in 0..<300 {
                        group.addTask {
                            // A label longer than names may have fails in the resolver, without troubling a name server.
                            let name = String(repeating: "x", count: 64) + "\(number).invalid"
                            let request = CurlRequest(
                                url: "http://\(name)/", timeout: .seconds(30), connectTimeout: .seconds(15))
                            return try? await failure(client, request).kind
                        }
                    }
                    return await group.reduce(into: [CurlError.Kind?]()) { $0.append($1) }
                }
                #expect(kinds.count == 300)
                #expect(kinds.allSatisfy { $0 == .resolve })
            }
        }

        @Test("when its task is cancelled, at once, and the server learns of it")
        func cancelled() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    for path in ["/hold", "/drip", "/endless"] {
                        let before = try await server.stats().abandoned
                        let task = Task {
                            try await client.perform(CurlRequest(url: server.url(path), maxResponseBytes: .max))
                        }
                        try await server.eventually("it runs") { $0.running == 1 }
                        let start = ContinuousClock.now
                        task.cancel()
                        let result = await task.result
                        #expect(ContinuousClock.now - start < .seconds(10))
                        #expect(throws: CurlError.self) { try result.get() }
                        if case .failure(let error as CurlError) = result {
                            #expect(error.kind == .cancelled)
                            #expect(error.mayHaveBeenSent)
                        }
                        try await server.eventually("the connection is gone") {
                            $0.abandoned == before + 1 && $0.running == 0
                        }
                    }
                    #expect(client.outstanding == 0)
                }
            }
        }

        @Test("when its task was cancelled before it began")
        func cancelledBefore() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let task = Task {
                        while !Task.isCancelled { await Task.yield() }
                        return try await failure(client, CurlRequest(url: server.url("/echo")))
                    }
                    task.cancel()
                    #expect(try await task.value.kind == .cancelled)
                    #expect(try await server.stats().requests == 0)
                }
            }
        }

        @Test("when hundreds are cancelled at any moment, each ends once")
        func cancelledAnytime() async throws {
            try await TestServer.with { server async throws in
                try await withClient(CurlConfiguration(maxConnectionsPerHost: 20)) { client async throws in
                    let tasks = (0..<400).map { _ in
                        Task { try await client.perform(CurlRequest(url: server.url("/delay?ms=3"))) }
                    }
                    var generator = SystemRandomNumberGenerator()
                    for task in tasks.shuffled(using: &generator) {
                        task.cancel()
                        await Task.yield()
                    }
                    for task in tasks { _ = await task.result }
                    #expect(client.outstanding == 0)
                    #expect(try await client.perform(CurlRequest(url: server.url("/echo"))).status == 200)
                }
            }
        }

        @Test("when the connection breaks in the middle, or the server dies", arguments: ["/drop", "/die"])
        func broken(path: String) async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let error = try await failure(client, CurlRequest(url: server.url(path)))
                    #expect(error.kind == .interrupted)
                    #expect(error.mayHaveBeenSent)
                }
            }
        }

        @Test("when the client is closed, in flight or waiting or later")
        func closed() async throws {
            try await TestServer.with { server async throws in
                let client = CurlMulti(maxConnections: 10, maxConnectionsPerHost: 10, maxInFlight: 10)
                let tasks = (0..<30).map { _ in
                    Task { try await failure(client, CurlRequest(url: server.url("/hold"))) }
                }
                try await server.eventually("ten run") { $0.running == 10 }
                try await eventually("the others wait") { client.outstanding == 30 }
                await withTaskGroup(of: Void.self) { group in
                    for _ in 0..<3 { group.addTask { await client.close() } }
                }
                for task in tasks { #expect(try await task.value.kind == .closed) }
                #expect(client.outstanding == 0)
                #expect(try await failure(client, CurlRequest(url: server.url("/echo"))).kind == .closed)
                await client.close()
                try await server.eventually("no connection is open") { $0.open == 0 }
            }
        }

        @Test("and a client let go unclosed is reported, and its thread ends")
        func abandoned() async throws {
            try await TestServer.with { server async throws in
                let reports = Notes<String>()
                do {
                    var configuration = CurlConfiguration()
                    configuration.onMisuse = { message in reports.add(message) }
                    let client = CurlMulti(configuration)
                    #expect(try await client.perform(CurlRequest(url: server.url("/echo"))).status == 200)
                }
                #expect(reports.all.count == 1)
                // The connection is the thread's; only its end closes it this soon.
                try await server.eventually("the connection is gone") { $0.open == 0 }
            }
        }
    }
}
