import CurlClient
import FleetHTTP
import Foundation

/// Asks a process at its admin listener.
struct ProfileClient: Sendable {
    /// As a person gave it, with the scheme that was left out.
    let url: String
    private let token: String?
    private let curl: CurlMulti

    /// Beyond what the process was told to take.
    private static let patience: Duration = .seconds(30)
    private static let answerBytesMax = 256 << 20

    /// - Throws: ``CommandFailure`` when the token cannot be read.
    init(_ address: String, tokenFile: String?, _ curl: CurlMulti) throws {
        let whole = address.contains("://") ? address : "http://\(address)"
        url = String(whole.reversed().drop { $0 == "/" }.reversed())
        self.curl = curl
        token = try tokenFile.map { path in
            do {
                let text = try String(contentsOfFile: path, encoding: .utf8)
                return text.trimmingCharacters(in: .whitespacesAndNewlines)
            } catch {
                throw CommandFailure(.usage, "--token-file \(path): it cannot be read")
            }
        }
    }

    /// Lets a client ask, and closes its connections afterwards.
    static func use<Value: Sendable>(
        _ addresses: [String], tokenFile: String?, _ body: ([ProfileClient]) async throws -> Value
    ) async throws -> Value {
        let curl = CurlMulti(maxConnections: 64, maxConnectionsPerHost: 64, maxInFlight: 64)
        let result: Result<Value, any Error>
        do {
            result = .success(try await body(try addresses.map { try ProfileClient($0, tokenFile: tokenFile, curl) }))
        } catch { result = .failure(error) }
        await curl.close()
        return try result.get()
    }

    /// - Parameters:
    ///   - path: with its query, without the first stroke.
    ///   - duration: how long the process will take before it answers.
    ///   - statuses: those that are an answer.
    /// - Throws: ``CommandFailure`` that says what to do.
    func get(_ path: String, taking duration: Duration = .zero, statuses: Set<Int> = [200]) async throws -> CurlResponse
    {
        var request = CurlRequest(url: "\(url)/\(path)")
        request.timeout = duration + Self.patience
        request.maxResponseBytes = Self.answerBytesMax
        if let token { request.headers = [("Authorization", "Bearer \(token)")] }
        let response: CurlResponse
        do { response = try await curl.perform(request) } catch {
            throw CommandFailure(
                .unavailable,
                "\(url) cannot be asked: \(error); does the process run there, with admin.listen (GAIA_ADMIN_LISTEN) set?"
            )
        }
        if statuses.contains(response.status) { return response }
        let words = String(decoding: response.body.prefix(300), as: UTF8.self)
            .trimmingCharacters(in: .whitespacesAndNewlines)
        let page = path.prefix { $0 != "?" }
        throw switch response.status {
        case 400: CommandFailure(.usage, "\(url): \(words)")
        case 401 where token == nil:
            CommandFailure(.refused, "\(url) wants its token: --token-file with what admin.token is there")
        case 401: CommandFailure(.refused, "\(url) has another token than that of --token-file")
        case 404: CommandFailure(.refused, "\(url) has no /\(page): an older program runs there, or another one")
        case 409: CommandFailure(.refused, "\(url): \(words)")
        case 503: CommandFailure(.unavailable, "\(url): \(words)")
        default: CommandFailure(.inside, "\(url)/\(page) answered \(response.status): \(words)")
        }
    }

    func document<Document: Decodable>(_ path: String, _: Document.Type) async throws -> (Document, text: String) {
        let body = Data(try await get(path).body)
        do {
            return (try JSONDecoder().decode(Document.self, from: body), String(decoding: body, as: UTF8.self))
        } catch {
            throw CommandFailure(.inside, "\(url)/\(path) is not what this program knows: is it of another version?")
        }
    }

    private struct Health: Decodable { let process, name, version: String }

    /// What runs there, as in `worker alpha`.
    func name() async throws -> String {
        let body = Data(try await get("health", statuses: [200, 503]).body)
        guard let health = try? JSONDecoder().decode(Health.self, from: body) else {
            throw CommandFailure(.refused, "\(url) is no admin listener of a GAIA Fleet process")
        }
        return "\(health.process) \(health.name)"
    }
}
