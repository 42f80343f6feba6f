import FleetStack
import Foundation
import TestPatience

struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// A process of Resources/server.py, shared by the tests of this process and ended by its end.
final class PageServer: Sendable {
    struct Asked: Decodable {
        var address: String
        var method: String
        var path: String
        var query: String
        var headers: [String: String]
        var fields: [String: String]?
    }

    let port: Int
    private let process: ChildProcess

    static let shared = Task { try await PageServer() }

    private init() async throws {
        process = try ChildProcess.start(
            executable: "python3", arguments: [Self.resource("server.py")], output: .capture)
        _ = try await process.awaitOutput(containing: "\n", within: patienceOfTests)
        guard let port = Int(process.standardOutput.filter { !$0.isWhitespace }) else {
            throw Failure("the server named no port: \(process.capturedOutput)")
        }
        self.port = port
    }

    static func resource(_ name: String) -> String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Resources/\(name)").path
    }

    /// Of a page that jobs may reach.
    func url(_ path: String) -> String { "http://127.0.0.1:\(port)/\(path)" }

    /// Of a page that they may not.
    func inside(_ path: String) -> String { "http://127.0.0.2:\(port)/\(path)" }

    /// What was asked with such a text in the query, wherever.
    func asked(_ text: String) async throws -> [Asked] {
        let request = "GET /log?id=\(text) HTTP/1.0\r\n\r\n"
        let answer = try await Self.exchange(request, port: port)
        guard let body = answer.range(of: Data("\r\n\r\n".utf8))?.upperBound else {
            throw Failure("the server's log has no body")
        }
        return try JSONDecoder().decode([Asked].self, from: answer[body...])
    }

    /// On a thread of its own, since it blocks; the server answers this at once.
    private static func exchange(_ request: String, port: Int) async throws -> Data {
        try await withCheckedThrowingContinuation { continuation in
            Thread {
                continuation.resume(with: Result { try blockingExchange(request, port: port) })
            }.start()
        }
    }

    private static func blockingExchange(_ request: String, port: Int) throws -> Data {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw Failure("socket: \(errno)") }
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        address.sin_port = UInt16(port).bigEndian
        let isConnected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                connect(descriptor, address, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        guard isConnected else { throw Failure("connect: \(errno)") }
        let bytes = Array(request.utf8)
        guard send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw Failure("send: \(errno)")
        }
        var answer = Data()
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count == 0 { return answer }
            guard count > 0 else { throw Failure("recv: \(errno)") }
            answer.append(contentsOf: buffer[0..<count])
        }
    }
}

/// A port on which nobody listens, kept from others for as long as this object lives.
final class ClosedPort: Sendable {
    let number: UInt16
    private let descriptor: Int32

    init() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        self.descriptor = descriptor
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(descriptor, address, length) == 0 && getsockname(descriptor, address, &length) == 0
            }
        }
        number = UInt16(bigEndian: address.sin_port)
        guard isBound else { throw Failure("bind: \(errno)") }
    }

    deinit { close(descriptor) }
}
