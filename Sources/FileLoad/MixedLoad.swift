import CFileFloor
import FileSubsystem
import Foundation
import Glibc

extension FileLoad {
    /// What was measured with many small operations at once, milliseconds each.
    public struct MixedFigures: Encodable, Sendable {
        public let operations: Int
        public let threads: Int
        /// From the first operation's start to the last one's end, for each round.
        public let milliseconds: [Double]
        /// The same operations by as many threads in plain C, in turns with them.
        public let floorMilliseconds: [Double]
        /// Of the operations of all rounds, from the start of the round.
        public let latencyMilliseconds: [String: Double]
        public let kinds: [String: Int]

        public var median: Double { Self.median(milliseconds) }
        public var floorMedian: Double { Self.median(floorMilliseconds) }

        private static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
    }

    /// Runs operations of all kinds at once, again and again, each round in a directory of its own.
    public static func mixed(
        operations count: Int = 500, rounds: Int = 7, in parent: String, settings: FileSettings = FileSettings()
    ) async throws -> MixedFigures {
        try await withDirectory(in: parent) { directory in
            let bench = try Bench(directory, settings)
            var (taken, floor, latencies) = ([Double](), [Double](), [Double]())
            // The first round warms up and does not count.
            for round in 0...rounds {
                let ours = try MixedPlan(count: count, in: directory, "round-\(round)")
                let theirs = try MixedPlan(count: count, in: directory, "floor-\(round)")
                let floorSeconds = try theirs.runFloor(threads: settings.threads)
                let (seconds, each) = try await ours.run(bench)
                if round == 0 { continue }
                taken.append(seconds * 1e3)
                floor.append(floorSeconds * 1e3)
                latencies += each.map { $0 * 1e3 }
            }
            await bench.subsystem.close()
            latencies.sort()
            func percentile(_ part: Double) -> Double { latencies[Int(Double(latencies.count - 1) * part)] }
            return MixedFigures(
                operations: count, threads: settings.threads, milliseconds: taken, floorMilliseconds: floor,
                latencyMilliseconds: ["p50": percentile(0.5), "p95": percentile(0.95), "p99": percentile(0.99)],
                kinds: Dictionary(grouping: MixedPlan.cycle, by: \.rawValue).mapValues(\.count))
        }
    }
}

extension FileLoad.MixedFigures {
    /// As a few lines.
    public var text: String {
        let mix = kinds.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.key) \($0.value)" }
        return String(
            format: """
                %d operations at once, %d threads, %d rounds (of %d: %@)
                handlers          %.1f ms (%.1f to %.1f)
                plain C           %.1f ms (%.1f to %.1f)
                an operation      p50 %.1f ms, p95 %.1f ms, p99 %.1f ms after the round's start
                """,
            operations, threads, milliseconds.count, MixedPlan.cycle.count, mix.joined(separator: ", "), median,
            milliseconds.min() ?? 0, milliseconds.max() ?? 0, floorMedian, floorMilliseconds.min() ?? 0,
            floorMilliseconds.max() ?? 0, latencyMilliseconds["p50"] ?? 0, latencyMilliseconds["p95"] ?? 0,
            latencyMilliseconds["p99"] ?? 0)
    }
}

/// The operations of one round, and the files that they find.
private struct MixedPlan: Sendable {
    enum Kind: String, Sendable {
        case read, stat, list, hash, write, copy, append, move, delete

        var floor: gaia_floor_kind {
            switch self {
            case .read: GAIA_FLOOR_READ
            case .stat: GAIA_FLOOR_STAT
            case .list: GAIA_FLOOR_LIST
            case .hash: GAIA_FLOOR_HASH
            case .write: GAIA_FLOOR_WRITE
            case .copy: GAIA_FLOOR_COPY
            case .append: GAIA_FLOOR_APPEND
            case .move: GAIA_FLOOR_MOVE
            case .delete: GAIA_FLOOR_DELETE
            }
        }
    }

