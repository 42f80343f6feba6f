/// A TCP connection whose every wait ends at one deadline.
package struct SocketStream: Sendable {
    package let socket: Socket
    private let readiness: Readiness
    private let deadline: ContinuousClock.Instant

    package init(_ socket: Socket, _ readiness: Readiness, until deadline: ContinuousClock.Instant) {
        self.socket = socket
        self.readiness = readiness
        self.deadline = deadline
    }

    /// Waits until it is connected.
    ///
    /// - Returns: when it was.
    package func connected() async throws(NetworkError) -> ContinuousClock.Instant {
        let instant = try await wait(.write, "connecting")
        if let failure = socket.connectFailure() { throw failure }
        return instant
    }

    package func send(_ bytes: [UInt8]) async throws(NetworkError) {
        var left = bytes[...]
        while true {
            left = left.dropFirst(try socket.send(left))
            if left.isEmpty { return }
            _ = try await wait(.write, "sending")
        }
    }

    /// What comes next, at most `limit` bytes; empty at the end of the stream.
    ///
    /// - Returns: the bytes and when they were there.
    package func receive(atMost limit: Int) async throws(NetworkError) -> (bytes: [UInt8], at: ContinuousClock.Instant)
    {
        while true {
            let instant = try await wait(.read, "waiting for an answer")
            switch try socket.receive(atMost: limit) {
            case .bytes(let bytes): return (bytes, instant)
            case .end, .tooLong: return ([], instant)
            case .nothing: continue
            }
        }
    }

    package func receive(exactly count: Int) async throws(NetworkError) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let more = try await receive(atMost: count - bytes.count).bytes
            guard !more.isEmpty else {
                throw NetworkError(.unreachable, "\(socket.peer): the connection ended before the answer")
            }
            bytes += more
        }
        return bytes
    }

    private func wait(_ interest: Readiness.Interest, _ what: String) async throws(NetworkError)
        -> ContinuousClock.Instant
    {
        if let instant = try await readiness.wait(socket, for: interest, until: deadline) { return instant }
        throw NetworkError(.timeout, "\(socket.peer): the time was up while \(what)")
    }
}
