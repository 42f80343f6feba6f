import SystemThreads
import TestPatience
import TestSockets

/// An HTTP server of the test's own, which answers when the test says so.
public final class HTTPTarget: Sendable {
    public struct Request: Sendable {
        /// From 1, over all requests.
        public fileprivate(set) var number: Int
        public let idempotencyKey: String
        public let traceparent: String
        public let at: ContinuousClock.Instant
    }

    private let arrived = Watched<[Request]>([])
    private let listener: LoopbackSocket
    private let answer: @Sendable (Request) async throws -> Int

    /// Serves for as long as `body` runs.
    ///
    /// - Parameter answer: the status of each answer; the answer waits for it. One that throws closes the connection.
    public static func use<Value>(
        answer: @escaping @Sendable (Request) async throws -> Int, isolation: isolated (any Actor)? = #isolation,
        _ body: (HTTPTarget) async throws -> Value
    ) async throws -> Value {
        let target = try HTTPTarget(answer)
        defer { target.listener.shutdown() }
        return try await body(target)
    }

    /// Where it is reached.
    public var url: String { "http://127.0.0.1:\(listener.port)/" }
    public var requests: [Request] { arrived.value }

    @discardableResult
    public func wait(
        for what: String, within limit: Duration = patienceOfTests, _ condition: @escaping @Sendable ([Request]) -> Bool
    ) async throws -> [Request] {
        try await arrived.wait(for: what, within: limit, condition)
    }

    private init(_ answer: @escaping @Sendable (Request) async throws -> Int) throws {
        self.answer = answer
        listener = try LoopbackSocket.listening()
        try SystemThread.start("http-target") { [self] in
            do {
                while let connection = try listener.accept() {
                    try SystemThread.start("http-target") {
                        // A client may go at any time.
                        try? self.serve(connection)
                    }
                }
            } catch {
                preconditionFailure("the test's HTTP target: \(error)")
            }
        }
    }

    private func serve(_ connection: LoopbackSocket) throws {
        var bytes: [UInt8] = []
        while !bytes.suffix(4).elementsEqual("\r\n\r\n".utf8) {
            let piece = try connection.receive(atMost: 4_096)
            if piece.isEmpty { return }
            bytes += piece
        }
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\r\n")
        func field(_ name: String) -> String {
            lines.first { $0.lowercased().hasPrefix("\(name): ") }.map { String($0.dropFirst(name.count + 2)) } ?? ""
        }
        var request = Request(
            number: 0, idempotencyKey: field("idempotency-key"), traceparent: field("traceparent"), at: .now)
        arrived.update { requests in
            request.number = requests.count + 1
            requests.append(request)
        }
        Task { [arrival = request] in
            let status = try await answer(arrival)
            let text = "HTTP/1.1 \(status) Said\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
            try connection.send(Array(text.utf8))
        }
    }
}
