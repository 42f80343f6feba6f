import Glibc

/// Short conversations with a server on the loopback address, to learn whether it serves. All of these block, bounded
/// by `limit`; nil or false is the answer of a server that is not there or not ready.
enum Probe {
    /// Whether anyone accepts a connection.
    static func accepts(_ port: UInt16, limit: Duration) -> Bool { Connection(port, limit: limit) != nil }

    /// Whether an AMQP 0-9-1 server answers the protocol header with a method frame, its Connection.Start.
    static func servesAMQP(_ port: UInt16, limit: Duration) -> Bool {
        guard let connection = Connection(port, limit: limit) else { return false }
        connection.send([UInt8]("AMQP".utf8) + [0, 0, 9, 1])
        return connection.receive(upTo: 1) == [1]
    }

    /// Whether PostgreSQL has come so far as to ask this user for a password. While it starts or recovers it answers
    /// with an error instead.
    static func servesPostgres(_ port: UInt16, user: String, database: String, limit: Duration) -> Bool {
        guard let connection = Connection(port, limit: limit) else { return false }
        var body: [UInt8] = [0, 3, 0, 0]
        for word in ["user", user, "database", database] { body += [UInt8](word.utf8) + [0] }
        body.append(0)
        let length = UInt32(body.count + 4).bigEndian
        connection.send(withUnsafeBytes(of: length) { Array($0) } + body)
        return connection.receive(upTo: 1) == [UInt8(ascii: "R")]
    }

    /// Sends an HTTP request that ends the connection, and returns all that is answered.
    static func exchange(_ port: UInt16, _ request: [UInt8], limit: Duration) -> [UInt8]? {
        guard let connection = Connection(port, limit: limit) else { return nil }
        connection.send(request)
        return connection.receive(upTo: 64 << 20)
    }
}

/// A TCP connection to the loopback address whose every wait is bounded.
private struct Connection: ~Copyable {
    private let descriptor: Int32

    init?(_ port: UInt16, limit: Duration) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        let milliseconds = Int(limit.pollMilliseconds)
        var time = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
        let size = socklen_t(MemoryLayout<timeval>.size)
        // The sending limit is the connecting limit too.
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, size)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, size)
        guard withLoopbackAddress(port, { connect(descriptor, $0, $1) }) == 0 else {
            close(descriptor)
            return nil
        }
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// What could not be sent shows as an answer that does not come.
    func send(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count > 0 { rest = rest.dropFirst(count) } else if errno != EINTR { return }
        }
    }

    func receive(upTo limit: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: min(limit, 65536))
        while bytes.count < limit {
            let count = recv(descriptor, &buffer, min(buffer.count, limit - bytes.count), 0)
            if count > 0 { bytes += buffer[..<count] } else if count == 0 || errno != EINTR { break }
        }
        return bytes
    }
}
