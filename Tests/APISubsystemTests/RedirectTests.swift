import APISubsystem
import FleetModel
import Foundation
import Synchronization
import Testing

extension ServerTests {
    /// One server by two names, which are two hosts to every limit.
    @Suite("Where a redirect leads", .timeLimit(.minutes(2)))
    struct RedirectTests {
        /// A call to 127.0.0.1 that is sent on to a path of localhost.
        private func throughRedirect(_ url: String, to path: String, timeoutMilliseconds: Int? = nil) throws
            -> RequestParameters
        {
            let target = other(url) + path
            let query = try #require(target.addingPercentEncoding(withAllowedCharacters: .alphanumerics))
            return RequestParameters(
                url: "\(url)/to?url=\(query)", timeoutMilliseconds: timeoutMilliseconds, followRedirects: 1)
        }

        private func other(_ url: String) -> String { url.replacing("127.0.0.1", with: "localhost") }

        /// A call under way.
        private final class Call: Sendable {
            let task: Task<Int, any Error>
            private let ended = Mutex(false)

            init(_ body: @escaping @Sendable () async throws -> Int) {
                task = Task { try await body() }
            }

            /// Looks again and again until it is so, or there is no hope because the call has ended.
            func until(_ isSo: () -> Bool) async {
                Task {
                    _ = await task.result
                    ended.withLock { $0 = true }
                }
                while !isSo() && !ended.withLock({ $0 }) { await Task.yield() }
                #expect(isSo())
            }
        }

        @Test("Each hop is counted as a call of its own host, and in all")
        func spent() async throws {
            let url = try await WebService.shared.value.url
            let limits = UnsharedLimits()
            try await withAPI { api async throws in
                let output = try await api.call(try throughRedirect(url, to: "/echo"), context(limits: limits))
                #expect(output.finalURL == "\(other(url))/echo")
            }
            #expect(limits.spent["api.host.127.0.0.1"] == 1)
            #expect(limits.spent["api.host.localhost"] == 1)
            #expect(limits.spent["api.all"] == 2)
        }

        @Test("A host that is closed to the fleet is not called by way of another")
        func closed() async throws {
            try await WebService.with { service async throws in
                let limits = UnsharedLimits()
                limits.close("api.host.localhost", for: .seconds(600))
                try await withAPI { api async throws in
                    let call = try throughRedirect(service.url, to: "/echo")
                    #expect(try await api.failure(call, context(limits: limits)).code == "limit.closed")
                }
                #expect(try await service.counts().requests == 1)
            }
        }

        @Test("The host that asks for a pause is the one that gets it")
        func pause() async throws {
            let url = try await WebService.shared.value.url
            let limits = UnsharedLimits()
            try await withAPI { api async throws in
                let call = try throughRedirect(url, to: "/status/429?after=600")
                #expect(try await api.failure(call, context(limits: limits)).code == "api.429")
            }
            #expect(Set(limits.closed.keys) == ["api.host.localhost"])
        }

        @Test(
            "The places at a host hold for those who are sent there, and hosts that lead to each other lock nobody out")
        func places() async throws {
            let url = try await WebService.shared.value.url
            let limits = UnsharedLimits(places: ["api.host.localhost": 1, "api.host.127.0.0.1": 1])
            try await withAPI { api async throws in
                let place = try await limits.enter("api.host.localhost", within: .zero)
                let call = try throughRedirect(url, to: "/echo")
                let waiting = Call { try await api.call(call, context(limits: limits)).status }
                await waiting.until { limits.spent["api.host.localhost"] != nil }
                // It waits for the second host, and the first has its place again.
                #expect(
                    try await api.call(RequestParameters(url: "\(url)/echo"), context(limits: limits)).status == 200)
                limits.leave(place)
                #expect(try await waiting.task.value == 200)
            }
        }

        @Test("The limit on connections to a host holds for those who are sent there")
        func connections() async throws {
            let url = try await WebService.shared.value.url
            try await withAPI(try localSettings { $0.connectionsPerHost = 1 }) { api async throws in
                let silent = RequestParameters(url: "\(other(url))/silence", timeoutMilliseconds: 60_000)
                let holder = Call { try await api.call(silent).status }
                await holder.until { api.status.active > 0 }
                let call = try throughRedirect(url, to: "/echo")
                let waiting = Call { try await api.call(call).status }
                await waiting.until { api.status.waiting > 0 }
                #expect(api.status.active == 1, "who waits for the second host holds nothing of the first")
                holder.task.cancel()
                #expect(try await waiting.task.value == 200)
                await #expect(throws: (any Error).self) { try await holder.task.value }
            }
        }

        @Test("A host that fails is left alone by those who are sent there, and the one that sends them is not")
        func breaker() async throws {
            try await WebService.with { service async throws in
                let settings = try localSettings { settings in
                    settings.breaker.callsMin = 5
                    settings.breaker.window = .seconds(600)
                    settings.breaker.coolDown = .seconds(600)
                }
                try await withAPI(settings) { api async throws in
                    let call = try throughRedirect(service.url, to: "/status/500")
                    for _ in 0..<5 { #expect(try await api.failure(call).code == "api.500") }
                    #expect(try await api.failure(call).code == "api.circuit-open")
                    #expect(api.status.breakers.map { "http://\($0.host)" } == [other(service.url)])
                    #expect(try await api.call(RequestParameters(url: "\(service.url)/echo")).status == 200)
                }
                #expect(try await service.counts().requests == 12, "five of two hops, one of one, and the last")
            }
        }

        @Test("All hops together have the time of one call")
        func time() async throws {
            let url = try await WebService.shared.value.url
            // Each hop alone would be in time.
            let call = RequestParameters(
                url: "\(url)/hops/10?wait=0.2", timeoutMilliseconds: 1_000, followRedirects: 10)
            #expect(try await failure(call).code == "api.timeout")
        }

        @Test("A redirect's own body does not matter, not even one without end")
        func endless() async throws {
            let url = try await WebService.shared.value.url
            let output = try await call(
                RequestParameters(url: "\(url)/endless?status=302&to=/echo", followRedirects: 1))
            #expect(output.finalURL == "\(url)/echo")
        }
    }
}
