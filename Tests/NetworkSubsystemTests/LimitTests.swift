import FleetModel
import FleetStack
import Foundation
import TestPatience
import Testing

@testable import NetworkSubsystem

/// One after the other: these look at times and at the number of connections.
@Suite("Limits of the network", .serialized, .timeLimit(.minutes(3)))
struct LimitTests {
    /// The part by which a figure may be above its setting.
    private static let tolerance = 0.05
    /// What comes through at the least here, where other tests keep the machine busy; `gaia bench network` on a quiet one
    /// shows the true figures.
    private static let bytesPerSecondMin = 300_000.0

    @Test("A download keeps to its job's own limit", arguments: [1_000_000, 10_000_000, 100_000_000])
    func ownLimit(_ rate: Int) async throws {
        try await PrivateWebServer.with { nginx in
            try await Desk.with { desk in
                let output = try await desk.download(
                    DownloadParameters(url: try nginx.url(rate * 2), path: "data:a", bytesPerSecond: rate))
                let share = Double(output.bytesPerSecond) / Double(rate)
                #expect(share < 1 + Self.tolerance, "\(output.bytesPerSecond) B/s")
                #expect(Double(output.bytesPerSecond) > Self.bytesPerSecondMin)
            }
        }
    }

    @Test("Downloads together keep to the fleet's limit")
    func fleetLimit() async throws {
        try await PrivateWebServer.with { nginx in
            let rate = 8_000_000
            let limits = UnsharedLimits(rates: ["network.bytes": .init(perSecond: Double(rate), burst: 100_000)])
            try await Desk.with { desk in
                let row = try await NetworkLoad(desk.subsystem).shared(
                    rate: rate, downloads: 4, url: try nginx.url(4_000_000), root: "data", limits: limits)
                let share = row.measured / Double(rate)
                #expect(share < 1 + Self.tolerance && row.measured > Self.bytesPerSecondMin, "\(row.measured) B/s")
            }
            #expect(limits.spent["network.bytes"] == 16_000_000)
        }
    }

    @Test("Without room in the fleet's limit a download is postponed, and what it has is kept")
    func postponed() async throws {
        try await PrivateWebServer.with { nginx in
            let limits = UnsharedLimits(rates: ["network.bytes": .init(perSecond: 1_000, burst: 200_000)])
            try await Desk.with({ $0.limitWait = .milliseconds(100) }) { desk in
                let parameters = DownloadParameters(url: try nginx.url(4_000_000), path: "data:a")
                let failure = try await desk.failure(parameters, limits: limits)
                guard case .throttled = failure.kind else {
                    Issue.record("\(failure)")
                    return
                }
                let output = try await desk.download(parameters, token: 2)
                #expect(output.resumedBytes > 0)
                #expect(try desk.content("a") == (try nginx.content(4_000_000)))
            }
        }
    }

    @Test("A thousand connections are held at once")
    func thousand() async throws {
        let server = try await FileServer()
        try await Desk.with({ $0.idleTimeout = .seconds(60) }) { desk in
            _ = try await NetworkLoad(desk.subsystem).connections(
                1_000, url: { server.url(10_000, "hold=1000", id: "\($0)").url }, root: "data")
        }
        #expect(try await server.stats().most >= 1_000)
        try await server.stop()
    }

    @Test("No more connections are open than the worker allows itself, or the fleet")
    func connections() async throws {
        for (own, limits) in [(7, UnsharedLimits()), (1_000, UnsharedLimits(places: ["network.connections": 7]))] {
            let server = try await FileServer()
            try await Desk.with({ $0.connections = own }) { desk in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<60 {
                        group.addTask {
                            _ = try await desk.download(
                                DownloadParameters(
                                    url: server.url(100_000, "hold=7", id: "\(number)").url, path: "data:\(number)"),
                                key: "\(number)", limits: limits)
                        }
                    }
                    try await group.waitForAll()
                }
            }
            #expect(try await server.stats().most == 7)
            try await server.stop()
        }
    }

    @Test("More than may wait for a connection are sent back to come again, and cost no attempt")
    func overloaded() async throws {
        let server = try await FileServer()
        try await Desk.with({ settings in
            settings.connections = 1
            settings.waitingMax = 1
        }) { desk in
            let running = Task {
                try await desk.download(
                    DownloadParameters(url: server.url(10, "stall=0").url, path: "data:a"), key: "a")
            }
            try await eventually("one is under way") { try await server.stats().open == 1 }
            let waiting = Task {
                try await desk.download(DownloadParameters(url: server.url(10).url, path: "data:b"), key: "b")
            }
            try await eventually("one waits") { desk.subsystem.gate.waiting == 1 }
            let failure = try await desk.failure(DownloadParameters(url: server.url(10).url, path: "data:c"))
            #expect((failure.kind, failure.code) == (.throttled(retryAfter: .seconds(1)), "network.overloaded"))
            running.cancel()
            #expect(try await waiting.value.bytes == 10)
            await #expect(throws: (any Error).self) { try await running.value }
        }
        try await server.stop()
    }

    @Test("One who would wait too long for a connection is sent back to come again")
    func waitedTooLong() async throws {
        let server = try await FileServer()
        try await Desk.with({ settings in
            settings.connections = 1
            settings.limitWait = .milliseconds(100)
        }) { desk in
            let running = Task {
                try await desk.download(
                    DownloadParameters(url: server.url(10, "stall=0").url, path: "data:a"), key: "a")
            }
            try await eventually("one is under way") { try await server.stats().open == 1 }
            let failure = try await desk.failure(DownloadParameters(url: server.url(10).url, path: "data:b"))
            #expect((failure.kind, failure.code) == (.throttled(retryAfter: .seconds(1)), "network.overloaded"))
            #expect(desk.subsystem.gate.waiting == 0)
            running.cancel()
            await #expect(throws: (any Error).self) { try await running.value }
        }
        try await server.stop()
    }

    @Test("nginx's files are gone on with after a break")
    func nginx() async throws {
        try await PrivateWebServer.with { nginx in
            let url = try nginx.url(5_000_000)
            try await Desk.with { desk in
                let slow = Task {
                    try await desk.download(DownloadParameters(url: url, path: "data:a", bytesPerSecond: 2_000_000))
                }
                try await eventually("a part is there") { try desk.count("download_bytes") > 1_000_000 }
                slow.cancel()
                await #expect(throws: (any Error).self) { try await slow.value }
                let output = try await desk.download(DownloadParameters(url: url, path: "data:a"), token: 2)
                #expect(output.resumedBytes > 1_000_000)
                #expect(try desk.content("a") == (try nginx.content(5_000_000)))
            }
        }
    }
}
