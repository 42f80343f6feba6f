import AddressPolicy
import Dispatch
import FleetStack
import Glibc
import PageServer
import Synchronization
import TestPatience
import Testing

@testable import EgressProxy

/// What curl says of a connection that its proxy did not make (CURLE_PROXY).
private let notConnected: ChildProcess.ExitStatus = .exited(97)

/// A proxy for ourselves, closed with `body`.
private func withProxy<Value>(
    user: UInt32 = geteuid(), connectionsMax: Int = 1_000,
    lookUp: @escaping @Sendable (String) -> [IPAddress] = NameThreads.addresses,
    _ body: (EgressProxy) async throws -> Value
) async throws -> Value {
    let proxy = EgressProxy(
        user: user, connectionsMax: connectionsMax,
        names: NameThreads(threads: 2, waitingMax: 10, lookUp: lookUp))
    let result: Result<Value, any Error>
    do { result = .success(try await body(proxy)) } catch { result = .failure(error) }
    await proxy.close()
    return try result.get()
}

/// Begins to ask for an address by way of a gate; names are the gate's to look up.
private func startCurl(_ gate: EgressGate, _ url: String, user: String? = nil) throws -> ChildProcess {
    try ChildProcess.start(
        executable: "/usr/bin/curl",
        arguments: [
            "--silent", "--show-error", "--max-time", "60", "--socks5-hostname", "127.0.0.1:\(gate.port)", "--noproxy",
            "", url,
        ], environment: [:], directory: "/", output: .capture, user: user)
}

private func curl(_ gate: EgressGate, _ url: String, user: String? = nil) async throws
    -> (status: ChildProcess.ExitStatus, text: String)
{
    let process = try startCurl(gate, url, user: user)
    guard let status = await process.exitStatus(within: patienceOfTests) else {
        throw ServerFailure("curl does not end")
    }
    return (status, process.standardOutput)
}

private func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

private func allowingLoopback() throws -> AddressPolicy { try AddressPolicy(allowing: ["127.0.0.1"]) }

@Suite("Gates", .timeLimit(.minutes(3)))
struct GateTests {
    private func hello(_ body: (PageServer) async throws -> Void) async throws {
        try await PageServer.with { _ in
            .page("hello")
        } _: {
            try await body($0)
        }
    }

    @Test("What is allowed goes through and is counted")
    func allowed() async throws {
        try await hello { server in
            try await withProxy { proxy in
                let gate = try proxy.openGate(policy: try allowingLoopback())
                let answer = try await curl(gate, server.url)
                #expect(answer.status == .exited(0) && answer.text == "hello")
                #expect(gate.report.connections == 1 && gate.report.failureCount == 0)
                #expect(gate.report.bytesReceived > 5 && gate.report.bytesSent > 5)
                try await eventually("the connection is closed") { gate.report.open == 0 }
            }
        }
    }

    @Test("By name, address and odd spelling: what is not global is refused, and the server never sees it")
    func refused() async throws {
        try await hello { server in
            try await withProxy { proxy in
                let refusals = Mutex(0)
                let gate = try proxy.openGate(policy: .globalOnly) { refusals.withLock { $0 += 1 } }
                let hosts: [(String, AddressKind)] = [
                    ("127.0.0.1", .loopback), ("localhost", .loopback), ("0.0.0.0", .unspecified),
                    ("169.254.169.254", .metadata), ("10.0.0.1", .private), ("[::1]", .loopback),
                    ("[::ffff:127.0.0.1]", .loopback), ("127.1", .loopback), ("2130706433", .loopback),
                ]
                for (host, _) in hosts {
                    #expect(try await curl(gate, "http://\(host):\(server.port)/").status == notConnected)
                }
                #expect(gate.report.failures.map(\.reason) == hosts.map { .refused($0.1) })
                #expect(gate.report.refusedCount == hosts.count)
                #expect(refusals.withLock { $0 } == hosts.count)
                #expect(server.acceptedCount == 0)
            }
        }
    }

