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
        guard isBound else { throw WebService.Failure(description: "bind: \(errno)") }
    }

    deinit { close(descriptor) }
}
