import CurlClient
import Foundation

/// Asks RabbitMQ's management plugin, and never tells it anything.
struct ManagementClient: Sendable {
    private let address: ManagementAddress
    private let http: CurlMulti

    /// A broker with ten thousand queues answers with some megabytes.
    private static let answerBytesMax = 64 << 20

    /// A client that lives as long as `body`.
    static func with<Value>(
        _ address: ManagementAddress, _ body: (ManagementClient) async throws -> Value
    ) async throws -> Value {
        let http = CurlMulti(CurlConfiguration(maxConnections: 2, userAgent: "gaia-doctor"))
        let result: Result<Value, any Error>
        do { result = .success(try await body(ManagementClient(address: address, http: http))) } catch {
            result = .failure(error)
        }
        await http.close()
        return try result.get()
    }

    /// An answer, with the time that the server put on it and the span in which it did.
    struct Answer<Content: Sendable>: Sendable {
        var content: Content
        /// To the second.
        var date: Date?
        var asked: Date
        var answered: Date
    }

    /// - Parameter path: below `/api/`, escaped.
    /// - Throws: ``ManagementError``.
    func get<Content: Decodable & Sendable>(_ path: String, as: Content.Type = Content.self) async throws -> Answer<
        Content
    > {
        let asked = Date()
        let response = try await send(path, user: address.user, password: address.password)
        let answered = Date()
        switch response.status {
        case 200: break
        case 401, 403: throw ManagementError.denied(user: address.user)
        default: throw ManagementError.refused(path: path, status: response.status)
        }
        do {
            let content = try JSONDecoder().decode(Content.self, from: Data(response.body))
            return Answer(
                content: content, date: response.header("Date").flatMap(Self.date), asked: asked, answered: answered)
        } catch {
            throw ManagementError.unreadable(path: path, "\(error)")
        }
    }

    /// Whether somebody is let in.
    func accepts(user: String, password: String) async throws -> Bool {
        try await send("whoami", user: user, password: password).status == 200
    }

    private func send(_ path: String, user: String, password: String) async throws -> CurlResponse {
        let proof = Data("\(user):\(password)".utf8).base64EncodedString()
        do {
            return try await http.perform(
                CurlRequest(
                    url: "\(address.url)/api/\(path)", headers: [("Authorization", "Basic \(proof)")],
                    maxResponseBytes: Self.answerBytesMax, tls: CurlTLSOptions(caFile: address.caFile)))
        } catch {
            throw ManagementError.unreachable("\(error)")
        }
    }

    /// A name as one segment of a path.
    static func escaped(_ name: String) -> String {
        // Letters, digits and these four are what RFC 3986 leaves as they are.
        name.addingPercentEncoding(withAllowedCharacters: plain) ?? name
    }

    private static let plain = CharacterSet(
        charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

    /// As in `Mon, 30 Nov 2026 12:00:00 GMT`.
    private static func date(_ text: String) -> Date? {
        CurlResponse.unixSeconds(httpDate: text).map { Date(timeIntervalSince1970: Double($0)) }
    }
}

/// Why the management plugin told nothing.
enum ManagementError: Error, CustomStringConvertible {
    case unreachable(String)
    case denied(user: String)
    case refused(path: String, status: Int)
    case unreadable(path: String, String)

    var description: String {
        switch self {
        case .unreachable(let reason): reason
        case .denied(let user): "the user \(user) is not let in: it needs its right password and the tag monitoring"
        case .refused(let path, let status): "/api/\(path) was answered with \(status)"
        case .unreadable(let path, let reason): "the answer of /api/\(path) cannot be read: \(reason)"
        }
    }
}
