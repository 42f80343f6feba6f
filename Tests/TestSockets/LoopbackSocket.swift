import Glibc
import SystemThreads

/// A call on a socket that failed.
public struct SocketFailure: Error, Equatable, CustomStringConvertible {
    public let call: String
    /// An errno; 0 when the other end closed the connection in order, before all was there.
    public let code: Int32

    public init(call: String, code: Int32) { (self.call, self.code) = (call, code) }

    public var description: String {
        "\(call): \(code == 0 ? "the other end closed the connection" : String(cString: strerror(code)))"
    }
}

/// A blocking socket on one of the addresses 127.0.0.0/8. No child process gets it, and it is closed when nobody holds it
/// any more.
public final class LoopbackSocket: Sendable {
    public let descriptor: Int32
    /// What it is bound to, or connected to; 0 for one that was accepted.
    public let port: UInt16

    private init(_ descriptor: Int32, _ port: UInt16) { (self.descriptor, self.port) = (descriptor, port) }

    deinit { close(descriptor) }

    /// On a port that was free. Nobody listens there, and nobody else gets it.
    ///
    /// - Parameter datagrams: for UDP, and one that does not block.
    public static func bound(to host: String = "127.0.0.1", datagrams: Bool = false) throws(SocketFailure)
        -> LoopbackSocket
    {
        let descriptor = try open(datagrams ? SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue : SOCK_STREAM.rawValue)
        var (call, port) = ("bind", UInt16(0))
        let isBound = withAddress(host, port: 0) { address, length in
            guard bind(descriptor, address, length) == 0 else { return false }
            call = "getsockname"
            var length = length
            return getsockname(descriptor, address, &length) == 0
        } also: {
            port = UInt16(bigEndian: $0.sin_port)
        }
        guard isBound else { throw failure(call, closing: descriptor) }
        return LoopbackSocket(descriptor, port)
    }

    /// - Parameter backlog: how many connections may wait to be accepted.
    public static func listening(on host: String = "127.0.0.1", backlog: Int32 = 128) throws(SocketFailure)
        -> LoopbackSocket
    {
        let socket = try bound(to: host)
        guard listen(socket.descriptor, backlog) == 0 else { throw SocketFailure(call: "listen", code: errno) }
        return socket
    }

    /// - Parameter patience: how long to wait for bytes, in whole seconds; then `EAGAIN` is thrown.
    public static func connected(
        to port: UInt16, at host: String = "127.0.0.1", patience: Int = 60
    ) throws(SocketFailure) -> LoopbackSocket {
        let descriptor = try open(SOCK_STREAM.rawValue)
        var limit = timeval(tv_sec: patience, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let isConnected = withAddress(host, port: port) { connect(descriptor, $0, $1) == 0 }
        guard isConnected else { throw failure("connect", closing: descriptor) }
        return LoopbackSocket(descriptor, port)
    }

    /// The next connection; nil after ``shutdown()``.
    public func accept() throws(SocketFailure) -> LoopbackSocket? {
        while true {
            let connection = Glibc.accept(descriptor, nil, nil)
            if connection >= 0 {
                guard fcntl(connection, F_SETFD, FD_CLOEXEC) == 0 else {
                    throw Self.failure("fcntl", closing: connection)
                }
                return LoopbackSocket(connection, 0)
            }
            switch errno {
            case EINTR, ECONNABORTED: continue
            case EINVAL: return nil
            default: throw SocketFailure(call: "accept", code: errno)
            }
        }
    }

    public func send(_ bytes: [UInt8]) throws(SocketFailure) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw SocketFailure(call: "send", code: errno) }
            sent += count
        }
    }

    /// What has come, waiting for something to come; nothing when the other end closed the connection.
    public func receive(atMost count: Int = 64 << 10) throws(SocketFailure) -> [UInt8] {
        var code: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
            let got = recv(descriptor, buffer.baseAddress, count, 0)
            if got < 0 { code = errno }
            used = max(0, got)
        }
        guard code == 0 else { throw SocketFailure(call: "recv", code: code) }
        return bytes
    }

    /// - Throws: also when the connection ends before so many have come.
    public func receive(exactly count: Int) throws(SocketFailure) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let piece = try receive(atMost: count - bytes.count)
            guard !piece.isEmpty else { throw SocketFailure(call: "recv", code: 0) }
            bytes += piece
        }
        return bytes
    }

    /// All until the other end closes the connection.
    public func receiveToEnd() throws(SocketFailure) -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let piece = try receive()
            if piece.isEmpty { return bytes }
            bytes += piece
        }
    }

    /// Whether something comes in time, or the end.
    public func isReadable(within limit: Duration) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, Int32(limit / .milliseconds(1))) > 0
    }

    public func endSending() { Glibc.shutdown(descriptor, Int32(SHUT_WR)) }

    /// Wakes up whoever waits for it, on either end.
    public func shutdown() { Glibc.shutdown(descriptor, Int32(SHUT_RDWR)) }

    private static func open(_ kind: UInt32) throws(SocketFailure) -> Int32 {
        let descriptor = socket(AF_INET, Int32(kind | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw SocketFailure(call: "socket", code: errno) }
        return descriptor
    }

    private static func failure(_ call: String, closing descriptor: Int32) -> SocketFailure {
        let code = errno
        close(descriptor)
        return SocketFailure(call: call, code: code)
    }

    private static func withAddress(
        _ host: String, port: UInt16, _ body: (UnsafeMutablePointer<sockaddr>, socklen_t) -> Bool,
        also read: (sockaddr_in) -> Void = { _ in }
    ) -> Bool {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        guard inet_pton(AF_INET, host, &address.sin_addr) == 1 else {
            errno = EINVAL
            return false
        }
        let isDone = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if isDone { read(address) }
        return isDone
    }
}

/// Runs what blocks on a thread of its own.
public func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        do {
            try SystemThread.start("test-blocks") { continuation.resume(with: Result { try body() }) }
        } catch {
            continuation.resume(throwing: error)
        }
    }
}
