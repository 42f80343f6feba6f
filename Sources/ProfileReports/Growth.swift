/// How processes went on over time: what `gaia profile growth` writes beside its report, and can draw again.
public struct GrowthRecord: Codable, Sendable, Equatable {
    /// One look at a process.
    public struct Look: Codable, Sendable, Equatable {
        /// Since the first look.
        public let seconds: Double
        /// When the process began, in seconds since 1970: another one means that it was started anew.
        public let began: Double
        /// In bytes.
        public let resident, heap: Int
        public let descriptors, threads: Int
        /// Jobs that it has done since it began, whatever came of them.
        public let jobs: Int

        public init(
            seconds: Double, began: Double, resident: Int, heap: Int, descriptors: Int, threads: Int, jobs: Int
        ) {
            (self.seconds, self.began, self.jobs) = (seconds, began, jobs)
            (self.resident, self.heap, self.descriptors, self.threads) = (resident, heap, descriptors, threads)
        }

        enum CodingKeys: String, CodingKey {
            case descriptors, threads, jobs
            case seconds = "at_s"
            case began = "process_start_s"
            case resident = "resident_bytes"
            case heap = "heap_in_use_bytes"
        }
    }

    public struct Process: Codable, Sendable, Equatable {
        public let name: String
        public var looks: [Look]

        public init(name: String, looks: [Look] = []) { (self.name, self.looks) = (name, looks) }
    }

    public var processes: [Process]

    public init(_ processes: [Process]) { self.processes = processes }
}

/// What may grow.
public enum GrowthMeasure: String, CaseIterable, Sendable {
    case resident, heap, descriptors, threads

    public var title: String {
        switch self {
        case .resident: "resident memory"
        case .heap: "heap in use"
        case .descriptors: "descriptors"
        case .threads: "threads"
        }
    }

    var isMemory: Bool { self == .resident || self == .heap }

    /// A change by no more over all that was looked at is none, however sure: one area of the allocator's; one descriptor.
    var least: Double { isMemory ? 128 * 1_024 : 1 }

    func value(_ look: GrowthRecord.Look) -> Double {
        switch self {
        case .resident: Double(look.resident)
        case .heap: Double(look.heap)
        case .descriptors: Double(look.descriptors)
        case .threads: Double(look.threads)
        }
    }
}

/// Whether one measure of one process grows.
///
/// What comes first is not looked at: a fifth of the time since the process was first seen, or was last started anew. By then
/// pools are filled, code is loaded and the allocator has its areas. A straight line is laid through the rest, over the jobs that
/// were done, or over time where there were few. It rises or falls when the slope is more than twice its own standard error,
/// and the change over the whole is worth a word.
public struct Growth: Sendable, Equatable {
    public enum Verdict: Sendable, Equatable {
        case tooFewLooks
        case flat
        case grows
        case shrinks
    }

    public enum Per: Sendable, Equatable {
        case thousandJobs
        case hour
    }

    public let measure: GrowthMeasure
    public let verdict: Verdict
    public let per: Per
    /// In bytes, or in pieces, per a thousand jobs or an hour; twice the standard error beside it.
    public let slope, uncertainty: Double
    /// The standard error itself.
    public let slopeError: Double
    /// When what was looked at began, in seconds since the first look.
    public let from: Double
    /// The line's ends, for drawing: seconds and the measure.
    let line: [(x: Double, y: Double)]

    public static func == (left: Growth, right: Growth) -> Bool {
        left.measure == right.measure && left.verdict == right.verdict && left.per == right.per
            && left.slope == right.slope && left.slopeError == right.slopeError && left.from == right.from
    }

    /// Of the time that counts for nothing.
    public static let warmUpShare = 0.2
    public static let looksMin = 10
    /// Fewer jobs say nothing of what one costs.
    public static let jobsMin = 1_000

    public init(_ measure: GrowthMeasure, of process: GrowthRecord.Process) {
        self.measure = measure
        let alive = process.looks.filter { $0.began == process.looks.last?.began }
        let (first, last) = (alive.first?.seconds ?? 0, alive.last?.seconds ?? 0)
        let from = first + (last - first) * Self.warmUpShare
        let looks = alive.filter { $0.seconds >= from }
        let jobs = (looks.last?.jobs ?? 0) - (looks.first?.jobs ?? 0)
        let per: Per = jobs >= Self.jobsMin ? .thousandJobs : .hour
        func x(_ look: GrowthRecord.Look) -> Double {
            per == .thousandJobs ? Double(look.jobs) / 1_000 : look.seconds / 3_600
        }
        self.from = from
        self.per = per
        guard looks.count >= Self.looksMin, let begin = looks.first, let end = looks.last,
            let fit = StraightLine(looks.map { (x($0), measure.value($0)) })
        else {
            (verdict, slope, uncertainty, slopeError, line) = (.tooFewLooks, 0, 0, 0, [])
            return
        }
        slope = fit.slope
        slopeError = fit.slopeError
        uncertainty = 2 * fit.slopeError
        line = looks.map { ($0.seconds, fit.y(at: x($0))) }
        let change = fit.slope * (x(end) - x(begin))
        let isSure = abs(fit.slope) > 2 * fit.slopeError && abs(change) >= measure.least
        verdict = !isSure ? .flat : change > 0 ? .grows : .shrinks
    }

    /// In a sentence, as in `grows by 12.0 ± 0.4 KiB per 1,000 jobs`.
    public var words: String {
        func amount(_ value: Double) -> String { Markup.number(measure.isMemory ? value / 1_024 : value) }
        let unit = measure.isMemory ? " KiB" : ""
        let base = per == .thousandJobs ? "1,000 jobs" : "hour"
        let figure = "\(amount(abs(slope))) ± \(amount(uncertainty))\(unit) per \(base)"
        return switch verdict {
        case .tooFewLooks: "too few looks to say: \(Self.looksMin) are needed after the warm-up"
        case .flat: "flat: \(slope < 0 ? "−" : "")\(figure)"
        case .grows: "grows by \(figure)"
        case .shrinks: "shrinks by \(figure)"
        }
    }
}
