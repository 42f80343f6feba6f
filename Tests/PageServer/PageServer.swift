import Glibc
import Synchronization

/// A server of pages on a port of 127.0.0.1, for tests: one thread per connection, one answer per request.
public final class PageServer: Sendable {
    public struct Request: Sendable {
        public var method: String
        /// With its query.
        public var path: String
        /// By name in lower case.
        public var headers: [String: String]
    }

    public enum Answer: Sendable {
        case page(String, headers: [String: String] = [:])
        case bytes([UInt8], type: String, headers: [String: String] = [:])
        case redirect(to: String)
        /// Nothing, until the client goes or the server ends.
        case silence
    }

    private struct State {
        var requests: [Request] = []
        var connections: Set<Int32> = []
        var acceptedCount = 0
        var isClosed = false
    }

    public let port: UInt16
    /// 127.0.0.1 unless a test wants another.
    public let host: String
    private let listener: Int32
    private let answer: @Sendable (Request) -> Answer?
    private let state = Mutex(State())

    public var url: String { "http://\(host):\(port)" }
    /// All requests so far.
    public var requests: [Request] { state.withLock { $0.requests } }
    /// Connections so far.
    public var acceptedCount: Int { state.withLock { $0.acceptedCount } }

    /// Runs `body` with a server that ends with it.
    ///
    /// - Parameters:
    ///   - host: one of 127.0.0.0/8.
    ///   - answer: nil stands for 404.
    public static func with<Value>(
        host: String = "127.0.0.1",
        _ answer: @escaping @Sendable (Request) -> Answer?, isolation: isolated (any Actor)? = #isolation,
        _ body: (PageServer) async throws -> Value
    ) async throws -> Value {
        let server = try PageServer(host, answer)
        defer { server.close() }
        return try await body(server)
    }

    private init(_ host: String, _ answer: @escaping @Sendable (Request) -> Answer?) throws {
        self.host = host
        self.answer = answer
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        inet_pton(AF_INET, host, &address.sin_addr)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 128) == 0 && getsockname(listener, $0, &length) == 0
            }
        }
        guard isListening else { throw ServerFailure("no port: \(errno)") }
        port = UInt16(bigEndian: address.sin_port)
        Self.thread { [self] in accept() }
    }

    private func close() {
        let connections = state.withLock { state in
            state.isClosed = true
            return state.connections
        }
        // Those who wait for them wake up, and close them.
        shutdown(listener, Int32(SHUT_RDWR))
        for connection in connections { shutdown(connection, Int32(SHUT_RDWR)) }
    }

    private func accept() {
        while true {
            let connection = Glibc.accept(listener, nil, nil)
            if connection < 0 && errno == EINTR { continue }
            guard connection >= 0 else { break }
            let isTaken = state.withLock { state in
                if state.isClosed { return false }
                state.connections.insert(connection)
                state.acceptedCount += 1
                return true
            }
            guard isTaken else {
                Glibc.close(connection)
                continue
            }
            Self.thread { [self] in
                serve(connection)
                // Under the lock, so that a number that means another by now is never shut down.
                state.withLock { state in
                    state.connections.remove(connection)
                    _ = Glibc.close(connection)
                }
            }
        }
        Glibc.close(listener)
    }

    private func serve(_ connection: Int32) {
        var received: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 16_384)
        while true {
            guard let end = Self.headEnd(received) else {
                let count = recv(connection, &piece, piece.count, 0)
                guard count > 0 else { return }
                received += piece[..<count]
                continue
            }
            let request = Self.request(String(decoding: received[..<end], as: UTF8.self))
            received.removeFirst(end + 4)
            state.withLock { $0.requests.append(request) }
            let (status, headers, body): (String, [String: String], [UInt8])
            switch answer(request) {
            case .page(let text, let more):
                let type = ["content-type": "text/html; charset=utf-8"]
                (status, headers, body) = ("200 OK", type.merging(more) { $1 }, Array(text.utf8))
            case .bytes(let bytes, let type, let more):
                (status, headers, body) = ("200 OK", ["content-type": type].merging(more) { $1 }, bytes)
            case .redirect(let target): (status, headers, body) = ("302 Found", ["location": target], [])
            case .silence:
                // Until the other end goes, or the server is closed.
                while recv(connection, &piece, piece.count, 0) > 0 {}
                return
            case nil: (status, headers, body) = ("404 Not Found", [:], [])
            }
            var text = "HTTP/1.1 \(status)\r\ncontent-length: \(body.count)\r\n"
            for (name, value) in headers { text += "\(name): \(value)\r\n" }
            guard Self.send(connection, Array("\(text)\r\n".utf8) + body) else { return }
        }
    }

    private static func headEnd(_ bytes: [UInt8]) -> Int? {
        guard bytes.count >= 4 else { return nil }
        return (0...(bytes.count - 4)).first { bytes[$0..<($0 + 4)].elementsEqual([13, 10, 13, 10]) }
    }

    private static func request(_ head: String) -> Request {
        let lines = head.split(separator: "\r\n")
        let words = (lines.first ?? "").split(separator: " ")
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 { headers[parts[0].lowercased()] = String(parts[1].drop { $0 == " " }) }
        }
        return Request(
            method: String(words.first ?? ""), path: String(words.count > 1 ? words[1] : ""), headers: headers)
    }

    private static func send(_ connection: Int32, _ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    private static func thread(_ body: @escaping @Sendable () -> Void) {
        final class Body: Sendable {
            let run: @Sendable () -> Void
            init(run: @escaping @Sendable () -> Void) { self.run = run }
        }
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, Unmanaged.passRetained(Body(run: body)).toOpaque())
        precondition(result == 0, "no thread for a server of tests")
        pthread_detach(thread)
    }
}

public struct ServerFailure: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}
