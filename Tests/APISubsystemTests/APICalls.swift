import APISubsystem
import AddressPolicy
import FleetModel
import Foundation
import RootedFiles
import Testing

/// One after the other: servers are shared, and some tests look at times.
@Suite("The api subsystem against real servers", .serialized)
enum ServerTests {}

/// The settings of a worker in tests: what is called is on this machine.
func localSettings(_ change: (inout APISettings) -> Void = { _ in }) throws -> APISettings {
    var settings = APISettings()
    (settings.connections, settings.connectionsPerHost, settings.responseBytesMax) = (64, 64, 1_000)
    settings.addresses = try AddressPolicy(allowing: ["127.0.0.0/8"])
    change(&settings)
    return settings
}

/// A subsystem that is closed at the end, whatever the end is.
func withAPI<R>(
    _ settings: APISettings? = nil, results: ResultFiles? = nil, _ body: (APISubsystem) async throws -> R
) async throws -> R {
    let subsystem = APISubsystem(try settings ?? localSettings(), results: results)
    do {
        let result = try await body(subsystem)
        await subsystem.close()
        return result
    } catch {
        await subsystem.close()
        throw error
    }
}

/// A kind of job to read payloads with; its calls go nowhere.
func definition(_ type: JobType) async throws -> JobDefinition {
    try await withAPI { subsystem in try #require(subsystem.definitions.first { $0.type == type }) }
}

func context(
    _ type: JobType = RequestParameters.type, key: String = "order-17", token: Int64 = 1, traceparent: String? = nil,
    limits: any JobLimits = UnsharedLimits(), confirm: @escaping @Sendable () async throws -> Void = {},
    report: @escaping @Sendable (JobProgress) -> Void = { _ in }
) -> JobContext {
    JobContext(
        type: type, key: key, attempt: 1, token: token, subject: nil, traceparent: traceparent, limits: limits,
        confirm: confirm, report: report)
}

extension APISubsystem {
    /// Runs a job as a worker would.
    func run<Parameters: JobParameters, Output: Decodable>(
        _ parameters: Parameters, _ context: JobContext, as _: Output.Type = Output.self
    ) async throws -> Output {
        let definition = try #require(definitions.first { $0.type == Parameters.type })
        let text = try await definition.prepare(Array(try JSONEncoder().encode(parameters)))(context)
        return try JSONDecoder().decode(Output.self, from: Data(text.utf8))
    }

    func call(_ parameters: RequestParameters, _ given: JobContext = context()) async throws -> RequestOutput {
        try await run(parameters, given)
    }

    /// The failure that a call ends with.
    func failure(_ parameters: RequestParameters, _ given: JobContext = context()) async throws -> JobFailure {
        try await failureOf { try await call(parameters, given).status }
    }
}

func failureOf(_ body: () async throws -> some Any) async throws -> JobFailure {
    do {
        throw WebService.Failure(description: "it succeeded with \(try await body())")
    } catch let error as WebService.Failure {
        throw error
    } catch {
        return JobFailure(error)
    }
}

/// Runs one call on a subsystem of its own.
func call(
    _ parameters: RequestParameters, traceparent: String? = nil, responseBytesMax: Int = 1_000
) async throws -> RequestOutput {
    try await withAPI(try localSettings { $0.responseBytesMax = responseBytesMax }) {
        try await $0.call(parameters, context(traceparent: traceparent))
    }
}

func failure(_ parameters: RequestParameters, closed: Bool = false) async throws -> JobFailure {
    try await withAPI { subsystem in
        if closed { await subsystem.close() }
        return try await subsystem.failure(parameters)
    }
}

/// What the server was asked.
struct Asked: Decodable {
    var method: String
    var headers: [String: String]
    var body: String

    init(_ output: RequestOutput) throws {
        self = try JSONDecoder().decode(Asked.self, from: Data(try #require(output.body).utf8))
    }
}

extension WebService {
    struct Counts: Decodable {
        /// Since they were asked for last.
        var requests: Int
        var connections: Int
    }

    func counts() async throws -> Counts {
        let output = try await APISubsystemTests.call(RequestParameters(url: "\(url)/count"))
        var counts = try JSONDecoder().decode(Counts.self, from: Data(try #require(output.body).utf8))
        // The connection that this was asked over.
        counts.connections -= 1
        return counts
    }
}

/// A place for files, gone with this object.
final class ResultPlace: Sendable {
    let directory: String
    let results: ResultFiles
    let roots: FileRoots
    private let threads = FileThreads(named: "results", count: 2)

    init(bytesMax: Int64 = 1 << 30) throws {
        directory = FileManager.default.temporaryDirectory.appending(path: "api-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        roots = try FileRoots([FileRoot(name: "data", directory: directory)])
        results = try ResultFiles(roots: roots, threads: threads, bytesMax: bytesMax)
    }

    /// With its threads ended and its directory removed.
    static func with<R>(_ body: (ResultPlace) async throws -> R) async throws -> R {
        let place = try ResultPlace()
        let result: Result<R, any Error>
        do { result = .success(try await body(place)) } catch { result = .failure(error) }
        await place.threads.close()
        try FileManager.default.removeItem(atPath: place.directory)
        return try result.get()
    }

    func content(_ reference: FileReference) throws -> Data {
        let file = try roots.file(RootedPath(reference.path))
        return Data(try file.read(at: 0, count: Int(reference.bytes)))
    }

    /// Every regular file beneath the root, the fleet's own too.
    var files: [String] {
        get throws {
            try FileManager.default.subpathsOfDirectory(atPath: directory).filter {
                var isDirectory: ObjCBool = false
                _ = FileManager.default.fileExists(atPath: "\(directory)/\($0)", isDirectory: &isDirectory)
                return !isDirectory.boolValue
            }
        }
    }
}
