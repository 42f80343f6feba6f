import FleetObservability

/// What a worker has done of one subsystem since its process started. The numbers only grow, so that whoever looks twice
/// knows what happened in between.
public struct WorkerTally: Sendable, Equatable, Codable {
    /// Jobs that have reached a final state here, those that failed for good among them.
    public var ended = 0
    /// Jobs that were given up here: discarded, or indeterminate.
    public var failed = 0
    /// Attempts that failed and are followed by another.
    public var retried = 0
    /// How long jobs were in the broker's queue, where their messages say when they were published.
    public var queued = LatencyCounts()
    /// How long handlers ran.
    public var run = LatencyCounts()

    public init() {}

    /// Nil when one of the numbers has fallen, as they do when another process counts.
    public func since(_ earlier: WorkerTally) -> WorkerTally? {
        guard let queued = queued.since(earlier.queued), let run = run.since(earlier.run) else { return nil }
        var difference = WorkerTally()
        (difference.ended, difference.failed) = (ended - earlier.ended, failed - earlier.failed)
        (difference.retried, difference.queued, difference.run) = (retried - earlier.retried, queued, run)
        return min(difference.ended, difference.failed, difference.retried) < 0 ? nil : difference
    }
}

/// Durations by size, counted: five classes for each power of ten from a millisecond on, so that a quantile is known to
/// within a third. On the wire it is the array of counts, without the zeros at its end.
public struct LatencyCounts: Sendable, Equatable, Codable {
    /// Where the classes end, in seconds; one more class is for what is above them all.
    public static let bounds: [Double] = [
        0.001, 0.0016, 0.0025, 0.004, 0.0063, 0.01, 0.016, 0.025, 0.04, 0.063, 0.1, 0.16, 0.25, 0.4, 0.63, 1, 1.6, 2.5,
        4,
        6.3, 10, 16, 25, 40, 63, 100, 160, 250, 400, 630, 1_000,
    ]

    /// Of the smallest classes, as many as have been needed.
    private var counts: [Int] = []

    public init() {}

    public init(from decoder: any Decoder) throws {
        counts = Array(try decoder.singleValueContainer().decode([Int].self).prefix(Self.bounds.count + 1))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(counts)
    }

    public var total: Int { counts.reduce(0, +) }

    public mutating func add(_ duration: Duration) {
        let seconds = Double(duration.nanoseconds) / 1e9
        let index = Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count
        while counts.count <= index { counts.append(0) }
        counts[index] += 1
    }

    public mutating func add(_ other: LatencyCounts) {
        while counts.count < other.counts.count { counts.append(0) }
        for (index, count) in other.counts.enumerated() { counts[index] += count }
    }

    /// Nil when one of the counts has fallen.
    public func since(_ earlier: LatencyCounts) -> LatencyCounts? {
        guard earlier.counts.count <= counts.count else { return nil }
        var difference = self
        for (index, count) in earlier.counts.enumerated() {
            difference.counts[index] -= count
            if difference.counts[index] < 0 { return nil }
        }
        return difference
    }

    /// The duration, in seconds, that a share of all did not exceed: interpolated within its class, and the lower end of the
    /// last one, which has no upper. Nil when nothing was counted.
    ///
    /// - Parameter share: from 0 to 1.
    public func quantile(_ share: Double) -> Double? {
        let total = total
        guard total > 0 else { return nil }
        let rank = share * Double(total)
        var below = 0.0
        for (index, count) in counts.enumerated() where count > 0 {
            let lower = index == 0 ? 0 : Self.bounds[index - 1]
            guard index < Self.bounds.count else { return lower }
            if below + Double(count) >= rank {
                return lower + (Self.bounds[index] - lower) * max(rank - below, 0) / Double(count)
            }
            below += Double(count)
        }
        return nil
    }
}
