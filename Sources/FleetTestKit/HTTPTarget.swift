import Dispatch
import Glibc
import TestPatience

/// An HTTP server of the test's own, which answers when the test says so.
public final class HTTPTarget: Sendable {
    public struct Request: Sendable {
        /// From 1, over all requests.
        public fileprivate(set) var number: Int
        public let idempotencyKey: String
        public let traceparent: String
        public let at: ContinuousClock.Instant
    }

    /// Where it is reached.
    public let url: String
    private let arrived = Watched<[Request]>([])
    private let descriptor: Int32
    private let answer: @Sendable (Request) async throws -> Int

    /// Serves for as long as `body` runs.
    ///
    /// - Parameter answer: the status of each answer; the answer waits for it. One that throws closes the connection.
    public static func use<Value>(
        answer: @escaping @Sendable (Request) async throws -> Int, isolation: isolated (any Actor)? = #isolation,
        _ body: (HTTPTarget) async throws -> Value
    ) async throws -> Value {
        let target = try HTTPTarget(answer)
        // Wakes the accepting thread with an error.
        defer { shutdown(target.descriptor, Int32(SHUT_RDWR)) }
        return try await body(target)
    }

    public var requests: [Request] { arrived.value }

    @discardableResult
    public func wait(
        for what: String, within limit: Duration = patienceOfTests, _ condition: @escaping @Sendable ([Request]) -> Bool
    ) async throws -> [Request] {
        try await arrived.wait(for: what, within: limit, condition)
    }

    private init(_ answer: @escaping @Sendable (Request) async throws -> Int) throws {
        self.answer = answer
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = self.descriptor
        let code = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(descriptor, address, length) | listen(descriptor, 128) | getsockname(descriptor, address, &length)
            }
        }
        guard code == 0 else { throw NotInTime("the test's HTTP target could not listen") }
        url = "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))/"
        DispatchQueue(label: "http-target").async { [self] in
            while true {
                let connection = accept(descriptor, nil, nil)
                if connection < 0 { break }
                DispatchQueue.global().async { self.serve(connection) }
            }
            close(descriptor)
        }
    }

    private func serve(_ connection: Int32) {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while !bytes.suffix(4).elementsEqual("\r\n\r\n".utf8) {
            let count = recv(connection, &buffer, buffer.count, 0)
            guard count > 0 else {
                close(connection)
                return
            }
            bytes += buffer[..<count]
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
            defer { close(connection) }
            let status = try await answer(arrival)
            let text = "HTTP/1.1 \(status) Said\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
            _ = text.withCString { send(connection, $0, strlen($0), Int32(MSG_NOSIGNAL)) }
        }
    }
}
