import AddressPolicy
import BrowserPool
import FleetModel
import Foundation
import Metrics
import MetricsTestKit
import RootedFiles
import Testing

@testable import BrowserSubsystem

/// All tests with the same browsers, which are the dearest that tests have.
@Suite("Browser jobs in a real browser", .sharedDesk, .timeLimit(.minutes(15)))
enum BrowserTests {}

/// Keeps one desk for a whole suite, and clears it away at the end.
struct SharedDesk: SuiteTrait, TestScoping {
    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        try await Desk.with { desk in try await Desk.$current.withValue(desk) { try await function() } }
    }
}

extension Trait where Self == SharedDesk {
    static var sharedDesk: SharedDesk { SharedDesk() }
}

/// A worker's means for browser jobs.
final class Desk: Sendable {
    let directory: String
    let subsystem: BrowserSubsystem
    let metrics: TestMetrics
    private let threads: FileThreads

    /// That of the suite.
    @TaskLocal static var current: Desk?
    static var shared: Desk { get throws { try #require(current) } }

    /// - Parameter hasRoot: whether files may be written.
    init(hasRoot: Bool = true, _ change: (inout BrowserSettings) throws -> Void = { _ in }) throws {
        var template = Array("/tmp/gaia-desk-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure("mkdtemp: \(errno)") }
        directory = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        var settings = BrowserSettings()
        settings.pool.instancesMax = 1
        settings.pool.tabsMax = 6
        // Tests stand in line for tabs as jobs do; how long is of no concern to them.
        settings.leaseWait = .seconds(500)
        settings.pool.addresses = try AddressPolicy(allowing: ["127.0.0.1"])
        try change(&settings)
        threads = FileThreads(named: "test-files", count: 2)
        metrics = TestMetrics()
        let roots = try FileRoots([
            try FileRoot(name: "data", directory: directory, isWritable: hasRoot)
        ])
        subsystem = try BrowserSubsystem(
            settings, roots: roots,
            results: hasRoot
                ? try ResultFiles(roots: roots, threads: threads, bytesMax: Int64(settings.fileBytesMax)) : nil,
            threads: threads, metrics: metrics)
    }

    /// One of a test's own, which is gone at the end, whatever the end is.
    static func with<Value>(
        hasRoot: Bool = true, _ change: (inout BrowserSettings) throws -> Void = { _ in },
        _ body: (Desk) async throws -> Value
    ) async throws -> Value {
        let desk = try Desk(hasRoot: hasRoot, change)
        let result: Result<Value, any Error>
        do { result = .success(try await body(desk)) } catch { result = .failure(error) }
        await desk.close()
        return try result.get()
    }

    func close() async {
        await subsystem.close()
        await threads.close()
        do { try FileManager.default.removeItem(atPath: directory) } catch { Issue.record(error) }
    }

    /// Runs a job as a worker would.
    ///
    /// - Returns: its output, as whoever asked for it gets it.
    func run(
        _ type: JobType, _ payload: [UInt8], key: String = UUID().uuidString, token: Int64 = 1,
        confirm: @escaping @Sendable () async throws -> Void = {},
        report: @escaping @Sendable (JobProgress) -> Void = { _ in }
    ) async throws -> Output {
        let context = JobContext(
            type: type, key: key, attempt: Int(token), token: token, subject: nil, traceparent: nil, confirm: confirm,
            report: report)
        let definition = try #require(subsystem.definitions.first { $0.type == type })
        let prepared = try definition.prepare(payload)
        do { return try Output(try await prepared(context)) } catch { throw prepared.failure(of: error) }
    }

    func visit(_ parameters: VisitParameters, key: String = UUID().uuidString) async throws -> Output {
        try await run(VisitParameters.type, Array(try JSONEncoder().encode(parameters)), key: key)
    }

    func script(
        _ parameters: ScriptParameters, key: String = UUID().uuidString,
        confirm: @escaping @Sendable () async throws -> Void = {},
        report: @escaping @Sendable (JobProgress) -> Void = { _ in }
    ) async throws -> Output {
        try await run(
            ScriptParameters.type, Array(try JSONEncoder().encode(parameters)), key: key, confirm: confirm,
            report: report)
    }

    /// A script, as its author writes it: a page, and steps.
    func script(
        _ url: String, _ steps: ScriptStep.Action..., retry: ScriptParameters.Retry? = nil
    ) async throws -> Output {
        try await script(Self.parameters(url, steps, retry: retry))
    }

    static func parameters(
        _ url: String, _ steps: [ScriptStep.Action], retry: ScriptParameters.Retry? = nil
    ) -> ScriptParameters {
        ScriptParameters(
            ([.goto(url: url, until: .load, selector: nil)] + steps).map { ScriptStep($0) }, retry: retry)
    }

    /// The failure that a job ends with.
    func failure(_ body: () async throws -> Output) async throws -> JobFailure {
        let output: Output
        do { output = try await body() } catch let failure as JobFailure { return failure }
        throw Failure("it succeeded: \(output.json)")
    }

    func failure(_ parameters: VisitParameters) async throws -> JobFailure {
        try await failure { try await visit(parameters) }
    }

    func failure(_ parameters: ScriptParameters) async throws -> JobFailure {
        try await failure { try await script(parameters) }
    }

    /// Where a file lies that an output names.
    func file(_ path: String) throws -> String {
        guard path.hasPrefix("data:") else { throw Failure("\(path) is in no root of this test") }
        return "\(directory)/\(path.dropFirst(5))"
    }

    func content(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: try file(path))) }
}

/// A job's output, to look into: `output.report.dialogs[0].message.string`.
///
/// Unchecked, because what JSONSerialization yields is never changed.
@dynamicMemberLookup
struct Output: CustomStringConvertible, @unchecked Sendable {
    let json: String
    private let value: Any

    init(_ json: String) throws {
        self.json = json
        value = try JSONSerialization.jsonObject(with: Data(json.utf8), options: .fragmentsAllowed)
    }

    private init(_ value: Any) { (json, self.value) = ("\(value)", value) }

    var description: String { json }
    subscript(dynamicMember name: String) -> Output { self[name] }
    subscript(_ name: String) -> Output { Output((value as? [String: Any])?[name] ?? NSNull()) }
    subscript(_ index: Int) -> Output {
        let list = value as? [Any] ?? []
        return Output(list.indices.contains(index) ? list[index] : NSNull())
    }

    var string: String? { value as? String }
    var int: Int? { (value as? NSNumber)?.intValue }
    var double: Double? { (value as? NSNumber)?.doubleValue }
    var bool: Bool? { value as? Bool }
    var count: Int { (value as? [Any])?.count ?? 0 }
    var strings: [String] { value as? [String] ?? [] }
    var isAbsent: Bool { value is NSNull }
}
