import CurlClient
import FleetHTTP
import FleetModel
import FleetStack
import FleetTestKit
import Glibc
import PostgresClient
import ServiceLifecycle
import TestPatience
import TestSockets

/// Dispatchers that serve HTTP, as processes of their own, and a worker in this one.
struct HTTPFleet: Sendable {
    let fleet: TestFleet
    let programs: ProgramGroup
    let http: HTTPClient
    /// The dispatchers, each with where it listens.
    let dispatchers: [(process: ChildProcess, url: String)]

    static let token = "a-token-for-tests-only"

    static let listening = ["GAIA_HTTP_LISTEN": "127.0.0.1:0", "GAIA_HTTP_TOKEN": token]

    static func use(
        dispatchers: Int = 1, workers: Int = 1, definitions: [JobDefinition] = [], settings: [String: String] = [:],
        isolation: isolated (any Actor)? = #isolation, _ body: (HTTPFleet) async throws -> Void
    ) async throws {
        try await TestFleet.use(workers: workers, definitions: definitions) { fleet in
            try await ProgramGroup.use(environment: fleet.place.environment) { programs in
                try await HTTPClient.use { http in
                    var running: [(ChildProcess, String)] = []
                    for number in 1...dispatchers {
                        running.append(try await serve(programs, "http-\(number)", settings))
                    }
                    try await body(HTTPFleet(fleet: fleet, programs: programs, http: http, dispatchers: running))
                }
            }
        }
    }

    /// Starts one, and waits until it listens.
    static func serve(
        _ programs: ProgramGroup, _ name: String, _ settings: [String: String] = [:]
    ) async throws -> (process: ChildProcess, url: String) {
        let child = try programs.start("dispatcher", name, listening.merging(settings) { $1 })
        let words = "http listens on "
        guard try await child.awaitOutput(containing: words, within: patienceOfTests) else {
            throw NotInTime("\(name) did not come to listen: \(child.capturedOutput)")
        }
        let line = child.capturedOutput.split(separator: "\n").first { $0.contains(words) } ?? ""
        let address = line.split(separator: " ").last ?? ""
        return (child, "http://\(address)")
    }

    /// Where the first dispatcher listens, and its port.
    var url: String { dispatchers[0].url }
    var port: UInt16 { url.split(separator: ":").last.flatMap { UInt16($0) } ?? 0 }

    func get(_ path: String, at dispatcher: Int = 0) async throws -> HTTPAnswer {
        try await http.send("GET", dispatchers[dispatcher].url + path)
    }

    func post(_ body: String, _ query: String = "", at dispatcher: Int = 0) async throws -> HTTPAnswer {
        try await http.send("POST", dispatchers[dispatcher].url + "/v1/jobs" + query, body: body)
    }

    func delete(_ path: String) async throws -> HTTPAnswer { try await http.send("DELETE", url + path) }

    /// How many rows stand in a table.
    func count(_ table: String) async throws -> Int {
        try await fleet.place.withPool { pool in
            let statement = PostgresStatement(name: "count-\(table)", sql: "select count(*) from gaia.\(table)")
            return Int(try await pool.execute(statement).first?.get(0, as: Int64.self) ?? 0)
        }
    }
}

/// JSON of a job of ``Work``.
func workJSON(_ key: String, _ text: String = "a", _ more: String = "") -> String {
    #"{"type": "test.work.v1", "key": "\#(key)", "payload": {"text": "\#(text)"}\#(more)}"#
}

/// What a server answered.
struct HTTPAnswer: Sendable, CustomStringConvertible {
    let response: CurlResponse
    /// The body; null when it is no JSON.
    let json: JSONValue

    var status: Int { response.status }
    func header(_ name: String) -> String? { response.header(name) }
    var text: String { String(decoding: response.body, as: UTF8.self) }
    /// Whether it is an error as RFC 9457 has it, of this status.
    func isProblem(_ status: Int, _ words: String = "") -> Bool {
        self.status == status && header("Content-Type") == "application/problem+json"
            && json["status"] == .number(Double(status))
            && (words.isEmpty || json["detail"]?.string?.contains(words) == true)
    }
    var description: String { "\(status) \(text)" }
}

