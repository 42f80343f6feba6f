import Dispatch
import Glibc
import Testing

@testable import FleetChaos

@Suite("A link on which things go wrong", .timeLimit(.minutes(1)))
struct FaultyLinkTests {
    /// An echo server and a client of it by way of a link.
    private func use(_ body: @escaping @Sendable (FaultyLink, Wire) async throws -> Void) async throws {
        let listener = try Listener()
        async let echoing: Void = blocking { listener.echo() }
        let link = try await FaultyLink.start(to: listener.port)
        let wire = try Wire(port: link.port)
        let result: Result<Void, any Error>
        do { result = .success(try await body(link, wire)) } catch { result = .failure(error) }
        wire.close()
        try await link.close()
        listener.close()
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
            #expect(try await wire.failure() == ECONNRESET)
            let next = try Wire(port: link.port)
            try await next.send([2])
            #expect(try await next.receive(1) == [2])
            next.close()
        }
    }
}

/// Accepts one connection after the other, each on a thread of its own, and sends back what comes.
private final class Listener: Sendable {
    let port: Int
    private let descriptor: Int32

    init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = loopback(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = self.descriptor
        let code = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) | listen(descriptor, 16) | getsockname(descriptor, $0, &length)
            }
        }
        guard code == 0 else { throw SocketError(code: errno) }
        port = Int(UInt16(bigEndian: address.sin_port))
    }

    func echo() {
        while true {
            let connection = accept(descriptor, nil, nil)
            if connection < 0 { return }
            DispatchQueue.global().async {
                var buffer = [UInt8](repeating: 0, count: 1 << 16)
                while true {
                    let count = recv(connection, &buffer, buffer.count, 0)
                    if count <= 0 || Glibc.send(connection, buffer, count, Int32(MSG_NOSIGNAL)) != count { break }
                }
                Glibc.close(connection)
            }
        }
    }

    func close() {
        shutdown(descriptor, Int32(SHUT_RDWR))
        Glibc.close(descriptor)
    }
}

/// A client's end of a connection; what blocks does so off the cooperative pool.
private struct Wire: Sendable {
    private let descriptor: Int32

    init(port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = loopback(UInt16(port))
        let descriptor = self.descriptor
        let code = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard code == 0 else { throw SocketError(code: errno) }
    }

    func send(_ bytes: [UInt8]) async throws {
        try await blocking {
            var sent = 0
            while sent < bytes.count {
                let count = bytes[sent...].withUnsafeBytes {
                    Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                guard count > 0 else { throw SocketError(code: errno) }
                sent += count
            }
        }
    }

    func receive(_ count: Int) async throws -> [UInt8] {
        try await blocking {
            var bytes: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 1 << 16)
            while bytes.count < count {
                let got = recv(descriptor, &buffer, min(buffer.count, count - bytes.count), 0)
                guard got > 0 else { throw SocketError(code: errno) }
                bytes += buffer[..<got]
            }
            return bytes
        }
    }

    func isSilent(for time: Duration) async throws -> Bool {
        try await blocking {
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            return poll(&entry, 1, Int32(time / .milliseconds(1))) == 0
        }
    }

    /// The error by which the connection ends.
    func failure() async throws -> Int32 {
        try await blocking {
            var byte: UInt8 = 0
            return recv(descriptor, &byte, 1, 0) < 0 ? errno : 0
        }
    }

    func close() { Glibc.close(descriptor) }
}

private struct SocketError: Error { let code: Int32 }

private func loopback(_ port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    return address
}

private func blocking<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue.global().async { continuation.resume(with: Result { try body() }) }
    }
}
