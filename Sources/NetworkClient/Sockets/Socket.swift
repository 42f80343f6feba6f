internal import Glibc

/// A socket that never blocks, connected to one endpoint and closed with its last reference.
package final class Socket: Sendable {
    package enum Kind: Sendable {
        /// UDP. Being connected, it takes datagrams of that endpoint alone: the kernel drops those of others.
        case datagrams
        /// TCP.
        case stream
    }

    /// What came.
    enum Received {
        case bytes([UInt8])
        /// A datagram that was longer than the bound.
        case tooLong
        /// Nothing yet.
        case nothing
        /// The other side has ended its stream.
        case end
    }

    let descriptor: Int32
    package let peer: Endpoint
    private let kind: Kind

    /// A datagram socket gets a random port of the system's range. A stream begins to connect; wait until it can be written,
    /// then see ``connectFailure()``.
    package init(_ kind: Kind, to peer: Endpoint) throws(NetworkError) {
        let type: Int32 =
            switch kind {
            case .datagrams: Int32(SOCK_DGRAM.rawValue)
            case .stream: Int32(SOCK_STREAM.rawValue)
            }
        descriptor = socket(
            peer.isIPv6 ? AF_INET6 : AF_INET, type | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        self.peer = peer
        self.kind = kind
        guard descriptor >= 0 else { throw NetworkError(.system, "no socket: \(errorText(errno))") }
        let code = peer.withSocketAddress { Glibc.connect(descriptor, $0, $1) == 0 ? 0 : errno }
        guard code == 0 || code == EINPROGRESS else { throw Self.unreachable(peer, code) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    static func unreachable(_ peer: Endpoint, _ code: Int32) -> NetworkError {
        NetworkError(.unreachable, "\(peer): \(errorText(code))")
    }

    /// Why a stream did not connect, once it can be written.
    func connectFailure() -> NetworkError? {
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length) == 0 else {
            return Self.unreachable(peer, errno)
        }
        return code == 0 ? nil : Self.unreachable(peer, code)
    }

    /// - Returns: how many of the bytes were taken.
    func send(_ bytes: ArraySlice<UInt8>) throws(NetworkError) -> Int {
        // No SIGPIPE: an end of the other side is an error like others.
        let (count, code) = bytes.withUnsafeBytes { raw -> (Int, Int32) in
            (Glibc.send(descriptor, raw.baseAddress, raw.count, Int32(MSG_NOSIGNAL)), errno)
        }
        if count >= 0 { return count }
        if code == EAGAIN || code == EINTR { return 0 }
        throw Self.unreachable(peer, code)
    }

    /// - Parameter limit: a longer datagram is refused; of a stream so much is taken at once.
    func receive(atMost limit: Int) throws(NetworkError) -> Received {
        var code: Int32 = 0
        var count = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, filled in
            // The true length of a datagram is told, also when it did not fit.
            count = recv(descriptor, buffer.baseAddress, limit, kind == .datagrams ? Int32(MSG_TRUNC) : 0)
            code = errno
            filled = max(0, min(count, limit))
        }
        if count < 0 {
            if code == EAGAIN || code == EINTR { return .nothing }
            throw Self.unreachable(peer, code)
        }
        if count > limit { return .tooLong }
        if count == 0, kind == .stream { return .end }
        return .bytes(bytes)
    }
}
