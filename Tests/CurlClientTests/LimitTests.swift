import CurlClient
import TestPatience
import Testing

extension ServerTests {
    @Suite("An answer past its limits is cut off")
    struct LimitTests {
        private static let limit = 1 << 20

        private func request(_ server: TestServer, _ path: String, limit: Int = Self.limit) -> CurlRequest {
            CurlRequest(url: server.url(path), timeout: .seconds(20), maxResponseBytes: limit)
        }

        @Test("a body without end, and its server sees the connection go")
        func endless() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let error = try await failure(client, request(server, "/endless"))
                    #expect(error.kind == .tooLarge)
                    #expect(error.message.contains("\(Self.limit)"))
                    try await server.eventually("the connection is gone") { $0.abandoned == 1 && $0.open == 0 }
                }
            }
        }

        @Test("a small body that decodes to a large one", arguments: ["gzip", "x-gzip"])
        func bomb(name: String) async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    #expect(try await failure(client, request(server, "/gzip?mib=64&name=\(name)")).kind == .tooLarge)
                    // What fits is decoded, and what was not asked to be decoded is left as it is.
                    #expect(
                        try await client.perform(request(server, "/gzip?mib=1&name=\(name)")).body
                            == [UInt8](repeating: 0, count: 1 << 20))
                    var raw = request(server, "/gzip?mib=1&name=\(name)")
                    raw.acceptEncoding = false
                    #expect(try await client.perform(raw).body.starts(with: [0x1f, 0x8b]))
                }
            }
        }

        @Test("codings that were not offered", arguments: ["zstd", "br", "gzip,%20gzip", "compress"])
        func codings(name: String) async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let error = try await failure(client, request(server, "/gzip?mib=1&name=\(name)"))
                    #expect(error.kind == .interrupted)
                    #expect(error.message.contains("not offered"))
                }
            }
        }

        @Test("transfer codings that were not offered")
        func transferCodings() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    #expect(
                        try await failure(client, request(server, "/transfer-coding?name=gzip")).kind == .interrupted)
                }
            }
        }

        @Test(
            "headers without end, and interim answers without end", arguments: ["/endless-headers", "/endless-interim"])
        func headers(path: String) async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    let error = try await failure(client, request(server, path))
                    #expect(error.kind == .tooLarge)
                    #expect(error.message.contains("headers"))
                }
            }
        }

        @Test("at the exact number of bytes, and before the body if it is announced")
        func exact() async throws {
            try await TestServer.with { server async throws in
                try await withClient { client async throws in
                    #expect(
                        try await client.perform(request(server, "/bytes?count=1000", limit: 1000)).body.count == 1000)
                    #expect(
                        try await failure(client, request(server, "/bytes?count=1001", limit: 1000)).kind == .tooLarge)
                    #expect(
                        try await failure(client, request(server, "/announce?count=1001", limit: 1000)).kind
                            == .tooLarge)
                    #expect(try await client.perform(request(server, "/status?code=200", limit: 0)).body.isEmpty)
                    #expect(
                        try await client.perform(
                            CurlRequest(method: "HEAD", url: server.url("/bytes?count=0"), maxResponseBytes: 0)
                        ).status == 200)
                }
            }
        }
    }
}