    struct Operation: Sendable {
        let kind: Kind
        let source: String
        let target: String?
    }

    /// Which operations follow on each other, over and over: mostly reading, every fifth one that waits for the disk.
    static let cycle: [Kind] = [
        .read, .stat, .read, .write, .read, .list, .read, .stat, .copy, .read, .hash, .read, .stat, .append, .read,
        .hash,
        .stat, .move, .read, .delete, .read, .list, .read, .write, .stat,
    ]

    let directory: String
    let name: String
    let operations: [Operation]

    init(count: Int, in directory: String, _ name: String) throws {
        let place = "\(directory)/\(name)"
        try FileManager.default.createDirectory(atPath: "\(place)/listed", withIntermediateDirectories: true)
        for index in 0..<20 { try Data([1]).write(to: URL(filePath: "\(place)/listed/\(index)")) }
        operations = try (0..<count).map { index in
            let kind = Self.cycle[index % Self.cycle.count]
            let file = "\(name)/\(kind.rawValue)-\(index)"
            switch kind {
            case .list: return Operation(kind: kind, source: "\(name)/listed", target: nil)
            case .write, .append: break
            case .hash, .copy: try Data(repeating: 7, count: 64 << 10).write(to: URL(filePath: "\(directory)/\(file)"))
            case .read, .stat, .move, .delete:
                try Data(repeating: 0x61, count: 4_096).write(to: URL(filePath: "\(directory)/\(file)"))
            }
            return Operation(kind: kind, source: file, target: kind == .copy || kind == .move ? "\(file).done" : nil)
        }
        self.directory = directory
        self.name = name
        // Or the first to sync would write all of that.
        sync()
    }

    /// - Returns: seconds in all, and until each was done.
    func run(_ bench: FileLoad.Bench) async throws -> (Double, [Double]) {
        let begin = ContinuousClock.now
        let each = try await withThrowingTaskGroup(of: Double.self) { group in
            for (index, operation) in operations.enumerated() {
                group.addTask {
                    try await run(operation, "\(name)-\(index)", bench)
                    return (ContinuousClock.now - begin) / .seconds(1)
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        return ((ContinuousClock.now - begin) / .seconds(1), each)
    }

    private func run(_ operation: Operation, _ key: String, _ bench: FileLoad.Bench) async throws {
        let (source, target) = ("bench:\(operation.source)", "bench:\(operation.target ?? "")")
        switch operation.kind {
        case .read: try await bench.run(ReadParameters(path: source), key: key)
        case .stat: try await bench.run(StatParameters(path: source), key: key)
        case .list: try await bench.run(ListParameters(path: source), key: key)
        case .hash: try await bench.run(HashParameters(path: source), key: key)
        case .write:
            try await bench.run(
                WriteParameters(path: source, content: String(repeating: "w", count: 4_096)), key: key)
        case .copy: try await bench.run(CopyParameters(from: source, to: target), key: key)
        case .append:
            try await bench.run(AppendParameters(path: source, content: String(repeating: "a", count: 100)), key: key)
        case .move: try await bench.run(MoveParameters(from: source, to: target), key: key)
        case .delete: try await bench.run(DeleteParameters(path: source), key: key)
        }
    }

    /// - Returns: seconds.
    func runFloor(threads: Int) throws -> Double {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { close(descriptor) }
        let names = operations.map { (strdup($0.source), $0.target.flatMap { strdup($0) }) }
        defer {
            for (source, target) in names {
                free(source)
                free(target)
            }
        }
        let list = zip(operations, names).compactMap { operation, names in
            names.0.map {
                gaia_floor_operation(
                    kind: operation.kind.floor, source: UnsafePointer($0), target: names.1.map { UnsafePointer($0) })
            }
        }
        return try FileLoad.seconds(
            floor: gaia_floor_mixed(descriptor, list, Int32(list.count), Int32(threads)))
    }
}
