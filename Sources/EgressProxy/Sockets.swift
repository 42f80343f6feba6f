import AddressPolicy
import CEgress
import Glibc

/// The system calls on sockets.
enum Sockets {
    private static let backlog: Int32 = 128
    private static let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)

    /// A socket that listens on a free port of 127.0.0.1.
    static func listen() throws(EgressError) -> (listener: Int32, port: UInt16) {
        let listener = socket(AF_INET, kind, 0)
        guard listener >= 0 else { throw failure("no socket") }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && Glibc.listen(listener, backlog) == 0
                    && getsockname(listener, $0, &length) == 0
            }
        }
        guard isListening else {
            let error = failure("no port on 127.0.0.1")
            close(listener)
            throw error
        }
        return (listener, UInt16(bigEndian: address.sin_port))
    }

    /// The next connection and the port at its other end; nil when none waits.
    static func accept(_ listener: Int32) -> (descriptor: Int32, port: UInt16)? {
        var port: UInt16 = 0
        let descriptor = gaia_accept(listener, &port)
        guard descriptor >= 0 else { return nil }
        setNoDelay(descriptor)
        return (descriptor, port)
    }

    /// Begins a connection. -1 and errno when that fails at once.
    static func connect(_ address: IPAddress, port: UInt16) -> Int32 {
        let descriptor = socket(address.isIPv6 ? AF_INET6 : AF_INET, kind, 0)
        guard descriptor >= 0 else { return -1 }
        setNoDelay(descriptor)
        let result = withSocketAddress(address, port) { Glibc.connect(descriptor, $0, $1) }
        if result == 0 || errno == EINPROGRESS { return descriptor }
        let error = errno
        close(descriptor)
        errno = error
        return -1
    }

    /// What a connection that was begun has come to: 0, or the error. Nil while it is under way.
    static func connectResult(_ descriptor: Int32) -> Int32? {
        var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&entry, 1, 0) > 0 else { return nil }
        var error: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length) == 0 else { return errno }
        return error
    }

    static func send(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
        Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
    }

    private static func setNoDelay(_ descriptor: Int32) {
        var yes: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
    }

    private static func withSocketAddress<Value>(
        _ address: IPAddress, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Value
    ) -> Value {
        func lend<Raw>(_ raw: Raw) -> Value {
            withUnsafePointer(to: raw) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body($0, socklen_t(MemoryLayout<Raw>.size))
                }
            }
        }
        if address.isIPv6 {
            var raw = sockaddr_in6()
            raw.sin6_family = sa_family_t(AF_INET6)
            raw.sin6_port = port.bigEndian
            withUnsafeMutableBytes(of: &raw.sin6_addr) { $0.copyBytes(from: address.bytes) }
            return lend(raw)
        }
        var raw = sockaddr_in()
        raw.sin_family = sa_family_t(AF_INET)
        raw.sin_port = port.bigEndian
        withUnsafeMutableBytes(of: &raw.sin_addr) { $0.copyBytes(from: address.bytes) }
        return lend(raw)
    }

    private static func failure(_ what: String) -> EgressError {
        EgressError("\(what) is left for the connections of a page: \(String(cString: strerror(errno)))")
    }
}
