import Synchronization
import SystemThreads
import TestSockets

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
        var connections: [ObjectIdentifier: LoopbackSocket] = [:]
        var acceptedCount = 0
        var isClosed = false
    }

    /// 127.0.0.1 unless a test wants another.
    public let host: String
    private let listener: LoopbackSocket
    private let answer: @Sendable (Request) -> Answer?
    private let state = Mutex(State())

    public var port: UInt16 { listener.port }
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
        listener = try LoopbackSocket.listening(on: host)
        try SystemThread.start("page-server") { [self] in
            do { try accept() } catch { preconditionFailure("the server of tests: \(error)") }
        }
    }

    private func close() {
        let connections = state.withLock { state in
            state.isClosed = true
            return state.connections.values
        }
        // Those who wait for them wake up, and let go of them.
        listener.shutdown()
        for connection in connections { connection.shutdown() }
    }

    private func accept() throws {
        while let connection = try listener.accept() {
            let isTaken = state.withLock { state in
                if state.isClosed { return false }
                state.connections[ObjectIdentifier(connection)] = connection
                state.acceptedCount += 1
                return true
            }
            guard isTaken else { continue }
            try SystemThread.start("page-server") { [self] in
                // A client may go at any time.
                try? serve(connection)
                state.withLock { _ = $0.connections.removeValue(forKey: ObjectIdentifier(connection)) }
            }
        }
    }

    private func serve(_ connection: LoopbackSocket) throws {
        var received: [UInt8] = []
        while true {
            guard let end = Self.headEnd(received) else {
                let piece = try connection.receive()
                if piece.isEmpty { return }
                received += piece
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
                while try !connection.receive().isEmpty {}
                return
            case nil: (status, headers, body) = ("404 Not Found", [:], [])
            }
            var text = "HTTP/1.1 \(status)\r\ncontent-length: \(body.count)\r\n"
            for (name, value) in headers { text += "\(name): \(value)\r\n" }
            try connection.send(Array("\(text)\r\n".utf8) + body)
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
}

public struct ServerFailure: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}