    @Test("A name that changes its mind is judged by the answer that is connected to, asked for once")
    func rebinding() async throws {
        try await hello { server in
            let asked = Mutex(0)
            let (first, second) = (try address("127.0.0.1"), try address("127.0.0.2"))
            try await withProxy { _ in
                asked.withLock {
                    $0 += 1
                    return $0 == 1 ? [first] : [second]
                }
            } _: { proxy in
                let gate = try proxy.openGate(policy: try allowingLoopback())
                #expect(try await curl(gate, "http://turncoat.test:\(server.port)/").text == "hello")
                #expect(asked.withLock { $0 } == 1)
                #expect(try await curl(gate, "http://turncoat.test:\(server.port)/").status == notConnected)
                #expect(
                    gate.report.failures == [
                        EgressFailure(host: "turncoat.test", port: server.port, reason: .refused(.loopback))
                    ])
            }
        }
    }

    @Test("Of several addresses only the allowed ones are tried")
    func mixed() async throws {
        try await hello { server in
            let addresses = [try address("127.0.0.2"), try address("10.1.2.3"), try address("127.0.0.1")]
            try await withProxy { _ in
                addresses
            } _: { proxy in
                let gate = try proxy.openGate(policy: try allowingLoopback())
                #expect(try await curl(gate, "http://many.test:\(server.port)/").text == "hello")
                #expect(gate.report.failureCount == 0)
            }
        }
    }

    @Test("A name without an address and a port at which nobody listens are told apart")
    func unreachable() async throws {
        let here = try address("127.0.0.1")
        try await withProxy {
            $0 == "nobody.test" ? [here] : []
        } _: { proxy in
            let gate = try proxy.openGate(policy: try allowingLoopback())
            #expect(try await curl(gate, "http://noname.test/").status == notConnected)
            #expect(try await curl(gate, "http://nobody.test:1/").status == notConnected)
            #expect(gate.report.failures.map(\.reason) == [.noName, .notReachable("Connection refused")])
            #expect(gate.report.refusedCount == 0)
        }
    }

    @Test("Connections of another user are closed", .enabled(if: geteuid() == 0))
    func strangers() async throws {
        try await hello { server in
            try await withProxy { proxy in
                let gate = try proxy.openGate(policy: try allowingLoopback())
                let answer = try await curl(gate, server.url, user: "nobody")
                #expect(answer.status != .exited(0))
                #expect(gate.report.connections == 0)
                #expect(server.acceptedCount == 0)
                #expect(try await curl(gate, server.url).text == "hello")
            }
        }
    }

    @Test("A gate passes no more bytes than it may")
    func bytes() async throws {
        let large = [UInt8](repeating: 0x61, count: 4 << 20)
        try await PageServer.with { _ in
            .bytes(large, type: "text/plain")
        } _: { server in
            try await withProxy { proxy in
                let gate = try proxy.openGate(policy: try allowingLoopback(), limits: GateLimits(bytesMax: 1 << 20))
                let answer = try await curl(gate, server.url)
                #expect(answer.status != .exited(0))
                #expect(answer.text.utf8.count < 2 << 20)
                #expect(try await curl(gate, server.url).status != .exited(0), "nothing more goes through")
                #expect(gate.report.failures.contains { $0.reason == .limit })
                let other = try proxy.openGate(policy: try allowingLoopback())
                #expect(try await curl(other, server.url).text.utf8.count == large.count)
            }
        }
    }

    @Test("Many bytes go through a slow reader whole")
    func backpressure() async throws {
        let large = (0..<(16 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
        try await PageServer.with { _ in
            .bytes(large, type: "application/octet-stream")
        } _: { server in
            try await withProxy { proxy in
                let gate = try proxy.openGate(policy: try allowingLoopback())
                let sum = try ChildProcess.start(
                    executable: "/bin/sh",
                    arguments: [
                        "-c",
                        "curl -s --socks5-hostname 127.0.0.1:\(gate.port) --noproxy '' \(server.url) | "
                            + "{ head -c 100000; dd bs=3000 status=none; } | cksum",
                    ], output: .capture)
                #expect(await sum.exitStatus(within: patienceOfTests) == .exited(0))
                let direct = try ChildProcess.start(
                    executable: "/bin/sh", arguments: ["-c", "curl -s --noproxy '*' \(server.url) | cksum"],
                    output: .capture)
                #expect(await direct.exitStatus(within: patienceOfTests) == .exited(0))
                #expect(sum.standardOutput == direct.standardOutput)
            }
        }
    }

    @Test("No more connections at once than a gate and all gates may")
    func connections() async throws {
        try await PageServer.with {
            $0.path == "/silent" ? .silence : .page("hello")
        } _: { server in
            try await withProxy(connectionsMax: 2) { proxy in
                let narrow = try proxy.openGate(
                    policy: try allowingLoopback(), limits: GateLimits(connectionsMax: 1))
                let first = try startCurl(narrow, "\(server.url)/silent")
                try await eventually("the first is through") { narrow.report.open == 1 }
                #expect(try await curl(narrow, server.url).status != .exited(0))
                #expect(narrow.report.failures.map(\.reason) == [.limit])
                let wide = try proxy.openGate(policy: try allowingLoopback())
                #expect(try await curl(wide, server.url).text == "hello")
                let second = try startCurl(wide, "\(server.url)/silent")
                try await eventually("the second is through") { wide.report.open == 1 }
                #expect(try await curl(wide, server.url).status != .exited(0))
                try await first.stop()
                try await eventually("its place is free") { narrow.report.open == 0 }
                #expect(try await curl(narrow, server.url).text == "hello")
                try await second.stop()
            }
        }
    }

    @Test("What is silent for too long is closed, as is a name that takes too long")
    func times() async throws {
        let isOver = DispatchSemaphore(value: 0)
        let slow: @Sendable (String) -> [IPAddress] = { host in
            if host == "slow.test" { isOver.wait() }
            return []
        }
        try await PageServer.with { _ in
            .silence
        } _: { server in
            try await withProxy(lookUp: slow) { proxy in
                let limits = GateLimits(connectTimeout: .milliseconds(700), idleTimeout: .milliseconds(700))
                let gate = try proxy.openGate(policy: try allowingLoopback(), limits: limits)
                #expect(try await curl(gate, server.url).status == .exited(52), "an empty reply")
                #expect(gate.report.connections == 1)
                #expect(try await curl(gate, "http://slow.test/").status == notConnected)
                #expect(gate.report.failures.map(\.reason) == [.timeout])
                isOver.signal()
            }
        }
    }

    @Test("A gate that is closed ends its connections and no others, and frees its port")
    func closing() async throws {
        try await PageServer.with { _ in
            .silence
        } _: { server in
            try await withProxy { proxy in
                let gate = try proxy.openGate(policy: try allowingLoopback())
                let other = try proxy.openGate(policy: try allowingLoopback())
                let mine = try startCurl(gate, server.url)
                let theirs = try startCurl(other, server.url)
                try await eventually("both are through") { gate.report.open == 1 && other.report.open == 1 }
                gate.close()
                #expect(await mine.exitStatus(within: patienceOfTests) == .exited(52))
                #expect(other.report.open == 1)
                #expect(try await curl(gate, server.url).status == .exited(7), "nobody listens any more")
                try await theirs.stop()
            }
        }
    }
}
