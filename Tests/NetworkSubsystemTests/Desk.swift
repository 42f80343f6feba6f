import AddressPolicy
import CurlClient
import FleetModel
import FleetStack
import Foundation
import Glibc
import Metrics
import MetricsTestKit
import NetworkClient
import RootedFiles
import Synchronization
import TestPatience
import Testing

@testable import NetworkSubsystem

struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// A worker's means for network jobs, with a root of its own that goes with it.
final class Desk: Sendable {
    let directory: String
    let subsystem: NetworkSubsystem
    let metrics = TestMetrics()
    private let threads = FileThreads(named: "test-files", count: 2)

    init(_ change: (inout NetworkSettings) throws -> Void = { _ in }) throws {
        var template = Array("/tmp/gaia-network-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure("mkdtemp: \(errno)") }
        directory = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        var settings = NetworkSettings()
        settings.addresses = try AddressPolicy(allowing: ["127.0.0.1", "::1"])
        settings.idleTimeout = .seconds(5)
        settings.limitWait = .seconds(5)
        try change(&settings)
        subsystem = try NetworkSubsystem(
            settings, roots: try FileRoots([try FileRoot(name: "data", directory: directory)]), threads: threads,
            metrics: metrics)
    }

    /// A desk that is closed and cleared away at the end, whatever the end is.
    static func with<Value>(
        _ change: (inout NetworkSettings) throws -> Void = { _ in }, _ body: (Desk) async throws -> Value
    ) async throws -> Value {
        let desk = try Desk(change)
        let result: Result<Value, any Error>
        do { result = .success(try await body(desk)) } catch { result = .failure(error) }
        await desk.close()
        return try result.get()
    }

    private func close() async {
        await subsystem.close()
        await threads.close()
        do { try FileManager.default.removeItem(atPath: directory) } catch { Issue.record(error) }
    }

    func definition(_ type: JobType) throws -> JobDefinition {
        try #require(subsystem.definitions.first { $0.type == type })
    }

    /// Runs a job as a worker would.
    func run<Parameters: JobParameters, Output: Decodable>(
        _ parameters: Parameters, _: Output.Type, key: String = "job", token: Int64 = 1,
        limits: any JobLimits = UnsharedLimits(), confirm: @escaping @Sendable () async throws -> Void = {},
        report: @escaping @Sendable (JobProgress) -> Void = { _ in }
    ) async throws -> Output {
        let context = JobContext(
            type: Parameters.type, key: key, attempt: Int(token), token: token, subject: nil, traceparent: nil,
            limits: limits, confirm: confirm, report: report)
        let payload = Array(try JSONEncoder().encode(parameters))
        let output = try await definition(Parameters.type).prepare(payload)(context)
        return try JSONDecoder().decode(Output.self, from: Data(output.utf8))
    }

    func download(
        _ parameters: DownloadParameters, key: String = "job", token: Int64 = 1,
        limits: any JobLimits = UnsharedLimits(), confirm: @escaping @Sendable () async throws -> Void = {},
        report: @escaping @Sendable (JobProgress) -> Void = { _ in }
    ) async throws -> DownloadOutput {
        try await run(
            parameters, DownloadOutput.self, key: key, token: token, limits: limits, confirm: confirm, report: report)
    }

    /// The failure that a download ends with.
    func failure(_ parameters: DownloadParameters, token: Int64 = 1, limits: any JobLimits = UnsharedLimits())
        async throws -> JobFailure
    {
        do {
            let output = try await download(parameters, token: token, limits: limits)
            throw Failure("the download succeeded: \(output)")
        } catch let failure as Failure {
            throw failure
        } catch {
            return JobFailure(error)
        }
    }

    func probe(_ parameters: ProbeParameters, limits: any JobLimits = UnsharedLimits()) async throws -> ProbeOutput {
        try await run(parameters, ProbeOutput.self, limits: limits)
    }

    func count(_ name: String, _ dimensions: [(String, String)] = []) throws -> Int64 {
        try metrics.expectCounter("gaia_network_\(name)_total", dimensions).totalValue
    }

    func content(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: "\(directory)/\(name)")) }

    /// What lies in the root, and among the parts of downloads.
    func files() throws -> [String] {
        let manager = FileManager.default
        let parts = "\(directory)/\(PartialFiles.directoryName)"
        return try
            (manager.contentsOfDirectory(atPath: directory).filter { $0 != PartialFiles.directoryName }
            + (manager.fileExists(atPath: parts) ? manager.contentsOfDirectory(atPath: parts) : [])).sorted()
    }
}

/// A process of Resources/files.py, whose counts are kept apart by the `id` of URLs.
final class FileServer: Sendable {
    struct Asked: Decodable {
        var id: String?
        var range: String?
        var ifRange: String?
    }
    struct Stats: Decodable {
        var log: [Asked]
        var most: Int
        var open: Int
    }

    let host: String
    let port: Int
    private let process: ChildProcess

    static let shared = Task { try await FileServer() }

    /// - Parameter host: one of the loopback addresses.
    init(host: String = "127.0.0.1") async throws {
        self.host = host
        process = try ChildProcess.start(
            executable: "python3", arguments: [Self.resource("files.py"), host], output: .capture)
        _ = try await process.awaitOutput(containing: "\n", within: patienceOfTests)
        guard let port = Int(process.standardOutput.filter { !$0.isWhitespace }) else {
            throw Failure("the server named no port: \(process.capturedOutput)")
        }
        self.port = port
    }

    static func resource(_ name: String) -> String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Resources/\(name)").path
    }

    func stop() async throws { try await process.stop() }

    /// A URL of its own for each test.
    func url(_ size: Int, _ options: String = "", id: String = UUID().uuidString) -> (url: String, id: String) {
        ("http://\(host):\(port)/f/\(size)?id=\(id)&\(options)", id)
    }

    func stats() async throws -> Stats {
        let client = CurlMulti(maxConnections: 1, maxConnectionsPerHost: 1, maxInFlight: 1)
        let answer: Result<CurlResponse, CurlError>
        do throws(CurlError) {
            answer = .success(try await client.perform(CurlRequest(url: "http://\(host):\(port)/stats")))
        } catch {
            answer = .failure(error)
        }
        await client.close()
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Stats.self, from: Data(try answer.get().body))
    }

    func asked(_ id: String) async throws -> [Asked] { try await stats().log.filter { $0.id == id } }
}
