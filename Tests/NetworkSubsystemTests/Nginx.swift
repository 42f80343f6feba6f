import FleetStack
import Foundation

/// nginx with one directory of files.
final class Nginx: Sendable {
    let port: Int
    private let directory: String
    private let process: ChildProcess

    /// One that ends with `body`, its files with it.
    static func with<Value>(_ body: (Nginx) async throws -> Value) async throws -> Value {
        let nginx = try await Nginx()
        let result: Result<Value, any Error>
        do { result = .success(try await body(nginx)) } catch { result = .failure(error) }
        try await nginx.process.stop()
        try FileManager.default.removeItem(atPath: nginx.directory)
        return try result.get()
    }

    private init() async throws {
        var template = Array("/tmp/gaia-nginx-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure("mkdtemp: \(errno)") }
        let directory = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        self.directory = directory
        // Another may take the port in between.
        for _ in 0..<20 {
            let port = Int.random(in: 20_000...32_000)
            let configuration = """
                daemon off; master_process off; pid \(directory)/pid; error_log stderr notice;
                events { worker_connections 4096; }
                http {
                    access_log off; sendfile on; root \(directory);
                    client_body_temp_path \(directory)/t1; proxy_temp_path \(directory)/t2;
                    fastcgi_temp_path \(directory)/t3; uwsgi_temp_path \(directory)/t4; scgi_temp_path \(directory)/t5;
                    server { listen 127.0.0.1:\(port) backlog=2048; }
                }
                """
            try configuration.write(toFile: "\(directory)/nginx.conf", atomically: true, encoding: .utf8)
            let process = try ChildProcess.start(
                executable: "/usr/sbin/nginx", arguments: ["-c", "\(directory)/nginx.conf", "-p", directory],
                output: .capture)
            if try await process.awaitOutput(containing: "using the", within: .seconds(20)) {
                self.port = port
                self.process = process
                return
            }
        }
        throw Failure("nginx does not start")
    }

    /// The URL of a file of so many bytes, made when it is not there yet.
    func url(_ bytes: Int) throws -> String {
        let path = "\(directory)/\(bytes)"
        if !FileManager.default.fileExists(atPath: path) {
            var content = Data(count: bytes)
            for index in stride(from: 0, to: bytes, by: 997) { content[index] = UInt8(truncatingIfNeeded: index) }
            try content.write(to: URL(fileURLWithPath: path), options: .atomic)
        }
        return "http://127.0.0.1:\(port)/\(bytes)"
    }

    func content(_ bytes: Int) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: "\(directory)/\(bytes)")) }
}
