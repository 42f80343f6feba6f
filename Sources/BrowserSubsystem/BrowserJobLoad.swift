import FleetModel
import FoundationEssentials

/// Measures browser jobs as a worker runs them, for `gaia bench` and the tests. The caller brings the pages.
package struct BrowserJobLoad: Sendable {
    /// How long so many jobs took together, and single ones of them in milliseconds.
    package struct Row: Sendable {
        package let title: String
        package let jobs: Int
        package let seconds: Double
        package let p50: Double
        package let p99: Double
    }

    /// What a worker and its browsers hold.
    package struct Holdings: Sendable, Hashable {
        /// Resident memory of this process, in bytes.
        package var memoryBytes: Int
        package var browserMemoryBytes: Int
        package var descriptors: Int
        package var threads: Int
        /// Browsers, and tabs that are open.
        package var browsers: Int
        package var tabs: Int
    }

    private let subsystem: BrowserSubsystem
    private let url: String

    /// - Parameter url: of a small real page.
    package init(_ subsystem: BrowserSubsystem, url: String) {
        self.subsystem = subsystem
        self.url = url
    }

    /// Visits that wait for load, evaluate, and return title and text.
    ///
    /// - Parameter concurrency: as many as a worker has slots.
    package func visits(_ count: Int, concurrency: Int) async throws -> Row {
        try await run("visits", count, concurrency) { _ in
            VisitParameters(url: url, want: [.text], evaluate: "document.links.length")
        }
    }

    /// Visits that take a picture of the whole page, as a file.
    package func screenshots(_ count: Int, concurrency: Int) async throws -> Row {
        try await run("full-page screenshots", count, concurrency) { number in
            VisitParameters(url: url, screenshot: ScreenshotWish(fullPage: true, file: "data:load/\(number).png"))
        }
    }

    package func holdings() throws -> Holdings {
        let status = subsystem.status
        return Holdings(
            memoryBytes: try Self.status("VmRSS") * 1_024, browserMemoryBytes: status.memoryBytes,
            descriptors: try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count,
            threads: try Self.status("Threads"), browsers: status.instances, tabs: status.tabs)
    }

    private func run(
        _ title: String, _ count: Int, _ concurrency: Int, _ parameters: @escaping @Sendable (Int) -> VisitParameters
    ) async throws -> Row {
        guard let definition = subsystem.definitions.first(where: { $0.type == VisitParameters.type }) else {
            preconditionFailure("a browser subsystem has visits")
        }
        let begin = ContinuousClock.now
        let durations = try await withThrowingTaskGroup(of: [Double].self) { group in
            for lane in 0..<concurrency {
                group.addTask {
                    var durations: [Double] = []
                    for number in stride(from: lane, to: count, by: concurrency) {
                        let payload = Array(try JSONEncoder().encode(parameters(number)))
                        let start = ContinuousClock.now
                        let context = JobContext(
                            type: VisitParameters.type, key: "load-\(number)", attempt: 1, token: 1, subject: nil,
                            traceparent: nil)
                        _ = try await definition.prepare(payload)(context)
                        durations.append((ContinuousClock.now - start) / .milliseconds(1))
                    }
                    return durations
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        let seconds = (ContinuousClock.now - begin) / .seconds(1)
        let sorted = durations.sorted()
        func percentile(_ part: Double) -> Double { sorted[min(sorted.count - 1, Int(Double(sorted.count) * part))] }
        return Row(
            title: title, jobs: count, seconds: seconds, p50: percentile(0.5), p99: percentile(0.99))
    }

    /// A number of `/proc/self/status`.
    private static func status(_ name: String) throws -> Int {
        let text = String(
            decoding: try Data(contentsOf: URL(fileURLWithPath: "/proc/self/status")), as: UTF8.self)
        for line in text.split(separator: "\n") where line.hasPrefix("\(name):") {
            return Int(line.dropFirst(name.count + 1).filter(\.isNumber)) ?? 0
        }
        return 0
    }
}
