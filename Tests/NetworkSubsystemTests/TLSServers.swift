import FleetStack
import Foundation
import TestPatience

/// TLS servers on loopback, each with another certificate of one authority, and two that speak no TLS.
final class TLSServers: Sendable {
    /// The authority's file.
    let authority: String
    let good: Int
    /// For 127.0.0.1 and a name, and over since yesterday.
    let expired: Int
    /// For another name.
    let wrongName: Int
    let selfSigned: Int
    /// Answers with something else.
    let nonsense: Int
    /// Takes connections and says nothing.
    let silent: Int
    private let directory: String
    private let process: ChildProcess

    /// Some that end with `body`, their certificates with them.
    static func with<Value>(_ body: (TLSServers) async throws -> Value) async throws -> Value {
        let servers = try await TLSServers()
        let result: Result<Value, any Error>
        do { result = .success(try await body(servers)) } catch { result = .failure(error) }
        try await servers.process.stop()
        try FileManager.default.removeItem(atPath: servers.directory)
        return try result.get()
    }

    private init() async throws {
        var template = Array("/tmp/gaia-tls-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure("mkdtemp: \(errno)") }
        directory = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        authority = "\(directory)/ca.pem"
        let here = "DNS:localhost,DNS:good.test,IP:127.0.0.1"
        try await Self.openssl(directory, ["-subj", "/CN=Test authority", "-x509", "-days", "30"], "ca")
        for (name, days, names) in [("good", "30", here), ("expired", "-1", here), ("other", "30", "DNS:other.test")] {
            try await Self.openssl(
                directory, ["-subj", "/O=Gaia/CN=\(name)", "-addext", "subjectAltName=\(names)"], name)
            try await Self.run(
                directory,
                ["x509", "-req", "-in", "\(name).pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", days]
                    + ["-copy_extensions", "copy", "-out", "\(name).pem.signed"])
            try FileManager.default.removeItem(atPath: "\(directory)/\(name).pem")
            try FileManager.default.moveItem(
                atPath: "\(directory)/\(name).pem.signed", toPath: "\(directory)/\(name).pem")
        }
        try await Self.openssl(
            directory, ["-subj", "/CN=alone", "-x509", "-days", "30", "-addext", "subjectAltName=\(here)"], "alone")
        process = try ChildProcess.start(
            executable: "python3",
            arguments: [FileServer.resource("tls.py")]
                + ["good", "expired", "other", "alone"].flatMap { [directory] in
                    ["\(directory)/\($0).pem", "\(directory)/\($0).key"]
                }, output: .capture)
        _ = try await process.awaitOutput(containing: "\n", within: patienceOfTests)
        let ports = process.standardOutput.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
        guard ports.count == 6 else { throw Failure("the servers named no ports: \(process.capturedOutput)") }
        (good, expired, wrongName, selfSigned) = (ports[0], ports[1], ports[2], ports[3])
        (nonsense, silent) = (ports[4], ports[5])
    }

    private static func openssl(_ directory: String, _ arguments: [String], _ name: String) async throws {
        try await run(
            directory,
            ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-keyout", "\(name).key"]
                + ["-out", "\(name).pem"] + arguments)
    }

    private static func run(_ directory: String, _ arguments: [String]) async throws {
        let openssl = try ChildProcess.start(
            executable: "openssl", arguments: arguments, directory: directory, output: .capture)
        let status = await openssl.exitStatus()
        guard status.isSuccess else { throw Failure("openssl \(arguments): \(openssl.capturedOutput)") }
    }
}
