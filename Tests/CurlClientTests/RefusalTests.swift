import AddressPolicy
import CurlClient
import Glibc
import Testing

extension ServerTests {
    @Suite("What must not be sent is refused before it is sent")
    struct RefusalTests {
        @Test(
            "URLs",
            arguments: [
                ("", CurlError.Kind.badURL), ("nonsense", .badURL), ("/path", .badURL), ("http://", .badURL),
                ("http://a b/", .badURL), ("http://host/a b", .badURL),
                ("http://127.0.0.1:99999/", .badURL), ("http://127.0.0.1:0/", .badURL),
                ("http://user:pass@127.0.0.1/", .badURL), ("http://user@127.0.0.1/", .badURL),
                ("http://127.0.0.1/\u{0}x", .badURL), ("http://127.0.0.1/\r\nX: y", .badURL), ("http://[::1/", .badURL),
                ("file:///etc/passwd", .protocolNotAllowed), ("ftp://127.0.0.1/", .protocolNotAllowed),
                ("gopher://127.0.0.1/", .protocolNotAllowed),
                ("dict://127.0.0.1/", .protocolNotAllowed), ("ws://127.0.0.1/", .protocolNotAllowed),
                ("sc0me://127.0.0.1/", .protocolNotAllowed),
                ("http://127.0.0.1/" + String(repeating: "a", count: 20_000), .badURL),
            ])
        func urls(url: String, kind: CurlError.Kind) async throws {
            try await withClient { client async throws in
                let error = try await failure(client, CurlRequest(url: url))
                #expect(error.kind == kind)
                #expect(!error.mayHaveBeenSent)
                #expect(!error.description.contains("pass"))
            }
        }

        @Test(
            "header injections",
            arguments: [
                ("X", "a\r\nInjected: yes"), ("X", "a\nb"), ("X", "a\rb"), ("X", "a\u{0}b"), ("X\r\nInjected", "yes"),
                ("X Y", "a"), ("", "a"), ("X:", "a"),
                ("Transfer-Encoding", "chunked"), ("Content-Length", "5"), ("content-length", "0"),
                ("Expect", "100-continue"), ("Upgrade", "h2c"), ("Connection", "X-Other"),
            ])
        func headers(name: String, value: String) async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let error = try await failure(
                        client,
                        CurlRequest(method: "POST", url: server.url("/echo"), headers: [(name, value)], body: [1]))
                    #expect(error.kind == .badRequest)
                    #expect(!error.description.contains("Injected"))
                    #expect(try await server.stats().accepted == 0)
                }
            }
        }

        @Test(
            "methods",
            arguments: [
                "", "GET / HTTP/1.1\r\nX: y\r\n\r\nGET", "GE T", "CONNECT", "G\u{0}", String(repeating: "A", count: 33),
            ])
        func methods(method: String) async throws {
            try await withClient { client async throws in
                #expect(
                    try await failure(client, CurlRequest(method: method, url: "http://127.0.0.1:1/")).kind
                        == .badRequest)
            }
        }

        @Test("headers past their bounds, timeouts of nothing, and a HEAD with a body")
        func bounds() async throws {
            try await withClient { client async throws in
                let url = "http://127.0.0.1:1/"
                let many = (0...CurlRequest.maxHeaders).map { (name: "X-\($0)", value: "") }
                #expect(try await failure(client, CurlRequest(url: url, headers: many)).kind == .badRequest)
                let long = [(name: "X", value: String(repeating: "a", count: CurlRequest.maxHeaderBytes))]
                #expect(try await failure(client, CurlRequest(url: url, headers: long)).kind == .badRequest)
                #expect(try await failure(client, CurlRequest(url: url, timeout: .zero)).kind == .badRequest)
                #expect(
                    try await failure(client, CurlRequest(url: url, connectTimeout: .seconds(-1))).kind == .badRequest)
                #expect(try await failure(client, CurlRequest(url: url, maxResponseBytes: -1)).kind == .badRequest)
                #expect(try await failure(client, CurlRequest(method: "HEAD", url: url, body: [1])).kind == .badRequest)
            }
        }

        @Test(
            "addresses that the guard denies, whatever they are written as",
            arguments: ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]"])
        func guarded(host: String) async throws {
            try await TestServer.with { server async throws in
                try await withClient(CurlConfiguration(resolveGuard: { $0.ip.kind != .loopback })) {
                    client async throws in
                    let error = try await failure(client, CurlRequest(url: server.url("/echo", host: host)))
                    #expect(error.kind == .addressRefused)
                    #expect(!error.mayHaveBeenSent)
                    #expect(try await server.stats().accepted == 0)
                }
                try await withClient(CurlConfiguration(resolveGuard: { $0.ip.kind == .loopback })) {
                    client async throws in
                    // The mapped form needs IPv6, which a test machine may lack.
                    guard !host.hasPrefix("[") else { return }
                    #expect(try await client.perform(CurlRequest(url: server.url("/echo", host: host))).status == 200)
                }
            }
        }

        @Test("a name that stands for another address by the time it is connected to, whatever the pool holds for it")
        func rebinding() async throws {
            try await TestServer.with { server async throws in
                let policy = try AddressPolicy(allowing: ["127.0.0.2"])
                try await withClient(CurlConfiguration(resolveGuard: CurlConfiguration.guarding(by: policy))) {
                    client async throws in
                    // What the resolver answers is given with the request here, so that it can change its mind.
                    var request = CurlRequest(url: server.url("/echo", host: "rebinding.invalid"))
                    for _ in 0..<2 {
                        request.connectAddress = "127.0.0.2"
                        #expect(try await client.perform(request).status == 200)
                        request.connectAddress = "127.0.0.1"
                        #expect(try await failure(client, request).kind == .addressRefused)
                    }
                    #expect(try await server.stats().accepted == 1)
                }
            }
        }

        @Test("credentials in a URL are taken when stated, and go out as the header")
        func credentials() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let request = CurlRequest(
                        url: server.url("/echo", host: "user:pass@127.0.0.1"), allowCredentialsInURL: true)
                    let response = try await client.perform(request)
                    #expect(try Echo(response).values("Authorization") == ["Basic dXNlcjpwYXNz"])
                    #expect(response.finalURL == server.url("/echo"))
                }
            }
        }

        @Test("no proxy is taken from the environment")
        func proxy() async throws {
            setenv("http_proxy", "http://127.0.0.1:1", 1)
            defer { unsetenv("http_proxy") }
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    #expect(try await client.perform(CurlRequest(url: server.url("/echo"))).status == 200)
                }
            }
        }
    }
}