/// A client that shows the token.
struct HTTPClient: Sendable {
    private let curl: CurlMulti

    static func use(
        isolation: isolated (any Actor)? = #isolation, _ body: (HTTPClient) async throws -> Void
    ) async throws {
        let curl = CurlMulti()
        let result: Result<Void, any Error>
        do { result = .success(try await body(HTTPClient(curl: curl))) } catch { result = .failure(error) }
        await curl.close()
        try result.get()
    }

    /// - Parameter authorization: the header's value; none when nil.
    func send(
        _ method: String, _ url: String, body: String? = nil, authorization: String? = "Bearer \(HTTPFleet.token)",
        contentType: String? = "application/json", headers: [(String, String)] = []
    ) async throws -> HTTPAnswer {
        var fields = headers.map { (name: $0.0, value: $0.1) }
        if let authorization { fields.append(("Authorization", authorization)) }
        if body != nil, let contentType { fields.append(("Content-Type", contentType)) }
        // Far longer than any wait: one that hangs is told by its status, not by this.
        let request = CurlRequest(
            method: method, url: url, headers: fields, body: body.map { Array($0.utf8) }, timeout: .seconds(120))
        let response = try await curl.perform(request)
        return HTTPAnswer(response: response, json: (try? JSONValue(response.body)) ?? .null)
    }
}

/// Bytes that no client library would send, and the answer to them.
enum RawHTTP {
    /// - Parameter keepsOpen: whether the sending half stays open while the answer is read.
    /// - Returns: all that came until the server closed the connection.
    static func exchange(_ bytes: [UInt8], port: UInt16, keepsOpen: Bool = true) async throws -> String {
        try await onThread {
            let connection = try LoopbackSocket.connected(to: port)
            // The server may answer and close before it has read everything.
            do throws(SocketFailure) { try connection.send(bytes) } catch {
                guard [EPIPE, ECONNRESET].contains(error.code) else { throw error }
            }
            if !keepsOpen { connection.endSending() }
            var answer: [UInt8] = []
            while true {
                do throws(SocketFailure) {
                    let piece = try connection.receive()
                    if piece.isEmpty { break }
                    answer += piece
                } catch {
                    if error.code == EAGAIN {
                        let texts = [bytes, answer].map { String(decoding: $0, as: UTF8.self).debugDescription }
                        throw NotInTime(
                            "the connection to be closed after \(texts[0]), answered so far with \(texts[1])")
                    }
                    break
                }
            }
            return String(decoding: answer, as: UTF8.self)
        }
    }
}

/// The interface in this process, as a library has it, with bounds of the test's own.
enum HTTPInProcess {
    static func use(
        _ place: Isolated, configure: (inout HTTPConfiguration) -> Void = { _ in },
        isolation: isolated (any Actor)? = #isolation, _ body: (HTTPAddress) async throws -> Void
    ) async throws {
        var configuration = HTTPConfiguration(
            address: HTTPAddress(host: "127.0.0.1", port: 0), token: try BearerToken(HTTPFleet.token), amqp: place.amqp,
            database: place.database, name: "in-process")
        configure(&configuration)
        let address = Watched<HTTPAddress?>(nil)
        let service = HTTPService(configuration, logger: testLogger) { bound in address.update { $0 = bound } }
        var logger = testLogger
        logger.logLevel = .critical
        let group = ServiceGroup(
            configuration: .init(services: [.init(service: service)], logger: logger))
        let running = Task { try await group.run() }
        let result: Result<Void, any Error>
        do {
            guard let bound = try await address.wait(for: "the interface to listen", { $0 != nil }) else { return }
            result = .success(try await body(bound))
        } catch {
            result = .failure(error)
        }
        await group.triggerGracefulShutdown()
        try await running.value
        try result.get()
    }
}
