import FleetStack
import Foundation
import TestPatience
import TestSockets

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

    /// The server answers this at once.
    private static func exchange(_ request: String, port: Int) async throws -> Data {
        try await onThread {
            let connection = try LoopbackSocket.connected(to: UInt16(port))
            try connection.send(Array(request.utf8))
            return Data(try connection.receiveToEnd())
        }
    }
}
