import APISubsystem
import FleetModel
import Foundation
import Synchronization
import Testing

extension ServerTests {
    @Suite("Hosts that ask for a pause, and limits of the fleet", .timeLimit(.minutes(2)))
    struct ThrottleTests {
        @Test(
            "A host that names a pause is closed to the whole fleet: no call goes out beyond those under way",
            arguments: [429, 503])
        func closed(_ status: Int) async throws {
            try await WebService.with { service async throws in
                let limits = UnsharedLimits()
                // Two workers, each with room for four calls to a host and many more that wait for a turn.
                let settings = try localSettings { $0.connectionsPerHost = 4 }
                let ends = try await withAPI(settings) { one async throws in
                    try await withAPI(settings) { other async throws in
                        try await withThrowingTaskGroup(of: JobFailure.self) { group in
                            for number in 0..<200 {
                                let api = number % 2 == 0 ? one : other
                                group.addTask {
                                    try await api.failure(
                                        RequestParameters(url: "\(service.url)/status/\(status)?after=600"),
                                        context(limits: limits))
                                }
                            }
                            return try await group.reduce(into: [JobFailure]()) { $0.append($1) }
                        }
                    }
                }
                #expect(ends.count == 200)
                for end in ends {
                    guard case .throttled(let pause) = end.kind else {
                        Issue.record("not throttled: \(end)")
                        continue
                    }
                    #expect(pause > .seconds(400) && pause < .seconds(800))
                }
                #expect(ends.contains { $0.code == "limit.closed" })
                let requests = try await service.counts().requests
                #expect(requests <= 8, "four of each worker were under way")
                #expect(Set(limits.closed.keys) == ["api.host.127.0.0.1"])
            }
        }

        @Test("Another host stays open")
        func others() async throws {
            let url = try await WebService.shared.value.url
            let limits = UnsharedLimits()
            try await withAPI { api async throws in
                _ = try await api.failure(RequestParameters(url: "\(url)/status/429?after=60"), context(limits: limits))
                let other = url.replacing("127.0.0.1", with: "localhost")
                #expect(
                    try await api.call(RequestParameters(url: "\(other)/echo"), context(limits: limits)).status == 200)
                let end = try await api.failure(RequestParameters(url: "\(url)/echo"), context(limits: limits))
                #expect(end.code == "limit.closed")
            }
        }

        @Test("What the job expects asks for no pause")
        func expected() async throws {
            let url = try await WebService.shared.value.url
            let limits = UnsharedLimits()
            try await withAPI { api async throws in
                _ = try await api.call(
                    RequestParameters(url: "\(url)/status/429?after=60", expectedStatus: [429]), context(limits: limits)
                )
                _ = try await api.failure(RequestParameters(url: "\(url)/status/404?after=60"), context(limits: limits))
                _ = try await api.failure(RequestParameters(url: "\(url)/status/503"), context(limits: limits))
                #expect(limits.closed.isEmpty)
            }
        }

        @Test("Each call is counted, in all and by host")
        func spent() async throws {
            let url = try await WebService.shared.value.url
            let limits = UnsharedLimits()
            try await withAPI { api async throws in
                for _ in 0..<3 {
                    _ = try await api.call(RequestParameters(url: "\(url)/echo"), context(limits: limits))
                }
            }
            #expect(limits.spent["api.all"] == 3)
            #expect(limits.spent["api.host.127.0.0.1"] == 3)
        }

        @Test("A rate that is used up throttles the job without a call")
        func rate() async throws {
            try await WebService.with { service async throws in
                let limits = UnsharedLimits(rates: ["api.host.127.0.0.1": .init(perSecond: 0.01, burst: 2)])
                try await withAPI { api async throws in
                    let parameters = RequestParameters(url: "\(service.url)/echo")
                    for _ in 0..<2 { _ = try await api.call(parameters, context(limits: limits)) }
                    let end = try await api.failure(parameters, context(limits: limits))
                    #expect(end.code == "limit.busy")
                }
                #expect(try await service.counts().requests == 2)
            }
        }

        @Test("The limit on all connections holds, whatever the hosts are, and the next call goes out when one ends")
        func connections() async throws {
            let url = try await WebService.shared.value.url
            let settings = try localSettings { ($0.connections, $0.connectionsPerHost) = (2, 2) }
            try await withAPI(settings) { api async throws in
                let holders = [url, url.replacing("127.0.0.1", with: "localhost")].map { host in
                    Task {
                        try await api.call(RequestParameters(url: "\(host)/silence", timeoutMilliseconds: 60_000))
                            .status
                    }
                }
                while api.status.active < 2 { await Task.yield() }
                let waiting = Task { try await api.call(RequestParameters(url: "\(url)/echo")).status }
                while api.status.waiting < 1 {
                    try Task.checkCancellation()
                    await Task.yield()
                }
                #expect(api.status.active == 2)
                holders[1].cancel()
                #expect(try await waiting.value == 200)
                holders[0].cancel()
                for holder in holders { await #expect(throws: (any Error).self) { try await holder.value } }
            }
        }

        @Test("Places at a host bound the calls under way, and are given back however these end")
        func places() async throws {
            let url = try await WebService.shared.value.url
            let limits = UnsharedLimits(places: ["api.host.127.0.0.1": 1])
            try await withAPI { api async throws in
                for path in ["echo", "status/500", "silence", "bytes/5000"] {
                    let parameters = RequestParameters(url: "\(url)/\(path)", timeoutMilliseconds: 50)
                    do { _ = try await api.call(parameters, context(limits: limits)) } catch {}
                }
                // Nobody holds the one place any more.
                let place = try await limits.enter("api.host.127.0.0.1", within: .zero)
                limits.leave(place)
            }
        }
    }
}
