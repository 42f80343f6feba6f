/// What the fleet's processes held in the course of a run, looked at once a second.
public struct Footprint: Sendable, Codable {
    public struct Sample: Sendable, Codable {
        /// Seconds since the load began.
        public let at: Double
        /// The process's name in the ledger; its end tells the lives of its seat.
        public let process: String
        public let residentBytes, descriptors, threads, sockets: Int
    }

    /// Of the whole fleet to the database.
    public struct Connections: Sendable, Codable {
        public let at: Double
        public let count: Int
    }

    public internal(set) var samples: [Sample] = []
    public internal(set) var connections: [Connections] = []

    /// What a process may hold at most, whatever befalls it: several times what one was seen to hold at load.
    static let residentBytesMax = 160 << 20
    static let descriptorsMax = 256
    static let threadsMax = 64

    var connectionsMost: Int { connections.map(\.count).max() ?? 0 }
    func most(_ value: KeyPath<Sample, Int>) -> Int { samples.map { $0[keyPath: value] }.max() ?? 0 }
}

// MARK: - Whether it grows

extension Footprint {
    public enum Measure: String, Sendable, CaseIterable {
        case memory, descriptors, threads, sockets, connections

        /// What two stretches of one run may differ by without anything having grown: a percentage, or a number when that is
        /// more. Pools open a connection more at a peak, and allocators keep a page more.
        var tolerance: (percent: Double, least: Double) {
            switch self {
            case .memory: (10, 2 * 1_048_576)
            case .descriptors, .sockets: (0, 4)
            case .threads: (0, 2)
            case .connections: (0, 6)
            }
        }
    }

    /// How one measure of one process went: medians of the second fifth of its samples, when it has warmed up, and of the
    /// last.
    public struct Course: Sendable {
        /// The process, or `database` for connections of the whole fleet.
        public let name: String
        public let measure: Measure
        public let early, late, most: Double

        public var isFlat: Bool {
            let tolerance = measure.tolerance
            return late - early <= max(tolerance.least, early * tolerance.percent / 100)
        }
    }

    /// Processes by name.
    public var processes: [String] { Set(samples.map(\.process)).sorted() }

    public func values(_ measure: Measure, of process: String) -> [(at: Double, value: Double)] {
        if measure == .connections { return connections.map { ($0.at, Double($0.count)) } }
        return samples.filter { $0.process == process }.map { sample in
            let value =
                switch measure {
                case .memory: sample.residentBytes
                case .descriptors: sample.descriptors
                case .threads: sample.threads
                case .sockets, .connections: sample.sockets
                }
            return (sample.at, Double(value))
        }
    }

    /// Every measure of every process that was seen often enough to tell.
    public var courses: [Course] {
        let each: [(String, Measure)] =
            processes.flatMap { name in
                [Measure.memory, .descriptors, .threads, .sockets].map { (name, $0) }
            } + [("database", .connections)]
        return each.compactMap { name, measure in
            let values = values(measure, of: name).map(\.value)
            guard values.count >= 10 else { return nil }
            let fifth = values.count / 5
            return Course(
                name: name, measure: measure, early: Self.median(values[fifth..<2 * fifth]),
                late: Self.median(values.suffix(fifth)), most: values.max() ?? 0)
        }
    }

    private static func median(_ values: ArraySlice<Double>) -> Double {
        let sorted = values.sorted()
        return sorted.isEmpty ? 0 : sorted[sorted.count / 2]
    }
}
