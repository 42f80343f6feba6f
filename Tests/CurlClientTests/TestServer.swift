import CurlClient
import FleetStack
import Foundation
import Glibc
import Synchronization
import TestPatience
import Testing

/// One after the other: most tests here have a server process of their own and look at times.
@Suite("CurlClient against real servers", .serialized)
enum ServerTests {}

/// A server process of Resources/server.py. It ends with this object, or with the test process, whichever is first.
final class TestServer: Sendable {
    struct Stats: Decodable {
        var accepted, requests, running, maxRunning, open, maxOpen, abandoned: Int
        var flowed: Int
        var isBlocked: Bool
        var byPath: [String: Int]
        var targets: [String]
    }

    let port: Int
    private let controlPort: Int
    private let process: ChildProcess
    private let control = CurlMulti(maxConnections: 2, maxConnectionsPerHost: 2, maxInFlight: 2)

    /// Servers without arguments that no test uses just now. Starting one takes longer than most tests.
    private static let idle = Mutex<[TestServer]>([])

    /// A server for one test at a time, so that its counts are that test's alone. After a test that failed or killed it, or
    /// left connections open, it is not used again.
    static func with<R>(_ arguments: [String] = [], _ body: (TestServer) async throws -> R) async throws -> R {
        let pooled = arguments.isEmpty ? idle.withLock { $0.popLast() } : nil
        let server = if let pooled { pooled } else { try await TestServer(arguments) }
        do {
            let result = try await body(server)
            if arguments.isEmpty, await server.isFresh() {
                idle.withLock { $0.append(server) }
            } else {
                try await server.stop()
            }
            return result
        } catch {
            try await server.stop()
            throw error
        }
    }

    private func isFresh() async -> Bool {
        do {
            try await eventually("all connections are closed") { $0.open == 0 && $0.running == 0 }
            return try await control.perform(CurlRequest(url: "http://127.0.0.1:\(controlPort)/reset")).status == 200
        } catch {
            return false
        }
    }

    private init(_ arguments: [String]) async throws {
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "Resources/server.py"
        ).path
        process = try ChildProcess.start(executable: "python3", arguments: [script] + arguments, output: .capture)
        _ = try await process.awaitOutput(containing: "\n", within: patienceOfTests)
        let ports = process.standardOutput.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
        guard ports.count == 2 else {
            try await process.stop()
            throw Failure("the test server said no port: \(process.capturedOutput)")
        }
        (port, controlPort) = (ports[0], ports[1])
    }

    private func stop() async throws {
        await control.close()
        try process.signal(SIGKILL)
        _ = await process.exitStatus()
    }

    func url(_ path: String, scheme: String = "http", host: String = "127.0.0.1") -> String {
        "\(scheme)://\(host):\(port)\(path)"
    }

    func stats() async throws -> Stats {
        let response = try await control.perform(CurlRequest(url: "http://127.0.0.1:\(controlPort)/stats"))
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Stats.self, from: Data(response.body))
    }

    /// Waits until the server's counts are as the condition says.
    func eventually(_ what: String, _ condition: (Stats) -> Bool) async throws {
        try await TestPatience.eventually(what) { condition(try await self.stats()) }
    }
}

struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// A client that is closed at the end, whatever the end is.
func withClient<R>(_ configuration: CurlConfiguration = CurlConfiguration(), _ body: (CurlMulti) async throws -> R)
    async throws -> R
{
    let client = CurlMulti(configuration)
    do {
        let result = try await body(client)
        await client.close()
        return result
    } catch {
        await client.close()
        throw error
    }
}

/// The error of a request that has to fail.
func failure(_ client: CurlMulti, _ request: CurlRequest) async throws -> CurlError {
    let status: Int
    do throws(CurlError) { status = try await client.perform(request).status } catch { return error }
    throw Failure("answered \(status) where an error was due")
}

/// What happened, in order, noted from anywhere.
final class Notes<Element: Sendable>: Sendable {
    private let notes = Mutex<[Element]>([])
    func add(_ note: Element) { notes.withLock { $0.append(note) } }
    var all: [Element] { notes.withLock { $0 } }
}

/// What the route /echo saw.
struct Echo: Decodable {
    var method: String
    var target: String
    var headers: [[String]]
    var body: String
    var served: Int

    init(_ response: CurlResponse) throws { self = try JSONDecoder().decode(Echo.self, from: Data(response.body)) }

    func values(_ name: String) -> [String] { headers.filter { $0[0].lowercased() == name.lowercased() }.map { $0[1] } }
}

extension CurlResponse {
    var text: String { String(decoding: body, as: UTF8.self) }
}
