import FleetModel
import FoundationEssentials
import NetworkClient

/// Measures this subsystem beside the least that the same work takes on the same machine, for `gaia bench` and the tests.
///
/// The caller brings the servers, so that nothing here starts a process.
package struct NetworkLoad: Sendable {
    /// One figure and what it is to be compared with.
    package struct Row: Sendable {
        package let title: String
        /// As it was set, or nil where the more the better.
        package let setting: Double?
        package let measured: Double
        /// The same by the plain means that `floor` of each measurement names.
        package let floor: Double?
        package let unit: String

        /// How far the figure is from its setting, as a fraction of it.
        package var deviation: Double? { setting.map { abs(measured - $0) / $0 } }
    }

    private let subsystem: NetworkSubsystem

    package init(_ subsystem: NetworkSubsystem) { self.subsystem = subsystem }

    /// Downloads at a job's own limit.
    ///
    /// - Parameters:
    ///   - rates: in bytes a second; each is held for about `seconds`.
    ///   - url: of a file of at least so many bytes.
    ///   - root: of the subsystem, to write to.
    ///   - floor: fetches a URL at a rate by other means, such as `curl --limit-rate`, and tells how many bytes came.
    package func throttle(
        rates: [Int], seconds: Double, url: (_ bytes: Int) async throws -> String, root: String,
        floor: (_ url: String, _ bytesPerSecond: Int) async throws -> Int64
    ) async throws -> [Row] {
        var rows: [Row] = []
        for rate in rates {
            let url = try await url(Int(Double(rate) * seconds))
            let output = try await download(
                DownloadParameters(url: url, path: "\(root):load/throttled", bytesPerSecond: rate))
            let begin = ContinuousClock.now
            let bytes = try await floor(url, rate)
            let seconds = (ContinuousClock.now - begin) / .seconds(1)
            rows.append(
                Row(
                    title: "download held to its own limit", setting: Double(rate),
                    measured: Double(output.bytesPerSecond), floor: Double(bytes) / seconds, unit: "B/s"))
        }
        return rows
    }

    /// Several downloads at once under one limit of the fleet's: what they take together.
    ///
    /// - Parameter limits: hold `network.bytes` to `rate`.
    package func shared(
        rate: Int, downloads: Int, url: String, root: String, limits: any JobLimits
    ) async throws -> Row {
        let begin = ContinuousClock.now
        let bytes = try await withThrowingTaskGroup(of: Int64.self) { group in
            for number in 0..<downloads {
                group.addTask {
                    try await download(
                        DownloadParameters(url: url, path: "\(root):load/shared-\(number)"), key: "shared-\(number)",
                        limits: limits
                    ).bytes
                }
            }
            return try await group.reduce(0, +)
        }
        return Row(
            title: "\(downloads) downloads under the fleet's limit", setting: Double(rate),
            measured: Double(bytes) / ((ContinuousClock.now - begin) / .seconds(1)), floor: nil, unit: "B/s")
    }

    /// So many downloads at once from a server that answers none before all have come.
    package func connections(_ count: Int, url: @escaping @Sendable (_ number: Int) -> String, root: String)
        async throws -> Row
    {
        let begin = ContinuousClock.now
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<count {
                group.addTask {
                    _ = try await download(
                        DownloadParameters(url: url(number), path: "\(root):load/\(number % 100)/\(number)"),
                        key: "connection-\(number)")
                }
            }
            try await group.waitForAll()
        }
        return Row(
            title: "\(count) downloads held open at once, in all", setting: nil,
            measured: (ContinuousClock.now - begin) / .milliseconds(1), floor: nil, unit: "ms")
    }

    /// Questions for names as people ask for them: a few by many, many by few (Zipf's law).
    ///
    /// - Parameters:
    ///   - name: the name of a rank, from 0 for the most asked for.
    /// - Returns: the part of them that the cache answered, questions a second, and, as floor, how many a second the name
    ///   server answers when each is asked of it.
    package func cache(
        questions: Int, names: Int, concurrency: Int = 50, name: @Sendable (_ rank: Int) -> String
    ) async throws -> [Row] {
        var random = SplitMix64(seed: 7)
        let ranks = ZipfRanks(names)
        let asked = try (0..<questions).map { _ in
            DNSQuestion(try DNSName(name(ranks.pick(using: &random))), .a)
        }
        let (cached, rate) = try await ask(asked, concurrency, fresh: false)
        let (_, floor) = try await ask(Array(asked.prefix(questions / 10)), concurrency, fresh: true)
        return [
            Row(
                title: "questions answered by the cache", setting: nil, measured: Double(cached) / Double(questions),
                floor: nil, unit: "of 1"),
            Row(title: "questions answered", setting: nil, measured: rate, floor: floor, unit: "/s"),
        ]
    }

    private func ask(_ questions: [DNSQuestion], _ concurrency: Int, fresh: Bool) async throws -> (
        cached: Int, perSecond: Double
    ) {
        let begin = ContinuousClock.now
        let resolver = subsystem.resolver
        let cached = try await withThrowingTaskGroup(of: Int.self) { group in
            for lane in 0..<concurrency {
                group.addTask {
                    var cached = 0
                    for index in stride(from: lane, to: questions.count, by: concurrency) {
                        let found = try await resolver.resolve(questions[index], fresh: fresh)
                        if found.source == .cache { cached += 1 }
                    }
                    return cached
                }
            }
            return try await group.reduce(0, +)
        }
        return (cached, Double(questions.count) / ((ContinuousClock.now - begin) / .seconds(1)))
    }

    private func download(
        _ parameters: DownloadParameters, key: String = "load", limits: any JobLimits = UnsharedLimits()
    ) async throws -> DownloadOutput {
        let context = JobContext(
            type: DownloadParameters.type, key: key, attempt: 1, token: 1, subject: nil, traceparent: nil,
            limits: limits)
        let output = try await subsystem.download.prepare(Array(try JSONEncoder().encode(parameters)))(context)
        return try JSONDecoder().decode(DownloadOutput.self, from: Data(output.utf8))
    }
}

/// Ranks from 0, of which each is chosen in proportion to 1 / (rank + 1).
private struct ZipfRanks {
    private var sums: [Double] = []

    init(_ count: Int) {
        var sum = 0.0
        for rank in 1...count {
            sum += 1 / Double(rank)
            sums.append(sum)
        }
    }

    func pick(using random: inout SplitMix64) -> Int {
        let wanted = Double.random(in: 0..<(sums.last ?? 1), using: &random)
        var (low, high) = (0, sums.count - 1)
        while low < high {
            let middle = (low + high) / 2
            if sums[middle] > wanted { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
