import CurlClient
import FleetStack
import Foundation
import Testing

extension ServerTests {
    @Suite("A server on TLS")
    struct TLSTests {
        @Test("is trusted by its authority's file, and by nothing else")
        func authorities() async throws {
            try await Certificates.with { mine, other in
                try await TestServer.with([mine.certificate, mine.key]) { server async throws in
                    try await withClient { client async throws in
                        let url = server.url("/echo", scheme: "https", host: "localhost")
                        let response = try await client.perform(
                            CurlRequest(url: url, tls: CurlTLSOptions(caFile: mine.certificate)))
                        #expect(response.status == 200)
                        #expect(response.timing.tls > .zero)
                        // The trusted connection is in the pool now, and must not serve who trusts somebody else.
                        for options in [
                            CurlTLSOptions(caFile: other.certificate), CurlTLSOptions(),
                            CurlTLSOptions(caFile: "/nonexistent"),
                        ] {
                            let error = try await failure(client, CurlRequest(url: url, tls: options))
                            #expect(error.kind == .tls)
                            #expect(!error.mayHaveBeenSent)
                        }
                        #expect(try await server.stats().requests == 1)
                    }
                }
            }
        }

        @Test("has to be the one that the certificate names")
        func names() async throws {
            try await Certificates.with { mine, _ in
                try await TestServer.with([mine.certificate, mine.key]) { server async throws in
                    try await withClient { client async throws in
                        let url = server.url("/echo", scheme: "https", host: "127.0.0.1")
                        let error = try await failure(
                            client, CurlRequest(url: url, tls: CurlTLSOptions(caFile: mine.certificate)))
                        #expect(error.kind == .tls)
                        let blind = try await client.perform(CurlRequest(url: url, tls: CurlTLSOptions(verify: false)))
                        #expect(blind.status == 200)
                    }
                }
            }
        }

        @Test("waits for a slow receiver, with bytes decrypted and not yet read")
        func slowReceiver() async throws {
            try await Certificates.with { mine, _ in
                try await TestServer.with([mine.certificate, mine.key]) { server async throws in
                    try await withClient { client async throws in
                        var request = CurlRequest(
                            url: server.url("/flow?mib=16", scheme: "https", host: "localhost"),
                            tls: CurlTLSOptions(caFile: mine.certificate))
                        request.maxResponseBytes = 16 << 20
                        request.receiveWindow = 20_000
                        let notes = Notes<Int>()
                        _ = try await client.perform(request) { piece in
                            guard case .bytes(let bytes) = piece else { return }
                            notes.add(bytes.count)
                            for _ in 0..<10 { await Task.yield() }
                        }
                        #expect(notes.all.reduce(0, +) == 16 << 20)
                        #expect(notes.all.allSatisfy { $0 <= 20_000 + 20_000 + (16 << 10) })
                    }
                }
            }
        }

        @Test("answers hundreds at once over reused connections")
        func load() async throws {
            try await Certificates.with { mine, _ in
                try await TestServer.with([mine.certificate, mine.key]) { server async throws in
                    try await withClient(CurlConfiguration(maxConnectionsPerHost: 20)) { client async throws in
                        let request = CurlRequest(
                            url: server.url("/echo", scheme: "https", host: "localhost"),
                            tls: CurlTLSOptions(caFile: mine.certificate))
                        try await withThrowingTaskGroup(of: Int.self) { group in
                            for _ in 0..<300 { group.addTask { try await client.perform(request).status } }
                            for try await status in group { #expect(status == 200) }
                        }
                        #expect(try await server.stats().accepted <= 20)
                    }
                }
            }
        }

        @Test("that does not speak TLS after all is no server on TLS")
        func plain() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    #expect(
                        try await failure(client, CurlRequest(url: server.url("/echo", scheme: "https"))).kind == .tls)
                }
            }
        }
    }
}

/// Self-signed certificates for the name localhost, made anew and gone after the test.
private struct Certificates {
    let certificate: String
    let key: String

    static func with(_ body: (_ mine: Certificates, _ other: Certificates) async throws -> Void) async throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
            "curl-client-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        try await body(try await make(directory.path, "mine"), try await make(directory.path, "other"))
    }

    private static func make(_ directory: String, _ name: String) async throws -> Certificates {
        let made = Certificates(certificate: "\(directory)/\(name).pem", key: "\(directory)/\(name).key")
        let arguments = [
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
            "2", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost", "-keyout", made.key, "-out", made.certificate,
        ]
        let openssl = try ChildProcess.start(executable: "openssl", arguments: arguments, output: .capture)
        let status = await openssl.exitStatus()
        guard status.isSuccess else { throw Failure("openssl \(status): \(openssl.capturedOutput)") }
        return made
    }
}
