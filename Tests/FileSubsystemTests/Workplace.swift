import FleetModel
import Foundation
import Metrics
import RootedFiles

@testable import FileSubsystem

/// A directory with a root of its own and a subsystem that works in it, gone when the test is.
final class Workplace: Sendable {
    let directory: String
    let subsystem: FileSubsystem
    /// Seen by ``run(_:key:token:confirm:)``'s contexts.
    let locks = UnsharedLocks()

    init(
        _ change: (inout FileSettings) throws -> Void = { _ in },
        metrics: any MetricsFactory = NOOPMetricsHandler.instance
    ) throws {
        directory = FileManager.default.temporaryDirectory.appending(path: "files-\(UUID().uuidString)").path
        for name in ["root", "outside"] {
            try FileManager.default.createDirectory(
                atPath: "\(directory)/\(name)", withIntermediateDirectories: true)
        }
        var settings = FileSettings()
        settings.roots = [try FileRoot(name: "data", directory: "\(directory)/root")]
        try change(&settings)
        subsystem = try FileSubsystem(settings, metrics: metrics)
        try write("secret", to: "outside/secret")
    }

    deinit {
        do {
            try FileManager.default.removeItem(atPath: directory)
        } catch {
            print("cannot remove \(directory): \(error)")
        }
    }

    func at(_ place: String) -> String { "\(directory)/\(place)" }

    func write(_ text: String, to place: String) throws { try write(Array(text.utf8), to: place) }

    func write(_ bytes: [UInt8], to place: String) throws {
        let url = URL(filePath: at(place))
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(bytes).write(to: url)
    }

    func text(_ place: String) throws -> String { try String(contentsOfFile: at(place), encoding: .utf8) }

    /// What lies in the root, the fleet's own files too.
    func names(_ place: String = "root") throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: at(place)).sorted()
    }

    func definition(_ type: JobType) -> JobDefinition {
        guard let definition = subsystem.definitions.first(where: { $0.type == type }) else {
            preconditionFailure("no type \(type)")
        }
        return definition
    }

    /// Runs a job as a worker would; its output as JSON text.
    func text<Parameters: JobParameters>(
        _ parameters: Parameters, key: String = "job", token: Int64 = 1,
        confirm: @escaping @Sendable () async throws -> Void = {},
        report: @escaping @Sendable (JobProgress) -> Void = { _ in }
    ) async throws -> String {
        let context = JobContext(
            type: Parameters.type, key: key, attempt: 1, token: token, subject: nil, traceparent: nil, locks: locks,
            confirm: confirm, report: report)
        return try await definition(Parameters.type).prepare(Array(try JSONEncoder().encode(parameters)))(context)
    }

    /// The same, decoded.
    func run<Parameters: JobParameters, Output: Decodable>(
        _ parameters: Parameters, key: String = "job", token: Int64 = 1, as _: Output.Type = Output.self,
        confirm: @escaping @Sendable () async throws -> Void = {}
    ) async throws -> Output {
        let text = try await text(parameters, key: key, token: token, confirm: confirm)
        return try JSONDecoder().decode(Output.self, from: Data(text.utf8))
    }

    /// The code of the failure that a job ends with; nil when it succeeds.
    func failure(
        _ parameters: some JobParameters, key: String = "job", token: Int64 = 1,
        confirm: @escaping @Sendable () async throws -> Void = {}
    ) async throws -> String? {
        do {
            _ = try await text(parameters, key: key, token: token, confirm: confirm)
            return nil
        } catch {
            return JobFailure(error).code
        }
    }
}

/// What a job ends with whose claim is another's by now.
@Sendable func lost() async throws { throw ClaimLost("another attempt has it") }
