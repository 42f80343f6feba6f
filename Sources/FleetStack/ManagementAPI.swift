import FoundationEssentials

/// A few requests to RabbitMQ's management plugin on the loopback address: what takes rabbitmqctl a second and a half
/// of starting Erlang takes this some milliseconds.
public struct ManagementAPI: Sendable {
    private let port: UInt16
    private let authorization: String

    public init(port: UInt16, user: String, password: String) {
        self.port = port
        authorization = Data("\(user):\(password)".utf8).base64EncodedString()
    }

    /// Makes a virtual host in which this user may do everything.
    public func createVirtualHost(_ name: String, user: String) async throws {
        let host = Self.escaped(name)
        _ = try await send("PUT", "/api/vhosts/\(host)", body: "{}")
        let all = #"{"configure":".*","write":".*","read":".*"}"#
        _ = try await send("PUT", "/api/permissions/\(host)/\(Self.escaped(user))", body: all)
    }

    /// Deletes a virtual host with all that is in it.
    public func deleteVirtualHost(_ name: String) async throws {
        _ = try await send("DELETE", "/api/vhosts/\(Self.escaped(name))")
    }

    /// Sends a request and returns the answer's body; any status but 2xx is an error.
    ///
    /// - Parameter path: with its leading slash, escaped already.
    public func send(_ method: String, _ path: String, body: String = "") async throws -> String {
        let head = [
            "\(method) \(path) HTTP/1.0", "Host: 127.0.0.1:\(port)", "Authorization: Basic \(authorization)",
            "Content-Type: application/json", "Content-Length: \(body.utf8.count)", "", "",
        ].joined(separator: "\r\n")
        let request = [UInt8]((head + body).utf8)
        let port = self.port
        let answer = try await offPool { Probe.exchange(port, request, limit: .seconds(30)) }
        guard let answer, !answer.isEmpty else {
            throw StackError(.notRunning, "The management plugin does not answer on port \(port).")
        }
        let text = String(decoding: answer, as: UTF8.self)
        let status = text.split(separator: " ", maxSplits: 2).dropFirst().first.flatMap { Int($0) } ?? 0
        let content = text.firstRange(of: "\r\n\r\n").map { String(text[$0.upperBound...]) } ?? ""
        guard (200..<300).contains(status) else {
            throw StackError(.refused, "\(method) \(path) was answered with \(status): \(content)")
        }
        return content
    }

    /// A name as one segment of a path or URL.
    static func escaped(_ name: String) -> String {
        var result = ""
        for byte in name.utf8 {
            let scalar = UnicodeScalar(byte)
            switch scalar {
            case "a"..."z", "A"..."Z", "0"..."9", "-", "_", ".", "~":
                result.unicodeScalars.append(scalar)
            default:
                let digits = Array("0123456789ABCDEF")
                result += "%\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
            }
        }
        return result
    }
}
