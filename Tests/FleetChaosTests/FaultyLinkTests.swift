import Glibc
import SystemThreads
import TestSockets
import Testing

@testable import FleetChaos

@Suite("A link on which things go wrong", .timeLimit(.minutes(1)))
struct FaultyLinkTests {
    /// An echo server and a client of it by way of a link.
    private func use(_ body: @escaping @Sendable (FaultyLink, Wire) async throws -> Void) async throws {
        let listener = try LoopbackSocket.listening()
        async let echoing: Void = onThread { try echo(listener) }
        let link = try await FaultyLink.start(to: Int(listener.port))
        let result: Result<Void, any Error>
        do { result = .success(try await body(link, try Wire(port: link.port))) } catch { result = .failure(error) }
        try await link.close()
        listener.shutdown()
        try await echoing
        try result.get()
    }

    @Test("What is sent arrives, in order, also where it is many times what a buffer holds")
    func passes() async throws {
        try await use { _, wire in
            let bytes = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            async let sending: Void = wire.send(bytes)
            #expect(try await wire.receive(bytes.count) == bytes)
            try await sending
        }
    }

    @Test(
        "A mute direction holds everything back, and passes it on in order when it is mute no more",
        arguments: FaultyLink.Direction.allCases)
    func mute(direction: FaultyLink.Direction) async throws {
        try await use { link, wire in
            try await wire.send([1])
            #expect(try await wire.receive(1) == [1])
            link.set(FaultyLink.Trouble(muted: [direction]))
            for byte in UInt8(2)...5 { try await wire.send([byte]) }
            #expect(try await wire.isSilent(for: .milliseconds(300)))
            link.set(FaultyLink.Trouble())
            #expect(try await wire.receive(4) == [2, 3, 4, 5])
        }
    }

    @Test("A delay counts in each direction, and nothing overtakes when it ends")
    func delay() async throws {
        try await use { link, wire in
            link.set(FaultyLink.Trouble(delay: .milliseconds(200)))
            let began = ContinuousClock.now
            try await wire.send([1])
            #expect(try await wire.receive(1) == [1])
            #expect(ContinuousClock.now - began >= .milliseconds(400))
            try await wire.send([2])
            link.set(FaultyLink.Trouble())
            try await wire.send([3])
            #expect(try await wire.receive(2) == [2, 3])
        }
    }

    @Test("A reset ends the connection with an error, and the next one works")
    func reset() async throws {
        try await use { link, wire in
            try await wire.send([1])
            #expect(try await wire.receive(1) == [1])
            #expect(link.connections == 1)
            #expect(link.reset() == 1)
            await #expect(throws: SocketFailure(call: "recv", code: ECONNRESET)) { try await wire.receive(1) }
            let next = try Wire(port: link.port)
            try await next.send([2])
            #expect(try await next.receive(1) == [2])
        }
    }
}

/// Accepts one connection after the other, each on a thread of its own, and sends back what comes.
private func echo(_ listener: LoopbackSocket) throws {
    while let connection = try listener.accept() {
        try SystemThread.start("echo") {
            // Its end may be an error: that is what is tested.
            while let bytes = try? connection.receive(), !bytes.isEmpty { try? connection.send(bytes) }
        }
    }
}

/// A client's end of a connection; what blocks does so off the cooperative pool.
private struct Wire: Sendable {
    private let socket: LoopbackSocket

    init(port: Int) throws { socket = try .connected(to: UInt16(port)) }

    func send(_ bytes: [UInt8]) async throws { try await onThread { try socket.send(bytes) } }

    func receive(_ count: Int) async throws -> [UInt8] { try await onThread { try socket.receive(exactly: count) } }

    func isSilent(for time: Duration) async throws -> Bool {
        try await onThread { !socket.isReadable(within: time) }
    }
}
