import CurlClient
import Glibc
import TestPatience
import Testing

extension ServerTests {
    @Suite("Under load")
    struct LoadTests {
        /// Generous, as a machine that builds and tests at once is slow.
        static let limit: Duration = .seconds(15)

        @Test("thousands of requests to a server that takes 50 ms are under way at once", arguments: [1000, 2000])
        func concurrency(count: Int) async throws {
            try await TestServer.with { server async throws in
                try await withClient(
                    CurlConfiguration(maxConnections: 2000, maxConnectionsPerHost: 2000, maxInFlight: 2000)
                ) { client async throws in
                    for round in 0..<2 {
                        let request = CurlRequest(url: server.url("/delay?ms=50"))
                        let start = ContinuousClock.now
                        let answered = await statuses(client, Array(repeating: request, count: count)).filter {
                            $0 == 200
                        }.count
                        let took = ContinuousClock.now - start
                        #expect(answered == count)
                        #expect(took < Self.limit)
                        print(
                            "\(count) concurrent requests, 50 ms each, \(round == 0 ? "new" : "pooled") connections: \(took)"
                        )
                    }
                    let stats = try await server.stats()
                    #expect(stats.maxRunning > count / 4)
                    #expect(stats.accepted <= 2000)
                    #expect(client.outstanding == 0)
                }
            }
        }

        @Test("no more requests run at one host, or in all, than may", arguments: [(8, 100, 8), (100, 12, 12)])
        func limits(perHost: Int, inFlight: Int, expected: Int) async throws {
            try await TestServer.with { server async throws in
                let configuration = CurlConfiguration(
                    maxConnections: 200, maxConnectionsPerHost: perHost, maxInFlight: inFlight)
                try await withClient(configuration) { client async throws in
                    let answers = await statuses(
                        client, Array(repeating: CurlRequest(url: server.url("/delay?ms=10")), count: 200))
                    #expect(answers.allSatisfy { $0 == 200 })
                    let stats = try await server.stats()
                    #expect(stats.maxRunning == expected)
                    #expect(stats.maxOpen <= expected)
                    #expect(stats.accepted <= expected)
                }
            }
        }

        @Test("idle connections to other hosts make room within the limit on all connections")
        func roomFromIdle() async throws {
            try await TestServer.with { server async throws in
                try await withClient(CurlConfiguration(maxConnections: 4, maxConnectionsPerHost: 4, maxInFlight: 4)) {
                    client async throws in
                    for host in ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "localhost"] {
                        let answers = await statuses(
                            client, Array(repeating: CurlRequest(url: server.url("/delay?ms=5", host: host)), count: 8))
                        #expect(answers.allSatisfy { $0 == 200 })
                    }
                    // The server may meet the next connection before the end of the last one, hence eventually.
                    try await server.eventually("no more are open than may") { $0.open <= 4 }
                    #expect(try await server.stats().accepted >= 5)
                }
            }
        }

        @Test("a host with a long line keeps nobody else waiting")
        func fairness() async throws {
            try await TestServer.with { slow in
                try await TestServer.with { quick in
                    try await withClient(CurlConfiguration(maxConnectionsPerHost: 2, maxInFlight: 64)) {
                        client async throws in
                        try await withThrowingTaskGroup(of: Void.self) { group in
                            for _ in 0..<100 {
                                group.addTask { _ = try? await client.perform(CurlRequest(url: slow.url("/hold"))) }
                            }
                            try await slow.eventually("the slow host is full") { $0.running == 2 }
                            #expect(try await client.perform(CurlRequest(url: quick.url("/echo"))).status == 200)
                            group.cancelAll()
                        }
                        #expect(client.outstanding == 0)
                    }
                }
            }
        }

        @Test("who waits for a turn can be cancelled, and times out")
        func waiting() async throws {
            try await TestServer.with { server async throws in
                try await withClient(CurlConfiguration(maxConnectionsPerHost: 1, maxInFlight: 1)) {
                    client async throws in
                    let holder = Task { try await client.perform(CurlRequest(url: server.url("/hold"))) }
                    try await server.eventually("one is held") { $0.running == 1 }

                    let timedOut = try await failure(
                        client, CurlRequest(url: server.url("/echo"), timeout: .milliseconds(30)))
                    #expect(timedOut.kind == .timeout)
                    #expect(timedOut.message.contains("waiting for a turn"))
                    #expect(!timedOut.mayHaveBeenSent)

                    let cancelled = Task { try await client.perform(CurlRequest(url: server.url("/echo"))) }
                    try await eventually("it waits") { client.outstanding == 2 }
                    cancelled.cancel()
                    await #expect(throws: CurlError.self) { try await cancelled.value }
                    #expect(client.outstanding == 1)

                    let next = Task { try await client.perform(CurlRequest(url: server.url("/echo"))) }
                    try await eventually("it waits") { client.outstanding == 2 }
                    holder.cancel()
                    #expect(try await next.value.status == 200)
                    #expect(try await server.stats().byPath["/echo"] == 1)
                    _ = await holder.result
                }
            }
        }

