import Foundation

/// nginx on the loopback address with one directory of files: the real server that downloads are tested and measured with.
/// A request for anything else, by any method, is answered 200 with "hello" and a line feed.
/// Ends with the process that started it.
public final class PrivateWebServer: Sendable {
    public let port: UInt16
    private let directory: String
    private let process: ChildProcess

    /// One that ends with `body`, its files with it.
    ///
    /// - Throws: ``StackError`` when it does not start.
    public static func with<Value>(_ body: (PrivateWebServer) async throws -> Value) async throws -> Value {
        let server = try await PrivateWebServer()
        let result: Result<Value, any Error>
        do { result = .success(try await body(server)) } catch { result = .failure(error) }
        _ = try await server.process.stop()
        try FileManager.default.removeItem(atPath: server.directory)
        return try result.get()
    }

    private init() async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "gaia-nginx-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        self.directory = directory
        let start: Result<(ChildProcess, UInt16), any Error>
        do { start = .success(try await Self.start(directory)) } catch { start = .failure(error) }
        if case .failure = start { try FileManager.default.removeItem(atPath: directory) }
        (process, port) = try start.get()
    }

    private static func start(_ directory: String) async throws -> (ChildProcess, UInt16) {
        try await listening(["nginx-light"]) { port in
            let configuration = """
                daemon off; master_process off; pid \(directory)/pid; error_log stderr notice;
                events { worker_connections 4096; }
                http {
                    types { text/html html; }
                    access_log off; sendfile on; root \(directory);
                    client_body_temp_path \(directory)/t1; proxy_temp_path \(directory)/t2;
                    fastcgi_temp_path \(directory)/t3; uwsgi_temp_path \(directory)/t4; scgi_temp_path \(directory)/t5;
                    server {
                        listen 127.0.0.1:\(port) backlog=2048;
                        location / { try_files $uri @any; }
                        location @any { default_type text/plain; return 200 "hello\\n"; }
                    }
                }
                """
            try configuration.write(toFile: "\(directory)/nginx.conf", atomically: true, encoding: .utf8)
            return Candidate(
                executable: "/usr/sbin/nginx", arguments: ["-c", "\(directory)/nginx.conf", "-p", directory],
                sign: "using the")
        }
    }

    /// The URL of a file of so many bytes, made when it is not there yet.
    public func url(_ bytes: Int) throws -> String {
        let path = "\(directory)/\(bytes)"
        if !FileManager.default.fileExists(atPath: path) {
            var content = Data(count: bytes)
            for index in stride(from: 0, to: bytes, by: 997) { content[index] = UInt8(truncatingIfNeeded: index) }
            try content.write(to: URL(fileURLWithPath: path), options: .atomic)
        }
        return "http://127.0.0.1:\(port)/\(bytes)"
    }

    /// Puts a page there.
    ///
    /// - Parameter name: with `.html` at its end.
    /// - Returns: its URL.
    public func page(_ name: String, _ text: String) throws -> String {
        try text.write(toFile: "\(directory)/\(name)", atomically: true, encoding: .utf8)
        return "http://127.0.0.1:\(port)/\(name)"
    }

    /// What is in that file.
    public func content(_ bytes: Int) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: "\(directory)/\(bytes)"))
    }
}

/// dnsmasq on the loopback address, with no upstream: the real server that name lookups are tested and measured with.
/// Ends with the process that started it.
public final class PrivateNameServer: Sendable {
    public let port: UInt16
    private let process: ChildProcess

    /// - Parameter options: dnsmasq's, beside those that keep it to itself: which names it has.
    /// - Throws: ``StackError`` when it does not start.
    public init(_ options: [String]) async throws {
        let own = [
            "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--listen-address=127.0.0.1",
            "--bind-interfaces", "--log-facility=-", "--cache-size=0",
        ]
        (process, port) = try await listening(["dnsmasq-base"]) { port in
            Candidate(executable: "/usr/sbin/dnsmasq", arguments: own + options + ["--port=\(port)"], sign: "started")
        }
    }

    public func stop() async throws { _ = try await process.stop() }
}

/// A server that may come to listen on a port.
private struct Candidate {
    let executable: String
    let arguments: [String]
    /// What it writes once it listens.
    let sign: String
}

/// Starts a server on a free port. Another may take the port in between: then on another port.
private func listening(
    _ packages: [String], _ candidate: (UInt16) throws -> Candidate
) async throws -> (ChildProcess, UInt16) {
    var said = ""
    for _ in 0..<20 {
        var ports = try Ports(count: 1)
        let port = ports.numbers[0]
        let candidate = try candidate(port)
        guard FileManager.default.isExecutableFile(atPath: candidate.executable) else {
            throw StackError(
                .missingPackage(apt: packages[0]),
                "There is no \(candidate.executable). Install it: apt-get install \(packages.joined(separator: " "))")
        }
        ports.release()
        let process = try ChildProcess.start(
            executable: candidate.executable, arguments: candidate.arguments, output: .capture)
        if try await process.awaitOutput(containing: candidate.sign, within: .seconds(20)) { return (process, port) }
        said = process.capturedOutput
        _ = try await process.stop()
    }
    throw StackError(.startFailed, "The server did not start. It said: \(said)")
}
