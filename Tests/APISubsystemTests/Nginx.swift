import FleetStack
import Foundation
import Glibc
import TestPatience
import TestSockets

/// The real nginx, on free ports, with everything it needs in a directory of its own; one process, ended with this one.
final class Nginx: Sendable {
    /// The certificate of the authority that vouches for `localhost`.
    let authority: String
    let port: UInt16
    let securePort: UInt16
    let directory: String
    private let process: ChildProcess

    var url: String { "http://127.0.0.1:\(port)" }

    static let isInstalled = (try? ChildProcess.located("nginx")) != nil

    static func with<R>(_ body: (Nginx) async throws -> R) async throws -> R {
        let nginx = try await Nginx()
        let result: Result<R, any Error>
        do { result = .success(try await body(nginx)) } catch { result = .failure(error) }
        _ = try await nginx.process.stop()
        try FileManager.default.removeItem(atPath: nginx.directory)
        return try result.get()
    }

    private init() async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "nginx-\(UUID().uuidString)").path
        self.directory = directory
        for name in ["www", "logs", "tmp"] {
            try FileManager.default.createDirectory(atPath: "\(directory)/\(name)", withIntermediateDirectories: true)
        }
        try await Self.certify(directory)
        authority = "\(directory)/ca.pem"
        func write(_ text: String, _ name: String) throws {
            try text.write(toFile: "\(directory)/\(name)", atomically: false, encoding: .utf8)
        }
        try write("hello\n", "www/hello.txt")
        try write(String(repeating: "compressible ", count: 5_000), "www/long.txt")
        try write("private\n", "www/private.txt")
        try write("user:{PLAIN}secret\n", "passwords")
        // Another process may take a port between its choice and nginx's start: then with others.
        var last = ""
        for _ in 0..<5 {
            let (port, securePort) = try Self.ports()
            try write(Self.configuration(port, securePort), "nginx.conf")
            let child = try ChildProcess.start(
                executable: "nginx", arguments: ["-p", directory, "-c", "nginx.conf", "-e", "stderr"], output: .capture)
            if try await child.awaitOutput(containing: "epoll", within: patienceOfTests) {
                (self.port, self.securePort, process) = (port, securePort, child)
                return
            }
            last = child.capturedOutput
        }
        throw WebService.Failure(description: "nginx did not start: \(last)")
    }

    /// Two that were free just now.
    private static func ports() throws -> (UInt16, UInt16) {
        let (first, second) = (try LoopbackSocket.bound(), try LoopbackSocket.bound())
        return withExtendedLifetime((first, second)) { (first.port, second.port) }
    }

    private static func configuration(_ port: UInt16, _ securePort: UInt16) -> String {
        """
        daemon off; master_process off; pid nginx.pid; error_log stderr notice;
        events { worker_connections 512; use epoll; }
        http {
            log_format connection $connection; access_log logs/connections.log connection;
            client_body_temp_path tmp/body; proxy_temp_path tmp/proxy; fastcgi_temp_path tmp/fastcgi;
            uwsgi_temp_path tmp/uwsgi; scgi_temp_path tmp/scgi;
            gzip on; gzip_types text/plain; gzip_min_length 100;
            types { text/plain txt; }
            limit_req_zone $server_port zone=slow:1m rate=1r/m;
            server {
                listen 127.0.0.1:\(port) backlog=1024;
                listen 127.0.0.1:\(securePort) ssl;
                ssl_certificate leaf.pem; ssl_certificate_key leaf.key;
                root www;
                location = /moved { return 301 /hello.txt; }
                location = /to-metadata { return 302 http://169.254.169.254/latest/meta-data/; }
                location = /private.txt { auth_basic "inside"; auth_basic_user_file passwords; }
                location = /limited.txt {
                    limit_req zone=slow; limit_req_status 429; add_header Retry-After 2 always; try_files /hello.txt =404;
                }
            }
        }
        """
    }

    /// An authority of its own, and a certificate by it for `localhost`.
    private static func certify(_ directory: String) async throws {
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        try await openssl(
            directory, ["req", "-x509"] + key + ["-subj", "/CN=Test authority", "-keyout", "ca.key", "-out", "ca.pem"])
        try await openssl(
            directory,
            ["req", "-x509", "-CA", "ca.pem", "-CAkey", "ca.key"] + key + [
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext",
                "basicConstraints=critical,CA:FALSE", "-keyout", "leaf.key", "-out", "leaf.pem",
            ])
    }

    private static func openssl(_ directory: String, _ arguments: [String]) async throws {
        let child = try ChildProcess.start(
            executable: "openssl", arguments: arguments, directory: directory, output: .capture)
        let status = await child.exitStatus()
        guard status.isSuccess else {
            throw WebService.Failure(description: "openssl \(status): \(child.capturedOutput)")
        }
    }
}
