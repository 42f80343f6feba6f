import FleetStack
import Foundation
import Glibc
import TestPatience

/// A process of Resources/server.py, shared by the tests of this process and ended by its end.
final class WebService: Sendable {
    let url: String
    private let process: ChildProcess

    static let shared = Task { try await WebService() }

    /// One of a test's own, for tests that count.
    static func with<R>(_ body: (WebService) async throws -> R) async throws -> R {
        let service = try await WebService()
        do {
            let result = try await body(service)
            try await service.stop()
            return result
        } catch {
            try await service.stop()
            throw error
        }
    }

    private func stop() async throws {
        try process.signal(SIGKILL)
        _ = await process.exitStatus()
    }

    private init() async throws {
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "Resources/server.py"
        ).path
        process = try ChildProcess.start(executable: "python3", arguments: [script], output: .capture)
        _ = try await process.awaitOutput(containing: "\n", within: patienceOfTests)
        guard let port = UInt16(process.standardOutput.filter { !$0.isWhitespace }) else {
            throw Failure(description: "the server named no port: \(process.capturedOutput)")
        }
        url = "http://127.0.0.1:\(port)"
    }

    struct Failure: Error, CustomStringConvertible { let description: String }
}