        @Test("turns are given in the order of asking")
        func order() async throws {
            try await TestServer.with { server async throws in
                try await withClient(CurlConfiguration(maxConnectionsPerHost: 1, maxInFlight: 1)) {
                    client async throws in
                    let holder = Task { try? await client.perform(CurlRequest(url: server.url("/hold"))) }
                    try await server.eventually("one is held") { $0.running == 1 }
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for number in 0..<20 {
                            group.addTask {
                                _ = try await client.perform(CurlRequest(url: server.url("/echo?\(number)")))
                            }
                            try await eventually("it waits") { client.outstanding == number + 2 }
                        }
                        holder.cancel()
                        try await group.waitForAll()
                    }
                    #expect(try await server.stats().targets == ["/hold"] + (0..<20).map { "/echo?\($0)" })
                }
            }
        }

        @Test("one more than may wait is refused at once")
        func overload() async throws {
            try await TestServer.with { server async throws in
                var configuration = CurlConfiguration(maxConnectionsPerHost: 1, maxInFlight: 1)
                configuration.maxWaiting = 2
                try await withClient(configuration) { client async throws in
                    let held = (0..<3).map { _ in
                        Task { try? await client.perform(CurlRequest(url: server.url("/hold"))) }
                    }
                    try await eventually("all are accepted") { client.outstanding == 3 }
                    #expect(try await failure(client, CurlRequest(url: server.url("/echo"))).kind == .overloaded)
                    for task in held { task.cancel() }
                    for task in held { _ = await task.value }
                    #expect(try await client.perform(CurlRequest(url: server.url("/echo"))).status == 200)
                }
            }
        }

        /// This machine's own name, where it stands for the address that the server listens on.
        static let lookedUpName: String? = {
            var name = [CChar](repeating: 0, count: 256)
            guard gethostname(&name, name.count) == 0 else { return nil }
            var found: UnsafeMutablePointer<addrinfo>?
            guard getaddrinfo(name, nil, nil, &found) == 0, let first = found else { return nil }
            defer { freeaddrinfo(found) }
            guard first.pointee.ai_family == AF_INET, let address = first.pointee.ai_addr else { return nil }
            let number = address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                UInt32(bigEndian: $0.pointee.sin_addr.s_addr)
            }
            return number == 0x7f00_0001
                ? String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
        }()

        @Test("a host with a name gets all its turns, over pooled connections too", .enabled(if: lookedUpName != nil))
        func namedHost() async throws {
            let host = try #require(Self.lookedUpName)
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    for _ in 0..<2 {
                        let held = (0..<12).map { _ in
                            Task { try? await client.perform(CurlRequest(url: server.url("/hold", host: host))) }
                        }
                        try await server.eventually("all run at once") { $0.running == 12 }
                        for task in held { task.cancel() }
                        for task in held { _ = await task.value }
                        // Leaves as many connections in the pool as the next round has requests.
                        let answers = await statuses(
                            client,
                            Array(repeating: CurlRequest(url: server.url("/delay?ms=20", host: host)), count: 12))
                        #expect(answers.allSatisfy { $0 == 200 })
                    }
                }
            }
        }

        @Test("no connection is handed down to child processes")
        func closeOnExec() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    #expect(try await client.perform(CurlRequest(url: server.url("/echo"))).status == 200)
                    var mine = 0
                    // Other tests of this process may hold thousands.
                    for descriptor in 0..<Int32(1 << 16) {
                        var peer = sockaddr_in()
                        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
                        let code = withUnsafeMutablePointer(to: &peer) {
                            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                                getpeername(descriptor, $0, &length)
                            }
                        }
                        guard code == 0, peer.sin_family == sa_family_t(AF_INET),
                            UInt16(bigEndian: peer.sin_port) == UInt16(server.port)
                        else { continue }
                        mine += 1
                        #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0)
                    }
                    #expect(mine == 1)
                }
            }
        }

        @Test("idle connections are closed when nothing has run for long")
        func idleTimeout() async throws {
            try await TestServer.with { server async throws in
                var configuration = CurlConfiguration()
                configuration.idleConnectionTimeout = .milliseconds(50)
                try await withClient(configuration) { client async throws in
                    _ = await statuses(
                        client, Array(repeating: CurlRequest(url: server.url("/delay?ms=10")), count: 30))
                    try await server.eventually("none is open") { $0.open == 0 }
                    #expect(try await client.perform(CurlRequest(url: server.url("/echo"))).status == 200)
                }
            }
        }

        private func statuses(_ client: CurlMulti, _ requests: [CurlRequest]) async -> [Int] {
            await withTaskGroup(of: Int.self) { group in
                for request in requests {
                    group.addTask {
                        do throws(CurlError) { return try await client.perform(request).status } catch {
                            Issue.record(error)
                            return 0
                        }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
        }
    }
}
