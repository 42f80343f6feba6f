import CurlClient
import Testing

extension ServerTests {
    @Suite("An exchange")
    struct ExchangeTests {
        @Test(
            "carries every verb, with and without a body, as it was asked",
            arguments: ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get", "PURGE"])
        func verbs(method: String) async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    for body in [nil, "", "a=b&c", String(repeating: "long ", count: 50_000)] {
                        let request = CurlRequest(
                            method: method, url: server.url("/echo?x=1"), body: body.map { Array($0.utf8) })
                        let response = try await client.perform(request)
                        let echo = try Echo(response)
                        #expect(response.status == 200)
                        #expect(echo.method == method)
                        #expect(echo.target == "/echo?x=1")
                        #expect(echo.body == body ?? "")
                        #expect(echo.values("Expect").isEmpty)
                        #expect(echo.values("Content-Type").isEmpty)
                        #expect(echo.values("Transfer-Encoding").isEmpty)
                    }
                }
            }
        }

        @Test("of a HEAD has headers and no body")
        func head() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let response = try await client.perform(CurlRequest(method: "HEAD", url: server.url("/echo")))
                    #expect(response.status == 200)
                    #expect(response.header("content-type") == "application/json")
                    #expect(response.body.isEmpty)
                }
            }
        }

        @Test("sends headers as given, the empty one too, and its own user agent unless told another")
        func requestHeaders() async throws {
            try await TestServer.with { server async throws in
                try await withClient(CurlConfiguration(userAgent: "gaia/1")) { client async throws in
                    let headers = [
                        (name: "X-One", value: "1"), ("X-Empty", ""), ("Content-Type", "text/plain"),
                        ("X-UTF8", "naïve"),
                    ]
                    let plain = try Echo(
                        try await client.perform(
                            CurlRequest(method: "POST", url: server.url("/echo"), headers: headers, body: [1, 255])))
                    #expect(plain.values("X-One") == ["1"])
                    #expect(plain.values("X-Empty") == [""])
                    #expect(plain.values("Content-Type") == ["text/plain"])
                    #expect(plain.values("User-Agent") == ["gaia/1"])
                    #expect(plain.values("Accept-Encoding") == ["gzip, deflate"])
                    #expect(Array(plain.body.unicodeScalars.map { $0.value }) == [1, 255])
                    let other = try Echo(
                        try await client.perform(
                            CurlRequest(
                                url: server.url("/echo"), headers: [("User-Agent", "mine")], acceptEncoding: false)))
                    #expect(other.values("User-Agent") == ["mine"])
                    #expect(other.values("Accept-Encoding").isEmpty)
                }
            }
        }

        @Test("gives headers in order, case-insensitively, repeated and folded ones too")
        func responseHeaders() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let response = try await client.perform(CurlRequest(url: server.url("/headers")))
                    #expect(response.headers("X-TWICE") == ["one", "two"])
                    #expect(response.header("X-Empty") == "")
                    #expect(response.header("X-Absent") == nil)
                    #expect(response.header("X-Folded") == "a b")
                    #expect(response.header("X-Latin") == "caf\u{fffd}")
                }
            }
        }

        @Test("puts a chunked body together, trailers last")
        func chunked() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let response = try await client.perform(CurlRequest(url: server.url("/chunked?parts=3")))
                    #expect(response.text == "part 0\npart 1\npart 2\n")
                    #expect(response.headers.last?.0 == "X-Sum")
                }
            }
        }

        @Test(
            "is a response whatever its status, and says how long to wait",
            arguments: [204, 304, 400, 404, 429, 500, 503])
        func statuses(code: Int) async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let response = try await client.perform(
                        CurlRequest(url: server.url("/status?code=\(code)&retry-after=7")))
                    #expect(response.status == code)
                    #expect(response.retryAfter == .seconds(7))
                }
            }
        }

        @Test("goes over the connection of the one before")
        func reuse() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    for number in 0..<20 {
                        let response = try await client.perform(CurlRequest(url: server.url("/echo")))
                        #expect(response.connectionReused == (number > 0))
                        #expect(response.remoteAddress == "127.0.0.1:\(server.port)")
                        #expect(response.finalURL == server.url("/echo"))
                    }
                    #expect(try await server.stats().accepted == 1)
                }
            }
        }

        @Test("takes the time it says")
        func timing() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let timing = try await client.perform(CurlRequest(url: server.url("/delay?ms=60"))).timing
                    #expect(timing.firstByte >= .milliseconds(59))
                    #expect(timing.total >= timing.firstByte)
                    #expect(timing.connect > .zero && timing.connect <= timing.firstByte)
                    #expect(timing.tls == .zero)
                }
            }
        }

        @Test("on a pooled connection that dies unanswered is repeated only if that is harmless")
        func staleConnection() async throws {
            for (method, headers, body, isRepeated) in [
                ("GET", [], nil, true), ("PUT", [], [1], true),
                ("POST", [(name: "Idempotency-Key", value: "k")], [1], true),
                ("POST", [], [1], false), ("PATCH", [], [1], false),
            ] as [(String, [(name: String, value: String)], [UInt8]?, Bool)] {
                try await TestServer.with { server async throws in
                    try await withClient { client async throws in
                        let first = try await client.perform(CurlRequest(url: server.url("/stale")))
                        #expect(first.text == "first")
                        let request = CurlRequest(
                            method: method, url: server.url("/stale"), headers: headers, body: body)
                        #expect(request.isRepeatable == isRepeated)
                        if isRepeated {
                            #expect(try await client.perform(request).text == "first")
                            #expect(try await server.stats().byPath["/stale"] == 3)
                        } else {
                            let error = try await failure(client, request)
                            #expect(error.kind == .interrupted)
                            #expect(error.mayHaveBeenSent)
                            #expect(try await server.stats().byPath["/stale"] == 2)
                        }
                    }
                }
            }
        }

        @Test("without a body and not repeatable does not go over a pooled connection at all")
        func bodilessPost() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    _ = try await client.perform(CurlRequest(url: server.url("/stale")))
                    #expect(
                        try await client.perform(CurlRequest(method: "POST", url: server.url("/stale"))).text == "first"
                    )
                    #expect(try await server.stats().byPath["/stale"] == 2)
                }
            }
        }

        @Test("goes to the address it was given instead of asking for the host, and says the host's name there")
        func connectAddress() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    var request = CurlRequest(url: server.url("/echo", host: "no-such-name.invalid"))
                    request.connectAddress = "127.0.0.2"
                    let response = try await client.perform(request)
                    #expect(response.remoteAddress == "127.0.0.2:\(server.port)")
                    #expect(try Echo(response).values("host") == ["no-such-name.invalid:\(server.port)"])

                    // A redirect to another host is looked up as ever.
                    request.url = server.url("/redirect?to=\(server.url("/echo"))", host: "no-such-name.invalid")
                    request.followRedirects = 1
                    #expect(try await client.perform(request).remoteAddress == "127.0.0.1:\(server.port)")

                    // The pooled connection belongs to the address and not to the name.
                    request.url = server.url("/echo", host: "no-such-name.invalid")
                    request.connectAddress = nil
                    #expect(try await failure(client, request).kind == .resolve)

                    request.connectAddress = "0177.1"
                    #expect(try await failure(client, request).kind == .badRequest)
                }
                try await withClient(CurlConfiguration(resolveGuard: { "\($0.ip)" != "127.0.0.2" })) {
                    client async throws in
                    var request = CurlRequest(url: server.url("/echo", host: "no-such-name.invalid"))
                    request.connectAddress = "127.0.0.2"
                    #expect(try await failure(client, request).kind == .addressRefused)
                }
            }
        }

        @Test("is counted, with the connections and bytes it took")
        func statistics() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    for _ in 0..<3 { _ = try await client.perform(CurlRequest(url: server.url("/bytes?count=1000"))) }
                    let statistics = client.statistics
                    #expect(statistics.exchanges == 3)
                    #expect(statistics.connectionsOpened == 1)
                    #expect(statistics.outstanding == 0)
                    #expect((3_000..<4_000).contains(statistics.bytesReceived))
                    #expect((100..<1_000).contains(statistics.bytesSent))
                }
            }
        }
    }
}
