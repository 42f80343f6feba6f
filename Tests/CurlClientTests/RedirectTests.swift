import CurlClient
import Testing

extension ServerTests {
    @Suite("A redirect")
    struct RedirectTests {
        @Test("is the answer itself when none is to be followed")
        func unfollowed() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let response = try await client.perform(CurlRequest(url: server.url("/redirect?to=/echo")))
                    #expect(response.status == 302)
                    #expect(response.header("Location") == "/echo")
                    #expect(response.redirects == 0)
                }
            }
        }

        @Test("is followed as often as allowed and no further")
        func chain() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let response = try await client.perform(
                        CurlRequest(url: server.url("/count-down?left=3"), followRedirects: 3))
                    #expect(response.text == "landed")
                    #expect(response.redirects == 3)
                    #expect(response.finalURL == server.url("/count-down?left=0"))
                    #expect(response.connectionReused)
                    let error = try await failure(
                        client, CurlRequest(url: server.url("/count-down?left=3"), followRedirects: 2))
                    #expect(error.kind == .tooManyRedirects)
                    #expect(error.mayHaveBeenSent)
                }
            }
        }

        @Test(
            "changes the method as RFC 9110 says",
            arguments: [
                (301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"), (303, "PUT", "GET"),
                (307, "POST", "POST"), (308, "POST", "POST"),
                (301, "PUT", "PUT"), (302, "DELETE", "DELETE"), (303, "GET", "GET"),
            ])
        func methods(code: Int, method: String, expected: String) async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let headers = [
                        (name: "Content-Type", value: "text/plain"), ("Authorization", "Bearer t"), ("X-Kept", "yes"),
                    ]
                    let body: [UInt8]? = method == "GET" || method == "DELETE" ? nil : Array("hello".utf8)
                    let request = CurlRequest(
                        method: method, url: server.url("/redirect?code=\(code)&to=/echo"), headers: headers,
                        body: body, followRedirects: 1)
                    let echo = try Echo(try await client.perform(request))
                    #expect(echo.method == expected)
                    #expect(echo.values("X-Kept") == ["yes"])
                    // The origin is the same, so what proves who asks goes along.
                    #expect(echo.values("Authorization") == ["Bearer t"])
                    #expect(echo.body == (expected == method && body != nil ? "hello" : ""))
                    #expect(echo.values("Content-Type").isEmpty == (expected != method))
                }
            }
        }

        @Test("to another origin leaves credentials behind")
        func credentials() async throws {
            try await TestServer.with { first in
                try await TestServer.with { second in
                    try await withClient { client async throws in
                        let names = ["Authorization", "Cookie", "Proxy-Authorization", "X-Api-Key"]
                        let headers =
                            names.map { (name: $0, value: "secret") } + [
                                (name: "Host", value: "first.example"), ("X-Kept", "yes"),
                            ]
                        let there = second.url("/echo")
                        let echo = try Echo(
                            try await client.perform(
                                CurlRequest(
                                    url: first.url("/redirect?to=\(there)"), headers: headers, followRedirects: 1)))
                        for name in names { #expect(echo.values(name).isEmpty) }
                        #expect(echo.values("Host") == ["127.0.0.1:\(second.port)"])
                        #expect(echo.values("X-Kept") == ["yes"])
                    }
                }
            }
        }

        @Test(
            "to what may not be asked is refused",
            arguments: [
                ("file:///etc/passwd", CurlError.Kind.protocolNotAllowed), ("ftp://127.0.0.1/", .protocolNotAllowed),
                ("gopher://127.0.0.1/", .protocolNotAllowed),
                ("https://127.0.0.1/", .protocolNotAllowed), ("http://user:pass@127.0.0.1/", .badURL),
                ("http://", .badURL), ("http://127.0.0.1:0/", .badURL),
            ])
        func refused(target: String, kind: CurlError.Kind) async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    var request = CurlRequest(url: server.url("/redirect?to=\(target)"), followRedirects: 5)
                    request.allowedProtocols = .http
                    let error = try await failure(client, request)
                    #expect(error.kind == kind)
                    #expect(!error.description.contains("pass"))
                }
            }
        }

        @Test("is checked by the guard on every hop")
        func guarded() async throws {
            try await TestServer.with { allowed in
                try await TestServer.with { denied in
                    let port = UInt16(denied.port)
                    try await withClient(CurlConfiguration(resolveGuard: { $0.port != port })) { client async throws in
                        let error = try await failure(
                            client,
                            CurlRequest(url: allowed.url("/redirect?to=\(denied.url("/echo"))"), followRedirects: 1))
                        #expect(error.kind == .addressRefused)
                        #expect(error.mayHaveBeenSent)
                        #expect(try await denied.stats().accepted == 0)
                    }
                }
            }
        }

        @Test("does not lengthen the time allowed")
        func timeout() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let request = CurlRequest(
                        url: server.url("/redirect?to=/hold"), timeout: .milliseconds(150), followRedirects: 1)
                    let start = ContinuousClock.now
                    #expect(try await failure(client, request).kind == .timeout)
                    #expect(ContinuousClock.now - start < .seconds(10))
                }
            }
        }
    }
}
