import APISubsystem
import FleetModel
import Foundation
import Testing

extension ServerTests {
    @Suite("Calls to nginx", .enabled(if: Nginx.isInstalled), .timeLimit(.minutes(2)))
    struct NginxTests {
        @Test("Files, redirects, packed bodies and passwords work as with any client")
        func plain() async throws {
            try await Nginx.with { nginx async throws in
                try await withAPI(try localSettings { $0.responseBytesMax = 100_000 }) { api async throws in
                    let hello = try await api.call(RequestParameters(url: "\(nginx.url)/hello.txt"))
                    #expect((hello.status, hello.body, hello.headers["content-type"]) == (200, "hello\n", "text/plain"))

                    let moved = try await api.call(RequestParameters(url: "\(nginx.url)/moved", followRedirects: 1))
                    #expect((moved.body, moved.finalURL) == ("hello\n", "\(nginx.url)/hello.txt"))
                    #expect(try await api.failure(RequestParameters(url: "\(nginx.url)/moved")).code == "api.301")
                    #expect(
                        try await api.failure(RequestParameters(url: "\(nginx.url)/to-metadata", followRedirects: 1))
                            .code
                            == "api.address-refused")

                    let long = try await api.call(RequestParameters(url: "\(nginx.url)/long.txt"))
                    #expect(long.headers["content-encoding"] == "gzip")
                    #expect((long.bytes, long.body?.hasPrefix("compressible compressible")) == (65_000, true))

                    #expect(
                        try await api.failure(RequestParameters(url: "\(nginx.url)/private.txt")).code == "api.401")
                    let login = ["Authorization": "Basic \(Data("user:secret".utf8).base64EncodedString())"]
                    #expect(
                        try await api.call(RequestParameters(url: "\(nginx.url)/private.txt", headers: login)).body
                            == "private\n")
                    let missing = try await api.failure(RequestParameters(url: "\(nginx.url)/missing"))
                    #expect((missing.kind, missing.code) == (.permanent, "api.404"))
                    #expect(
                        try await api.call(RequestParameters(url: "\(nginx.url)/long.txt", method: "HEAD")).bytes == 0)
                }
            }
        }

        @Test("Its rate limit throttles the job and closes it to the fleet for as long as it says")
        func limited() async throws {
            try await Nginx.with { nginx async throws in
                let limits = UnsharedLimits()
                try await withAPI { api async throws in
                    let ask = RequestParameters(url: "\(nginx.url)/limited.txt")
                    #expect(try await api.call(ask, context(limits: limits)).body == "hello\n")
                    let end = try await api.failure(ask, context(limits: limits))
                    #expect((end.kind, end.code) == (.throttled(retryAfter: .seconds(2)), "api.429"))
                    #expect(try await api.failure(ask, context(limits: limits)).code == "limit.closed")
                }
            }
        }

        @Test("Its certificate is trusted by the authority's file and by no other means, unless nothing is verified")
        func tls() async throws {
            try await Nginx.with { nginx async throws in
                let ask = RequestParameters(url: "https://localhost:\(nginx.securePort)/hello.txt")
                try await withAPI(try localSettings { $0.caFile = nginx.authority }) { api async throws in
                    #expect(try await api.call(ask).body == "hello\n")
                    let other = RequestParameters(url: "https://127.0.0.1:\(nginx.securePort)/hello.txt")
                    #expect(try await api.failure(other).code == "api.tls")
                }
                try await withAPI { api async throws in
                    let end = try await api.failure(ask)
                    #expect((end.kind, end.code) == (.permanent, "api.tls"))
                }
                try await withAPI(try localSettings { $0.verifiesTLS = false }) { api async throws in
                    #expect(try await api.call(ask).body == "hello\n")
                }
            }
        }

        @Test("Hundreds of calls go over a few connections")
        func reuse() async throws {
            try await Nginx.with { nginx async throws in
                try await withAPI(try localSettings { $0.connectionsPerHost = 8 }) { api async throws in
                    let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                        for _ in 0..<400 {
                            group.addTask {
                                try await api.call(RequestParameters(url: "\(nginx.url)/hello.txt")).status
                            }
                        }
                        return try await group.reduce(into: []) { $0.append($1) }
                    }
                    #expect(statuses == Array(repeating: 200, count: 400))
                }
                let log = try String(contentsOfFile: "\(nginx.directory)/logs/connections.log", encoding: .utf8)
                let connections = log.split(separator: "\n")
                #expect(connections.count == 400)
                #expect(Set(connections).count <= 8)
            }
        }
    }
}
