import FleetStack
import Foundation
import TestPatience

/// A collector that reads what it is sent with OpenTelemetry's own definitions.
public final class Collector: Sendable {
    public struct Entry: Decodable, Sendable {
        public let status: Int
        public let error: String
        public let headers: [String: String]
        public let path: String
        public let spans: [Span]
    }

    public struct Span: Decodable, Sendable {
        public let trace, span, parent, name, message, service: String
        public let kind, status: Int
        public let start, end: UInt64
        public let attributes: [String: String]
        public let events, links: [String]
    }

    public let url: String
    private let log: URL
    private let process: ChildProcess

    /// - Parameter plan: the statuses of its first answers.
    public static func use<Value>(
        plan: [Int] = [], isolation: isolated (any Actor)? = #isolation, _ body: (Collector) async throws -> Value
    ) async throws -> Value {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("gaia-collector-\(UUID())")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        let result: Result<Value, any Error>
        do { result = .success(try await running(in: directory, plan, body)) } catch { result = .failure(error) }
        try FileManager.default.removeItem(at: directory)
        return try result.get()
    }

    private static func running<Value>(
        in directory: URL, _ plan: [Int], isolation: isolated (any Actor)? = #isolation,
        _ body: (Collector) async throws -> Value
    ) async throws -> Value {
        let collector = try await Collector(directory, plan)
        let result: Result<Value, any Error>
        do { result = .success(try await body(collector)) } catch { result = .failure(error) }
        _ = try await collector.process.stop()
        return try result.get()
    }

    private init(_ directory: URL, _ plan: [Int]) async throws {
        guard let python = ProcessInfo.processInfo.environment["GAIA_TEST_PYTHON"] else {
            throw NotInTime("no Python with opentelemetry-proto: run ./gaia test, or name one in GAIA_TEST_PYTHON")
        }
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let script = root.appendingPathComponent("Tests/FleetTests/Resources/otlp-collector.py")
        let port = directory.appendingPathComponent("port")
        log = directory.appendingPathComponent("log")
        process = try ChildProcess.start(
            executable: python, arguments: [script.path, port.path, log.path],
            environment: ["PLAN": plan.map { "\($0)" }.joined(separator: ",")], output: .capture)
        let number = try await eventually("a collector that listens") { try? String(contentsOf: port, encoding: .utf8) }
        url = "http://127.0.0.1:\(number)/v1/traces"
    }

    /// What it was asked so far.
    public var entries: [Entry] {
        get throws {
            guard let text = try? String(contentsOf: log, encoding: .utf8) else { return [] }
            // The last line may still be written.
            return try text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map {
                try JSONDecoder().decode(Entry.self, from: Data($0.utf8))
            }
        }
    }

    public var spans: [Span] { get throws { try entries.filter { $0.status == 200 }.flatMap(\.spans) } }
}
