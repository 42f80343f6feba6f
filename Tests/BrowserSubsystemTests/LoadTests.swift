import FleetModel
import Foundation
import TestPatience
import Testing

@testable import BrowserSubsystem

@Suite("Browser jobs in numbers", .serialized, .timeLimit(.minutes(10)))
struct LoadTests {
    @Test("After hundreds of jobs, failed ones among them, as much is held as before, and no file is left")
    func holdings() async throws {
        let url = try await PageServer.shared.value.url("small")
        // In a process that nothing else opens files in.
        await #expect(processExitsWith: .success) { [url = url as String] in
            let profiles = try Profiles()
            try await Desk.with({ $0.pool.profileParent = profiles.path }) { desk in
                let load = BrowserJobLoad(desk.subsystem, url: url)
                // Browsers, threads and caches have come to be.
                _ = try await load.visits(50, concurrency: 6)
                try await eventually("the tabs of jobs are gone") { desk.subsystem.status.leased == 0 }
                let first = try load.holdings()
                _ = try await load.visits(200, concurrency: 6)
                for _ in 0..<10 {
                    _ = try await desk.failure(VisitParameters(url: url, evaluate: "nothing.at.all"))
                }
                try await eventually("the tabs of jobs are gone") { desk.subsystem.status.leased == 0 }
                try await eventually("what they held is given back") {
                    let now = try load.holdings()
                    return now.descriptors <= first.descriptors + 4 && now.threads <= first.threads + 4
                }
                let last = try load.holdings()
                #expect(last.memoryBytes < first.memoryBytes + (32 << 20))
                #expect(last.browsers <= first.browsers)
            }
            #expect(try profiles.removeIsEmpty(), "a profile is left")
        }
    }

    @Test("The figures of a hundred visits and twenty screenshots")
    func figures() async throws {
        let server = try await PageServer.shared.value
        try await Desk.with({
            $0.pool.instancesMax = 2
            $0.pool.tabsMax = 40
            $0.pool.warmTabs = Self.number("GAIA_LOAD_WARM", 8)
        }) { desk in
            let load = BrowserJobLoad(desk.subsystem, url: server.url("small"))
            let concurrency = Self.number("GAIA_LOAD_SLOTS", 8)
            _ = try await load.visits(20, concurrency: concurrency)
            for row in [
                try await load.visits(100, concurrency: concurrency),
                try await load.screenshots(20, concurrency: concurrency),
            ] {
                print("\(row.jobs) \(row.title): \(row.seconds) s, p50 \(row.p50) ms, p99 \(row.p99) ms")
                #expect(row.seconds > 0)
            }
        }
    }

    private static func number(_ variable: String, _ fallback: Int) -> Int {
        ProcessInfo.processInfo.environment[variable].flatMap { Int($0) } ?? fallback
    }
}

/// A directory for the profiles of one test's browsers.
private struct Profiles {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appending(path: "gaia-profiles-\(UUID().uuidString)").path
        // The browsers' user passes through it.
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o1777])
    }

    /// Removes it.
    ///
    /// - Returns: whether nothing was left in it.
    func removeIsEmpty() throws -> Bool {
        let isEmpty = try FileManager.default.contentsOfDirectory(atPath: path).isEmpty
        try FileManager.default.removeItem(atPath: path)
        return isEmpty
    }
}
